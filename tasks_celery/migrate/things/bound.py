"""What a task with ``bind=True`` does with its first parameter, as far as Django's context can do the same. Pure."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from dataclasses import dataclass, field

from tasks_celery.migrate.source import Names, Place
from tasks_celery.migrate.source.plain import NOT_PLAIN
from tasks_celery.migrate.things.task_options import literal

#: Attributes of Celery's bound task that are calls or values of Django's context, by what the fixer is to write.
_VALUES = {"request.id": "id", "request.retries": "retries"}
_RETRY_TAKES = {"exc", "countdown", "eta"}
#: A call in ``with`` that lets every exception pass.
_TRANSPARENT = {"django.db.transaction.atomic", "open"}
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


@dataclass(slots=True)
class Bound:
    """What a function does with the task that it is bound to: the name, each use that moves, and why it does not."""

    name: str = ""
    #: Line, column and what to write there: "id", "retries" or "retry".
    edits: list[tuple[int, int, str]] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def bound_of(names: Names, place: Place) -> Bound:
    """Return what a function at a place does with its first parameter."""
    function = place.node
    assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)  # noqa: S101  for who reads the types
    first = [*function.args.posonlyargs, *function.args.args][:1]
    if not first:
        return Bound(left=["the function has no first parameter for the task"])
    bound = Bound(first[0].arg)
    if len(function.args.defaults) == len([*function.args.posonlyargs, *function.args.args]):
        bound.left.append("its first parameter has a default")
    _refuse_other_names(function, bound)
    for each in _inside(place):
        if isinstance(each.node, ast.Name) and each.node.id == bound.name:
            _judge(names, function, each, bound)
    return bound


def _inside(place: Place) -> Iterator[Place]:
    """Yield what is within a function's body, from top to bottom, each with what is around it."""
    function = place.node
    assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)  # noqa: S101
    stack = [Place(each, (function, *place.parents)) for each in reversed(function.body)]
    while stack:
        found = stack.pop()
        yield found
        around = (found.node, *found.parents)
        stack += [Place(each, around) for each in reversed(list(ast.iter_child_nodes(found.node)))]


def _refuse_other_names(function: ast.FunctionDef | ast.AsyncFunctionDef, bound: Bound) -> None:
    every = list(ast.walk(function.args))
    for body in function.body:
        every += ast.walk(body)
    taken = [name for node in every for name in _names_in(node)]
    if bound.name != "context" and "context" in taken:
        bound.left.append("it uses the name context for something else")
    if taken.count(bound.name) > 1:
        bound.left.append(f"it binds {bound.name} once more")


def _names_in(node: ast.AST) -> Iterator[str]:
    """Yield the names that a node binds, and `context` wherever it is said."""
    match node:
        case ast.arg(arg=name) | ast.alias(name=name, asname=None) | ast.alias(asname=str(name)):
            yield name
        case ast.Name(id="context"):
            yield "context"
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            yield name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            yield name
        case ast.MatchMapping(rest=str(name)):
            yield name
        case ast.Global(names=several) | ast.Nonlocal(names=several):
            yield from several


def _judge(names: Names, function: ast.AST, place: Place, bound: Bound) -> None:
    """Note what one mention of the task becomes, or why it becomes nothing."""
    chain, top = _chain(place)
    if any(isinstance(each, _SCOPES) for each in _up_to(place, function)):
        bound.left.append(f"it uses {bound.name} in a function within")
    elif not chain:
        bound.left.append(f"it passes {bound.name} on")
    elif not isinstance(top.node, ast.Attribute) or not isinstance(top.node.ctx, ast.Load):
        bound.left.append(f"it assigns to {bound.name}.{chain}")
    elif chain == "retry":
        _judge_retry(names, function, top, bound, place)
    elif chain in _VALUES and not _is_called(top):
        bound.edits.append((*names.anchor(place.node), _VALUES[chain]))
    else:
        shown = ".".join(chain.split(".")[: 2 if chain.startswith("request.") else 1])
        bound.left.append(f"it uses {bound.name}.{shown}")


def _chain(place: Place) -> tuple[str, Place]:
    """Return the attributes after a name, dotted, as far as they are known to matter, and the node with all of them."""
    parts: list[str] = []
    node, parents = place.node, place.parents
    while parents and isinstance(parents[0], ast.Attribute) and parents[0].value is node:
        parts.append(parents[0].attr)
        node, parents = parents[0], parents[1:]
        if ".".join(parts) in _VALUES:
            break
    return ".".join(parts), Place(node, parents)


def _up_to(place: Place, function: ast.AST) -> Iterator[ast.AST]:
    for each in place.parents:
        if each is function:
            return
        yield each


