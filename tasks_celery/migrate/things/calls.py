"""The calls that send a task, ``.delay(…)`` and ``.apply_async(…)``: whether each becomes ``.enqueue(…)``, and why not."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from tasks_celery.migrate.finding import Finding, Verdict
from tasks_celery.migrate.source import Names, Place, Project, Task
from tasks_celery.migrate.source.summary import dotted
from tasks_celery.migrate.things.answers import why_caught, why_kept
from tasks_celery.migrate.things.applied import Left, not_json, planned
from tasks_celery.migrate.things.arguments import wrong_in
from tasks_celery.migrate.things.values import bindings, is_dict, is_list

SENDING = {"delay": "delay", "apply_async": "apply-async"}
#: What makes a signature of Celery's: what is sent of it is canvas.
CANVAS = {
    f"celery.{each}" for each in ("chain", "group", "chord", "chunks", "signature", "subtask", "xmap", "xstarmap")
}
_OF_A_TASK = {"s", "si", "signature", "subtask", "chunks", "map", "starmap", "clone", "set", "on_error"}


def find(names: Names) -> Iterator[Finding]:
    """Yield each call that sends a task, and each ``.delay`` that is passed on."""
    if ".delay" not in names.text and ".apply_async" not in names.text:
        return
    for place in names.places():
        match place.node:
            case ast.Attribute(value=ast.Call(func=ast.Name(id="super"))):
                pass  # a class that says what sending is, not who sends
            case ast.Attribute(attr=attr, value=value) if attr in SENDING and not is_canvas(names, value, place):
                found = _at(names, place, place.node)
                if found is not None:
                    yield found


def _at(names: Names, place: Place, node: ast.Attribute) -> Finding | None:
    origin = names.origin(node.value, place)
    task = names.project.tasks.get(origin or "")
    parent = place.parents[0]
    is_called = isinstance(parent, ast.Call) and parent.func is node
    if task is None:
        if not is_called or (origin and not _may_be_task(names.project, origin)):
            return None
        return _finding(names, node, dotted(node.value) or "", Left(_UNKNOWN))
    call = Place(parent, place.parents[1:]) if is_called else place
    judged = judged_call(names, call, node, task)
    return _finding(names, node, task.origin, judged, task)


_UNKNOWN = (
    "Which task this is cannot be proven from the names: it goes on as it is where it stays a Celery task, and where it "
    "becomes a Django task too, for that answers .delay() and .apply_async()."
)


def _may_be_task(project: Project, origin: str) -> bool:
    """Whether something that is no known task may be one all the same: what a call has made, or what is not the project's."""
    return project.origin(origin) is None


def judged_call(names: Names, place: Place, node: ast.Attribute, task: Task) -> Left | dict[str, Any]:
    """Return the facts for the fixer of a call, or of a reference to what is called; else why it is left."""
    left = why_task_stays(names.project, task) or _why_left(names, place)
    if left is not None:
        return left
    facts = _arguments(names, place, node)
    return facts if isinstance(facts, Left) else facts | needs(names.project, task)


def needs(project: Project, task: Task) -> dict[str, Any]:
    """Return the fact that a call can only change together with its task's definition, where that is still Celery's."""
    return {} if task.is_django else {"needs": ["task"]}


def why_task_stays(project: Project, task: Task) -> Left | None:
    """Return why the calls of a task stay for its own sake; None where it is a Django task, or becomes one in this run."""
    if not task.is_django and task.origin not in project.moving:
        return Left(
            f"{task.origin} stays a Celery task, and so do its calls: adopt() it, or move it first.", Verdict.STAYS
        )
    patched = sorted({use.how.removeprefix("patch:") for use in project.uses.get(task.origin, ()) if _patches(use.how)})
    if not patched:
        return None
    shown = " and ".join(f"{task.origin}.{each}" if each else f"{task.origin} itself" for each in patched)
    return Left(f"Tests patch {shown}, and would not see enqueue(): change them with the calls.")


def _patches(how: str) -> bool:
    return how.startswith("patch:")


def _why_left(names: Names, place: Place) -> Left | None:
    if is_deferred(names, place):
        # Outside of a transaction on_commit() calls at once.
        caught = why_caught(names, _of_on_commit(names, place))
        return Left(caught) if caught else None
    if not isinstance(place.node, ast.Call):
        return Left("It is passed on to be called elsewhere, with arguments that are not known here.")
    kept = why_kept(place) or why_caught(names, place)
    if not kept and isinstance(place.function, ast.AsyncFunctionDef):
        kept = (
            "It stands in a coroutine, where enqueue() would wait for the broker as it does: write await …aenqueue()."
        )
    return Left(kept) if kept else None


def is_deferred(names: Names, place: Place) -> bool:
    """Whether something is called by ``transaction.on_commit``, which looks at no result: as itself, in a lambda or a partial."""
    inner, outer = place.node, place.parents
    if (isinstance(outer[0], ast.Lambda) and outer[0].body is inner and isinstance(inner, ast.Call)) or (
        isinstance(outer[0], ast.Call) and outer[0].args[:1] == [inner] and is_partial(names, outer[0], place)
    ):
        inner, outer = outer[0], outer[1:]
    elif isinstance(inner, ast.Call):
        return False
    parent = outer[0]
    if isinstance(parent, ast.keyword):
        return parent.arg == "func" and is_on_commit(names, outer[1], place)
    return isinstance(parent, ast.Call) and parent.args[:1] == [inner] and is_on_commit(names, parent, place)


