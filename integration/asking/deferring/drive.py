"""Web process. Does one thing with deferred tasks, and prints what came of it as JSON.

``python -m integration.asking.deferring.drive VERB ARGUMENT…``, an argument being JSON too.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import django

VERBS: dict[str, Callable[..., Any]] = {}


def verb(does: Callable[..., Any]) -> Callable[..., Any]:
    VERBS[does.__name__] = does
    return does


def main(name: str, *arguments: str) -> None:
    django.setup()
    json.dump(VERBS[name](*map(json.loads, arguments)), sys.stdout)


@verb
def enqueue(*orders: dict[str, Any]) -> list[list[str]]:
    """Enqueue what each order asks for: the ids."""
    from tasks_celery.compat import task_backends

    def ids(order: dict[str, Any]) -> list[str]:
        backend: Any = task_backends[order.get("alias", "default")]
        calls = [_call(order, number) for number in range(order.get("count", 1))]
        return [result.id for result in backend.enqueue_many(calls)]

    return [ids(order) for order in orders]


def _call(order: dict[str, Any], number: int) -> tuple[Any, list[Any], dict[str, Any]]:
    """Return the call of one of several tasks, that are due one after another over `spread` seconds."""
    from integration.asking.deferring.tasks import note

    ahead = order["after"] + number * order.get("spread", 0) / order.get("count", 1)
    due = datetime.fromtimestamp(order.get("from") or time.time(), UTC) + timedelta(seconds=ahead)
    where = {"queue_name": order.get("queue", "default"), "backend": order.get("alias", "default")}
    return note.using(run_after=due, **where), [order["label"], due.timestamp()], {}


@verb
def enqueue_and_look(seconds: float, *orders: dict[str, Any]) -> list[list[list[str]]]:
    """Enqueue what each order asks for: the ids, and what `get_result` says of each so many seconds later."""
    from tasks_celery.compat import TaskResultDoesNotExist, task_backends

    def status(result_id: str) -> str:
        try:
            return str(task_backends["default"].get_result(result_id).status)
        except TaskResultDoesNotExist:
            return "unknown"

    ids = enqueue(*orders)
    time.sleep(seconds)  # to see that nothing has happened by then
    return [ids, [[status(result_id) for result_id in theirs] for theirs in ids]]


@verb
def die(unsent: str, unsaid: str) -> list[list[str]]:
    """Enqueue two tasks, and when they are due take them as a mover does that is then killed: the ids.

    The second it has sent, and not said so.
    """
    from tasks_celery import publish
    from tasks_celery.compat import task_backends
    from tasks_celery.mover import RETAKEN

    backend: Any = task_backends["default"]
    ids = enqueue({"label": unsent, "after": 1}, {"label": unsaid, "after": 1.01})
    until = datetime.now(UTC) + timedelta(seconds=2 + RETAKEN)
    taken: list[Any] = []
    while len(taken) < len(ids):
        time.sleep(0.05)
        taken += backend.results.store.take_due(before=datetime.now(UTC), until=until, limit=9)
    assert [[record.id] for record in taken] == ids
    assert publish.send_kept(backend, taken[1:]) == taken[1:]
    return ids


if __name__ == "__main__":
    main(*sys.argv[1:])
