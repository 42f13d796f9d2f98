"""What is done with what a call returns: Celery's AsyncResult today, a TaskResult once the call is ``enqueue``."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator

from tasks_celery.migrate.source import Names, Place
from tasks_celery.migrate.source.summary import dotted
from tasks_celery.migrate.things.values import bindings

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

#: What a TaskResult has for what an AsyncResult has; the id is the same text.
REPLACEMENTS = {
    "id": ".id",
    "task_id": ".id",
    "state": ".status, whose values are READY, RUNNING, SUCCESSFUL and FAILED",
    "status": ".status, whose values are READY, RUNNING, SUCCESSFUL and FAILED",
    "ready": ".is_finished",
    "successful": ".status == TaskResultStatus.SUCCESSFUL",
    "failed": ".status == TaskResultStatus.FAILED",
    "result": ".return_value once it is SUCCESSFUL, .errors once it is FAILED",
    "get": ".refresh() until .is_finished, then .return_value: nothing waits",
    "wait": ".refresh() until .is_finished, then .return_value: nothing waits",
    "traceback": ".errors[-1].traceback",
    "date_done": ".finished_at",
    "name": ".task.name",
    "args": ".args",
    "kwargs": ".kwargs",
    "worker": ".worker_ids",
    "retries": ".attempts",
    "revoke": ".cancel()",
    "info": "the progress that the task reports, else .return_value",
    "forget": "nothing: a result goes by itself after result_expires",
    "children": "nothing: keep the ids where the tasks are enqueued",
    "parent": "nothing: keep the ids where the tasks are enqueued",
    "then": "nothing: a receiver of task_finished, or canvas",
    "collect": "nothing: keep the ids where the tasks are enqueued",
}


def replaced(attributes: list[str]) -> str:
    """Return what to write instead of attributes of an AsyncResult, as a sentence's part; "" where there are none."""
    known = [f".{each} is {REPLACEMENTS[each]}" for each in attributes if each in REPLACEMENTS]
    unknown = [f".{each} has no like" for each in attributes if each not in REPLACEMENTS]
    return "; ".join([*known, *unknown])


def why_kept(place: Place) -> str:  # noqa: PLR0911  a case for each
    """Return why the result of a call has to stay an AsyncResult; "" where nothing but its id is used."""
    if is_unused(place):
        return ""
    parent = place.parents[0]
    match parent:
        case ast.Attribute(attr="id", ctx=ast.Load()):
            return ""
        case ast.Attribute(attr=attr):
            return f"Its AsyncResult is used on: a TaskResult has another API ({replaced([attr])})."
        case ast.Assign(targets=[ast.Name(id=name)]):
            return _why_kept_as(name, place)
        case ast.Await():
            return "It is awaited, and what Celery returns cannot be: it is wrong today. With a Django task it is aenqueue()."
        case ast.Return():
            return "Its AsyncResult is returned, and what the callers use of it is not known: a TaskResult has the same .id."
    return "Its AsyncResult is passed on or kept, and what is used of it is not known: a TaskResult has the same .id."


def is_unused(place: Place) -> bool:
    """Whether nobody sees what an expression returns: it is a statement, or the last of one that is."""
    if not place.parents:
        return False
    parent = place.parents[0]
    match parent:
        case ast.Expr():
            return True
        case ast.ListComp(elt=each) if each is place.node:
            return is_unused(Place(parent, place.parents[1:]))
        case ast.IfExp(body=body, orelse=orelse) if place.node in (body, orelse):
            return is_unused(Place(parent, place.parents[1:]))
        case ast.BoolOp(values=[*_, last]) if last is place.node:
            return is_unused(Place(parent, place.parents[1:]))
    return False


def _why_kept_as(name: str, place: Place) -> str:
    scope = next((each for each in place.parents if isinstance(each, (*_FUNCTIONS, ast.Lambda, ast.ClassDef))), None)
    if not isinstance(scope, _FUNCTIONS):
        return f"Its AsyncResult is kept as {name}, which others can see: a TaskResult has the same .id."
    if any(isinstance(each, ast.Global | ast.Nonlocal) and name in each.names for each in ast.walk(scope)):
        return f"Its AsyncResult is kept as {name}, which others can see: a TaskResult has the same .id."
    others = sorted(set(attributes_used(name, scope)) - {"id"})
    if not others:
        return ""
    if "" in others:
        return f"Its AsyncResult, {name}, is passed on, and what is used of it is not known: a TaskResult has the same .id."
    return f"Its AsyncResult, {name}, is used on: a TaskResult has another API ({replaced(others)})."


def attributes_used(name: str, scope: ast.AST) -> Iterator[str]:
    """Yield what is used of a name in a scope: attributes that are read, "" for anything else."""
    of_attribute: dict[int, str] = {}
    for node in ast.walk(scope):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            of_attribute[id(node.value)] = node.attr
    for node in ast.walk(scope):
        if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load):
            yield of_attribute.get(id(node), "")


#: Where the exceptions come from that a broker's trouble is to Celery's callers.
_OF_THE_BROKER = {"amqp", "billiard", "celery", "kombu", "redis", "librabbitmq", "pyamqp"}
_OF_THE_SYSTEM = {
    "OSError",
    "IOError",
    "ConnectionError",
    "ConnectionRefusedError",
    "ConnectionResetError",
    "TimeoutError",
}


def why_caught(names: Names, place: Place) -> str:
    """Return why a call has to stay for the exceptions that are caught around it; "" where it need not."""
    for caught in _caught(place):
        origin, written = names.origin(caught, place), dotted(caught) or "an exception"
        is_builtin = hasattr(builtins, written) and not bindings(written, place)
        if is_builtin and written not in _OF_THE_SYSTEM:
            continue
        if is_builtin or origin is None or origin.partition(".")[0] in _OF_THE_BROKER:
            return (
                f"{written} is caught around it, which may be what Celery raises where the broker is away: enqueue() raises "
                "tasks_celery.exceptions.EnqueueError."
            )
    if any(_expects(each) for each in place.parents if isinstance(each, ast.With | ast.AsyncWith)):
        return (
            "A test expects it to raise, as Celery does where tasks run eagerly and their exceptions propagate: what enqueue() "
            "raises then has to be seen."
        )
    return ""


def _expects(node: ast.With | ast.AsyncWith) -> bool:
    called = [each.context_expr.func for each in node.items if isinstance(each.context_expr, ast.Call)]
    named = {(dotted(each) or "").rpartition(".")[2] for each in called}
    return any(each.startswith("assertRaises") or each == "raises" for each in named)


def _caught(place: Place) -> Iterator[ast.expr]:
    inner = place.node
    for parent in place.parents:
        match parent:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                return
            case ast.Try(body=body, handlers=handlers) | ast.TryStar(body=body, handlers=handlers) if inner in body:
                for handler in handlers:
                    yield from _classes(handler.type)
            case ast.With(items=items):
                for item in items:
                    match item.context_expr:
                        case ast.Call(func=ast.Name(id="suppress") | ast.Attribute(attr="suppress"), args=args):
                            for each in args:
                                yield from _classes(each)
        inner = parent


def _classes(node: ast.expr | None) -> Iterator[ast.expr]:
    if isinstance(node, ast.Tuple):
        yield from node.elts
    elif node is not None:
        yield node
