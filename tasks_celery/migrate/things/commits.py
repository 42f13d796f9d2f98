"""The sending that waits for a commit, ``on_commit(lambda: add.delay(1))``: whether the task's ``enqueue_on_commit`` does it as well."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any, NamedTuple

from tasks_celery.migrate.finding import Finding, Verdict
from tasks_celery.migrate.source import Names, Place, Project, Task
from tasks_celery.migrate.things.answers import is_unused, why_caught
from tasks_celery.migrate.things.applied import Left, planned
from tasks_celery.migrate.things.calls import (
    SENDING,
    is_on_commit,
    is_partial,
    judged_call,
    needs,
    why_not_json,
    why_task_stays,
    why_unknown,
)
from tasks_celery.migrate.things.late import why_later
from tasks_celery.migrate.things.spelling import spelling

#: Celery's own short ways to the same (celery/contrib/django/task.py).
OF_CELERY = {"delay_on_commit": "delay", "apply_async_on_commit": "apply_async"}
_SENDS = {*SENDING, *OF_CELERY, "enqueue"}
#: What a use may be besides: called as the function that it is.
_HARMLESS = {"()"}


def wants_on_commit(project: Project, origin: str) -> str | bool | None:
    """Return what a task's ``enqueue_on_commit`` has to be for its calls to need no ``on_commit``; None where it must not be.

    True where each call of the task in the project waits for the commit of the default database. Of a task that has moved
    it is what its decorator says.
    """
    task = project.tasks.get(origin)
    if task is None:
        return None
    if task.is_django:
        return True if task.options.get("enqueue_on_commit") == "True" else None
    sent = [use for use in project.uses.get(origin, ()) if use.how not in _HARMLESS]
    waits = all(use.how in _SENDS and (use.on_commit or use.how in OF_CELERY) for use in sent)
    return True if sent and waits else None


class _Waiting(NamedTuple):
    """What ``on_commit`` is given: how the task's call is written, where the call or what stands for it is, and its task."""

    form: str
    node: ast.Attribute
    place: Place
    task: Task


def find(names: Names) -> Iterator[Finding]:
    """Yield each call that waits for a commit to send a task."""
    if "on_commit" not in names.text:
        return
    for place in names.places():
        match place.node:
            case ast.Call() if is_on_commit(names, place.node, place):
                yield from _of_django(names, place, place.node)
            case ast.Attribute(attr=attr, value=value) if attr in OF_CELERY:
                task = names.project.tasks.get(names.origin(value, place) or "")
                if task is not None:
                    yield _finding(names, place.node, task, _judge_celerys(names, place, place.node, task))


def _of_django(names: Names, place: Place, call: ast.Call) -> Iterator[Finding]:
    waiting = _waiting(names, place, call)
    if waiting is not None:
        yield _finding(names, call, waiting.task, _judge(names, place, call, waiting))


def _waiting(names: Names, place: Place, call: ast.Call) -> _Waiting | None:
    given = call.args[0] if call.args else next((each.value for each in call.keywords if each.arg == "func"), None)
    around = Place(call, place.parents)
    match given:
        case ast.Lambda(body=ast.Call(func=ast.Attribute() as node) as inner):
            found = _Found("lambda", node, Place(inner, (given, *_around(given, around))))
        case ast.Call(args=[ast.Attribute() as node, *_]) if is_partial(names, given, place):
            found = _Found("partial", node, Place(node, (given, *_around(given, around))))
        case ast.Attribute() as node:
            found = _Found("itself", node, Place(node, _around(node, around)))
        case _:
            return None
    task = names.project.tasks.get(names.origin(found.node.value, place) or "")
    if task is None or found.node.attr not in (*SENDING, "enqueue"):
        return None
    return _Waiting(*found, task)


class _Found(NamedTuple):
    form: str
    node: ast.Attribute
    place: Place


def _around(given: ast.expr, place: Place) -> tuple[ast.AST, ...]:
    call = place.node
    keyword = [each for each in getattr(call, "keywords", []) if each.value is given]
    return (*keyword, call, *place.parents)


def _judge(names: Names, place: Place, call: ast.Call, waiting: _Waiting) -> Left | dict[str, Any]:
    left = why_task_stays(names.project, waiting.task) or _why_stays(names, place, call, waiting)
    if left is not None:
        return left
    facts, fixers = _inner(names, waiting)
    if isinstance(facts, Left):
        return Left(f"on_commit() goes on working, and the call in it is left: {facts.reason}", Verdict.STAYS)
    return why_later(names, place, waiting.form, _values(waiting)) or {"form": waiting.form} | _needing(
        names.project, waiting.task, *fixers
    )