def _is_called(place: Place) -> bool:
    return isinstance(place.parents[0], ast.Call) and place.parents[0].func is place.node


def _judge_retry(names: Names, function: ast.AST, place: Place, bound: Bound, name: Place) -> None:
    retry = f"{bound.name}.retry"
    if not _is_called(place):
        bound.left.append(f"it passes {retry} on")
        return
    call, parents = place.parents[0], place.parents[1:]
    assert isinstance(call, ast.Call)  # noqa: S101
    statement = parents[0]
    if not (
        isinstance(statement, ast.Expr | ast.Return) or (isinstance(statement, ast.Raise) and statement.exc is call)
    ):
        bound.left.append(f"it goes on after {retry}()")
    _judge_arguments(names, Place(call, parents), bound, retry)
    around = list(zip((call, *parents), _up_to(Place(call, parents), function), strict=False))
    if any(_may_catch(names, outer, inner, Place(call, parents)) for inner, outer in around):
        bound.left.append(f"it may catch what {retry}() raises")
    bound.edits.append((*names.anchor(name.node), "retry"))


def _judge_arguments(names: Names, place: Place, bound: Bound, retry: str) -> None:
    call = place.node
    assert isinstance(call, ast.Call)  # noqa: S101
    words = {str(each.arg): each.value for each in call.keywords}
    other = sorted({*(words.keys() - _RETRY_TAKES), *(["arguments by position"] if call.args else [])})
    if other:
        bound.left.append(f"it gives {retry}() {', '.join(each.replace('None', '**') for each in other)}")
    if {"countdown", "eta"} <= words.keys():
        bound.left.append(f"it gives {retry}() both countdown and eta")
    wait = literal(words.get("countdown"))
    if isinstance(wait, int | float) and wait < 0:
        bound.left.append(f"it gives {retry}() a countdown below 0")
    if "eta" in words and not _is_aware(names, words["eta"], place):
        bound.left.append(f"it gives {retry}() an eta that is not known to be aware")
    if "exc" not in words and any(isinstance(each, ast.ExceptHandler) for each in _handlers(place)):
        # Used up, Celery's ends with MaxRetriesExceededError, and the context's with what is being handled.
        bound.left.append(f"it gives {retry}() no exc where it handles an exception")
    if "exc" in words and literal(words["exc"]) is not NOT_PLAIN:
        bound.left.append(f"it gives {retry}() an exc that is no exception")


def _handlers(place: Place) -> Iterator[ast.AST]:
    for each in place.parents:
        if isinstance(each, _SCOPES):
            return
        yield each


def _is_aware(names: Names, value: ast.expr, place: Place) -> bool:
    """Whether a moment is Django's own now, which is aware under USE_TZ, and something added to it."""
    if names.project.settings.get("USE_TZ", True) is not True:
        return False
    while isinstance(value, ast.BinOp):
        value = value.left
    return (
        isinstance(value, ast.Call)
        and names.origin(value.func, place) == "django.utils.timezone.now"
        and not value.args
    )


def _may_catch(names: Names, outer: ast.AST, inner: ast.AST, place: Place) -> bool:
    """Whether what is raised in `inner` may not come out of `outer`."""
    if isinstance(outer, ast.Try | ast.TryStar):
        ends = any(
            isinstance(each, ast.Return | ast.Break | ast.Continue)
            for body in outer.finalbody
            for each in ast.walk(body)
        )
        handled = inner in outer.body and not all(_lets_pass(names, each.type, place) for each in outer.handlers)
        return handled or (ends and inner not in outer.finalbody)
    if isinstance(outer, ast.With):
        return inner in outer.body and not all(_is_transparent(names, each.context_expr, place) for each in outer.items)
    return isinstance(outer, ast.AsyncWith)


def _lets_pass(names: Names, kind: ast.expr | None, place: Place) -> bool:
    if kind is None:
        return False
    if isinstance(kind, ast.Tuple):
        return all(_lets_pass(names, each, place) for each in kind.elts)
    if isinstance(kind, ast.Name) and isinstance(known := getattr(builtins, kind.id, None), type):
        return issubclass(known, BaseException) and known not in (Exception, BaseException)
    found = names.origin(kind, place)
    is_class = (
        bool(found) and str(found).rpartition(".")[2][:1].isupper() and not str(found).rpartition(".")[2].isupper()
    )
    return is_class and str(found).partition(".")[0] not in ("celery", "kombu", "billiard", "builtins")


def _is_transparent(names: Names, expression: ast.expr, place: Place) -> bool:
    called = expression.func if isinstance(expression, ast.Call) else expression
    return (isinstance(called, ast.Name) and called.id == "open") or names.origin(called, place) in _TRANSPARENT