def _of_on_commit(names: Names, place: Place) -> Place:
    """Return the place of the ``on_commit`` that something is called by."""
    indexes = (index for index, each in enumerate(place.parents) if is_on_commit(names, each, place))
    index = next(indexes)
    return Place(place.parents[index], place.parents[index + 1 :])


def is_on_commit(names: Names, node: ast.AST, place: Place) -> bool:
    """Whether a node is a call of Django's ``transaction.on_commit``."""
    return isinstance(node, ast.Call) and names.origin(node.func, place) == "django.db.transaction.on_commit"


def is_partial(names: Names, node: ast.Call, place: Place) -> bool:
    """Whether a node is a call of ``functools.partial``."""
    return names.origin(node.func, place) == "functools.partial"


def _arguments(names: Names, place: Place, node: ast.Attribute) -> Left | dict[str, Any]:
    """Return the facts of a call whose arguments are JSON; of one that ``on_commit`` makes, by what that is given."""
    call = place.node
    if not isinstance(call, ast.Call):
        outer = place.parents[0]
        if not (isinstance(outer, ast.Call) and is_partial(names, outer, place)):
            return {} if node.attr == "delay" else Left(_EMPTY_APPLY, Verdict.STAYS)
        if node.attr != "delay":
            return Left("apply_async is given to partial(), whose arguments would be two calls': write a lambda.")
        call = ast.Call(func=node, args=outer.args[1:], keywords=outer.keywords)
    if node.attr == "delay":
        return why_unknown(names, call, place) or {}
    plan = planned(names, call, place)
    if isinstance(plan, Left):
        return plan
    return why_not_json(names, plan.given, place) or plan.facts()


_EMPTY_APPLY = "apply_async is called without arguments, and goes on working: write enqueue where nothing is asked for."


def why_unknown(names: Names, call: ast.Call, place: Place) -> Left | None:
    """Return why ``enqueue`` cannot be given the arguments of a call as they stand; None where it can."""
    return why_not_json(names, [*_given(call)], place) or _why_starred(names, call, place)


def _given(call: ast.Call) -> Iterator[tuple[str, ast.expr]]:
    for number, each in enumerate(call.args, 1):
        if not isinstance(each, ast.Starred):
            yield str(number), each
    yield from ((each.arg, each.value) for each in call.keywords if each.arg)


def _why_starred(names: Names, call: ast.Call, place: Place) -> Left | None:
    starred = [(each.value, is_list) for each in call.args if isinstance(each, ast.Starred)]
    starred += [(each.value, is_dict) for each in call.keywords if each.arg is None]
    for value, is_known in starred:
        known = names.project.assume_json or is_known(names, value, place)
        if not known or wrong_in(value, place, names) is not None:
            return Left(_STARS)
    return None


_STARS = "It is given arguments with stars, which are not known to be JSON: write enqueue() where they are."


def why_not_json(names: Names, given: list[tuple[str, ast.expr]], place: Place) -> Left | None:
    """Return which arguments are not known to be JSON, None where all are."""
    unknown = list(not_json(names, given, place))
    if not unknown:
        return None
    which = "argument" if len(unknown) == 1 else "arguments"
    verb = "is" if len(unknown) == 1 else "are"
    return Left(
        f"The {which} {', '.join(unknown)} {verb} not known to be JSON, and enqueue() takes nothing else: write enqueue() where "
        "they are, else pass text or numbers."
    )


def is_canvas(names: Names, node: ast.expr, place: Place) -> bool:
    """Whether a value is a signature or another part of Celery's canvas."""
    match node:
        case ast.Call(func=ast.Attribute(attr=attr, value=value)) if attr in _OF_A_TASK:
            known = (names.origin(value, place) or "") in names.project.tasks
            return known or is_canvas(names, value, place) or names.origin(node.func, place) in CANVAS
        case ast.Call(func=func):
            return (names.origin(func, place) or "").replace("celery.canvas.", "celery.") in CANVAS
        case ast.BinOp(op=ast.BitOr(), left=left, right=right):
            return is_canvas(names, left, place) or is_canvas(names, right, place)
        case ast.Name(id=name):
            found = bindings(name, place)
            return bool(found) and all(
                isinstance(each, ast.expr) and not isinstance(each, ast.Name) and is_canvas(names, each, place)
                for each in found
            )
    return False


def _finding(
    names: Names, node: ast.Attribute, name: str, judged: Left | dict[str, Any], task: Task | None = None
) -> Finding:
    is_left = isinstance(judged, Left)
    return Finding(
        path=names.path,
        anchor=names.anchor(node),
        kind="call",
        name=f"{name}.{node.attr}" if name else node.attr,
        verdict=judged.verdict if isinstance(judged, Left) else Verdict.MOVES,
        reason=judged.reason if isinstance(judged, Left) else "",
        fixer="" if is_left else SENDING[node.attr],
        facts=({"task": task.origin} if task else {}) | ({} if isinstance(judged, Left) else judged),
    )