def _inner(names: Names, waiting: _Waiting) -> tuple[Left | dict[str, Any], tuple[str, ...]]:
    """Return whether the call itself changes, and the fixer that does it; none where it is ``enqueue`` already."""
    if waiting.node.attr == "enqueue":
        return {}, ()
    if waiting.form != "lambda" and waiting.node.attr != "delay":
        return Left("apply_async is given to on_commit() with arguments that would be two calls': write a lambda."), ()
    return judged_call(names, waiting.place, waiting.node, waiting.task), (SENDING[waiting.node.attr],)


def _needing(project: Project, task: Task, *fixers: str) -> dict[str, Any]:
    needed = [*needs(project, task).get("needs", ()), *fixers]
    return {"needs": needed} if needed else {}


def _values(waiting: _Waiting) -> list[ast.expr]:
    call = waiting.place.node
    if waiting.form == "partial":
        call = waiting.place.parents[0]
    if not isinstance(call, ast.Call):
        return []
    return [*call.args[1 if waiting.form == "partial" else 0 :], *(each.value for each in call.keywords)]


def _why_stays(names: Names, place: Place, call: ast.Call, waiting: _Waiting) -> Left | None:
    options = {each.arg for each in call.keywords} - {"func"}
    if options or len(call.args) > 1 or any(isinstance(each, ast.Starred) for each in call.args):
        return Left(
            "on_commit() has options of its own (using=, robust=): it goes on working with them.", Verdict.STAYS
        )
    if not is_unused(place):
        return Left("on_commit() is part of something else here, and goes on working.", Verdict.STAYS)
    if wants_on_commit(names.project, waiting.task.origin) is None:
        return Left(
            f"on_commit() goes on working: enqueue_on_commit=True on {waiting.task.origin} would change those of its calls "
            "that wait for no commit today.",
            Verdict.STAYS,
        )
    return None


def _judge_celerys(names: Names, place: Place, node: ast.Attribute, task: Task) -> Left | dict[str, Any]:
    left = _why_task_keeps(names.project, task)
    if left is not None:
        return left
    call = place.parents[0]
    if not isinstance(call, ast.Call) or call.func is not node:
        return Left(
            f"A Django task has no {node.attr}, which is passed on here: give it enqueue_on_commit=True and pass on enqueue."
        )
    at = Place(call, place.parents[1:])
    moves = why_task_stays(names.project, task) is None and not why_caught(names, at)
    is_enqueued = moves and node.attr == "delay_on_commit" and why_unknown(names, call, at) is None
    shape: dict[str, Any] = {"attr": "enqueue" if is_enqueued else OF_CELERY[node.attr]}
    if (
        moves
        and is_unused(at)  # Celery's own return None, which is JSON say
        and wants_on_commit(names.project, task.origin) is True
        and (facts := _plain_call(names, at, call, node)) is not None
    ):
        return shape | facts | {"form": "enqueue"} | needs(names.project, task)
    spelt = [spelling(names, at, *each) for each in (("django.db", "transaction"), ("functools", "partial"))]
    imports = [list(each.needs) for each in spelt if each.needs]
    return (
        shape
        | {"form": "callback", "names": [each.written for each in spelt], "imports": imports}
        | needs(names.project, task)
    )


def _why_task_keeps(project: Project, task: Task) -> Left | None:
    """Return why calls of a task by a way of Celery's stay, as they may not where its definition moves."""
    left = why_task_stays(project, task)
    return left if left is not None and left.verdict is Verdict.STAYS else None


def _plain_call(names: Names, place: Place, call: ast.Call, node: ast.Attribute) -> dict[str, Any] | None:
    """Return the facts for a call that becomes ``enqueue`` as it stands; None where its arguments are not all proven."""
    if node.attr == "apply_async_on_commit":
        plan = planned(names, call, place)
        if isinstance(plan, Left) or why_not_json(names, plan.given, place):
            return None
        values, facts = [each for _, each in plan.given], plan.facts()
    else:
        if any(isinstance(each, ast.Starred) for each in call.args) or any(each.arg is None for each in call.keywords):
            return None
        values, facts = [*call.args, *(each.value for each in call.keywords)], {}
        if why_not_json(names, [("", each) for each in values], place):
            return None
    return None if why_later(names, place, "partial", values) else facts


def _finding(names: Names, node: ast.expr, task: Task, judged: Left | dict[str, Any]) -> Finding:
    is_left = isinstance(judged, Left)
    return Finding(
        path=names.path,
        anchor=names.anchor(node),
        kind="commit",
        name=task.origin,
        verdict=judged.verdict if isinstance(judged, Left) else Verdict.MOVES,
        reason=judged.reason if isinstance(judged, Left) else "",
        fixer="" if is_left else "on-commit",
        facts={"task": task.origin} | ({} if isinstance(judged, Left) else judged),
    )
