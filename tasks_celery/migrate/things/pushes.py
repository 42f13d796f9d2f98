"""What is sent to browsers by hand, through the channel layer: what in a task `@notify` would do instead.

No fixer changes it. `@notify` speaks to another socket, in events of another form, so the page and the consumer change with it:
from the task alone nothing can be proven.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tasks_celery.migrate.finding import Finding, Verdict
from tasks_celery.migrate.source import Names, Place
from tasks_celery.migrate.source.summary import dotted

LAST = (
    "It tells a group that the task has ended: @notify(…) above the task does that for who asked, on failure too, and "
    "where the page was away; the page then listens to the socket of tasks_celery.channels, so both change together."
)
BEFORE_THE_END = (
    "It tells a group of what the task is doing, before its end, which @notify does not: it goes on working in a Django task. "
    "What is sent last can be said by @notify."
)
_IN_LOOPS = (ast.For, ast.AsyncFor, ast.While)


def find(names: Names) -> Iterator[Finding]:
    """Yield each `group_send` inside of a task."""
    if "group_send" not in names.text:
        return
    tasks = {task.anchor: task for task in names.project.tasks.values() if task.path == names.path}
    for place in names.places():
        node = place.node
        if not (isinstance(node, ast.Attribute) and node.attr == "group_send" and isinstance(node.ctx, ast.Load)):
            continue
        function = place.function
        task = tasks.get(names.anchor(function)) if function is not None else None
        if task is not None and function is not None:
            is_last = _is_last(place, function)
            yield Finding(
                path=names.path,
                anchor=names.anchor(node),
                kind="push",
                name=f"{task.origin}: {dotted(node) or 'group_send'}",
                verdict=Verdict.PERSON if is_last else Verdict.STAYS,
                reason=LAST if is_last else BEFORE_THE_END,
            )


def _is_last(place: Place, function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether nothing of a function comes after a place but what is returned."""
    inner: ast.AST = place.node
    for outer in place.parents:
        if isinstance(outer, _IN_LOOPS):
            return False
        for body in (getattr(outer, name, ()) for name in ("body", "orelse", "finalbody")):
            if isinstance(body, list) and inner in body:
                after = body[body.index(inner) + 1 :]
                if not all(isinstance(each, ast.Return | ast.Pass) for each in after):
                    return False
        if outer is function:
            return True
        inner = outer
    return False
