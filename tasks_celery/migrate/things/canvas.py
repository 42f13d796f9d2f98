"""Celery's canvas: chains, groups, chords and the signatures that they are made of. A Django task of ours is part of it as it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tasks_celery.migrate.finding import Finding, Verdict
from tasks_celery.migrate.source import Names, Place, Task
from tasks_celery.migrate.source.summary import dotted
from tasks_celery.migrate.things.calls import CANVAS, is_canvas

#: What a Django task of ours answers as its Celery twin does.
ANSWERED = frozenset({"s", "si", "signature"})
_NOT_ANSWERED = {
    "subtask": "write signature(), which is the same",
    "chunks": "write a group of signatures, or enqueue_many() with the chunks",
    "map": "write a group of signatures, or enqueue_many()",
    "starmap": "write a group of signatures, or enqueue_many()",
    "subtask_from_request": "write signature()",
    "signature_from_request": "write signature()",
}
_SIGNS = ("celery", "send_task", *(f".{each}(" for each in (*ANSWERED, *_NOT_ANSWERED)))
_WORKS = "Canvas goes on working, with Celery tasks and Django tasks in it."
_BY_NAME = "It is sent by its name, and goes on working as long as a task, or one of its aliases, has that name."


def find(names: Names) -> Iterator[Finding]:
    """Yield each part of a canvas, and each task that is sent by its name."""
    if not any(each in names.text for each in _SIGNS):
        return
    for place in names.places():
        match place.node:
            case ast.Call(func=func) as call:
                yield from _called(names, place, call, func)
            case ast.BinOp(op=ast.BitOr()) if not _is_piped(place) and is_canvas(names, place.node, place):
                yield _finding(names, place.node.right, "chain", Verdict.STAYS, _WORKS)


def _is_piped(place: Place) -> bool:
    """Whether a node is the left of a longer chain: that is one chain."""
    return isinstance(place.parents[0], ast.BinOp) and isinstance(place.parents[0].op, ast.BitOr)


def _called(names: Names, place: Place, call: ast.Call, func: ast.expr) -> Iterator[Finding]:
    made = (names.origin(func, place) or "").replace("celery.canvas.", "celery.")
    if made in CANVAS:
        by_name = bool(call.args) and isinstance(call.args[0], ast.Constant)
        yield _finding(names, call, made.removeprefix("celery."), Verdict.STAYS, _BY_NAME if by_name else _WORKS)
    elif isinstance(func, ast.Attribute):
        yield from _of_a_task(names, place, call, func)


def _of_a_task(names: Names, place: Place, call: ast.Call, func: ast.Attribute) -> Iterator[Finding]:
    if func.attr == "send_task":
        if call.args or any(each.arg == "name" for each in call.keywords):
            yield _finding(names, call, _shown(func), Verdict.STAYS, _BY_NAME)
        return
    if func.attr not in ANSWERED and func.attr not in _NOT_ANSWERED:
        return
    task = names.project.tasks.get(names.origin(func.value, place) or "")
    if task is None:
        return
    name = f"{task.origin}.{func.attr}"
    if func.attr in ANSWERED:
        yield _finding(names, call, name, Verdict.STAYS, _WORKS)
    else:
        yield _finding(names, call, name, *_unanswered(task, func.attr))


def _unanswered(task: Task, attr: str) -> tuple[Verdict, str]:
    if task.made_by == "tasks_celery.adopt":
        return Verdict.STAYS, _WORKS
    verdict = Verdict.UNSAFE if task.is_django else Verdict.PERSON
    return (
        verdict,
        f"A Django task has no .{attr}: {_NOT_ANSWERED[attr]}; or say it of {task.origin.rpartition('.')[2]}.celery, its twin.",
    )


def _shown(node: ast.expr) -> str:
    return dotted(node) or (node.attr if isinstance(node, ast.Attribute) else "")


def _finding(names: Names, node: ast.AST, name: str, verdict: Verdict, reason: str) -> Finding:
    return Finding(path=names.path, anchor=names.anchor(node), kind="canvas", name=name, verdict=verdict, reason=reason)
