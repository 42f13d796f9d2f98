"""The queues in use: ``QUEUES`` of TASKS has to name each that a Django task is sent to."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from tasks_celery.migrate.finding import Anchor, Finding, Verdict
from tasks_celery.migrate.source import Names, Place
from tasks_celery.migrate.things.settings import settings_of

#: What takes the name of a queue as `queue`: decorators, and ways to send.
_TAKE_A_QUEUE = {
    "task",
    "shared_task",
    "periodic_task",
    "apply_async",
    "apply_async_on_commit",
    "send_task",
    "set",
    "signature",
    "subtask",
    "retry",
}
_COMPUTED = "The queue is computed: add each that it can be to QUEUES of TASKS."


def find(names: Names) -> Iterator[Finding]:
    """Yield every place of a file that names a queue."""
    for setting in settings_of(names):
        yield from (_finding(names, Anchor(setting.line, 0), each) for each in _set(setting.name, setting.value))
    if "queue" not in names.text and "Queue" not in names.text:
        return
    for place in names.places():
        if isinstance(place.node, ast.Call):
            for node, queue in _called(names, place.node, place):
                static = queue.value if isinstance(queue, ast.Constant) else None
                yield _finding(names, names.anchor(node), static)


def _set(setting: str, value: Any) -> Iterator[Any]:
    """Yield the queues that the value of a setting names, or what stands where one should be named."""
    match setting, value:
        case "task_default_queue", _:
            yield value
        case "task_queues", dict():
            yield from value
        case "task_routes", dict():
            yield from (_route(each) for each in value.values())
        case "task_routes", list() | tuple():
            for each in value:
                yield from _set(setting, dict([each]) if _is_pair(each) else each)


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and isinstance(value[0], str)


def _route(value: Any) -> Any:
    """Return the queue of a route; a route that names none but an exchange, say, has to be looked at."""
    return value.get("queue") if isinstance(value, dict) else value


def _called(names: Names, node: ast.Call, place: Place) -> Iterator[tuple[ast.AST, ast.expr]]:
    last = getattr(node.func, "attr", None) or getattr(node.func, "id", "")
    if last in _TAKE_A_QUEUE:
        # None is Celery's "as otherwise", and no queue.
        yield from ((word, word.value) for word in node.keywords if word.arg == "queue" and not _is_none(word.value))
    elif last == "Queue" and (names.origin(node.func, place) or "").startswith("kombu."):
        named = [word.value for word in node.keywords if word.arg == "name"] or node.args[:1]
        yield from ((node, each) for each in named)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _finding(names: Names, anchor: Anchor, queue: object) -> Finding:
    static = queue if isinstance(queue, str) else ""
    return Finding(
        path=names.path,
        anchor=anchor,
        kind="queue",
        name=static or "computed",
        verdict=Verdict.STAYS if static else Verdict.PERSON,
        reason="It belongs into QUEUES of TASKS." if static else _COMPUTED,
        facts={"queue": static} if static else {},
    )
