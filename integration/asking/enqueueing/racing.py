"""Web process, one of several that do the same at the same moment."""

from __future__ import annotations

from typing import Any


def enqueue(start: Any, rounds: int) -> list[str]:
    """Enqueue the same task as the others, again and again: whose id each round gives."""
    from integration.asking.enqueueing.tasks import succeed

    ids = []
    for number in range(rounds):
        start.wait(60)
        ids.append(str(succeed.enqueue(f"race {number}").id))
    return ids


def enqueue_refusing(start: Any, rounds: int) -> list[str | None]:
    """Do so with a task that refuses the second: the ids, None for what was refused."""
    from integration.asking.enqueueing.tasks import succeed
    from tasks_celery.exceptions import AlreadyEnqueued
    from tasks_celery.unique import Unique

    refusing = succeed.using(unique=Unique(on_conflict="raise"))
    ids: list[str | None] = []
    for number in range(rounds):
        start.wait(60)
        try:
            ids.append(str(refusing.enqueue(f"refused {number}").id))
        except AlreadyEnqueued:
            ids.append(None)
    return ids


def enqueue_together(start: Any, rounds: int) -> list[str]:
    """Do so in one call for all rounds."""
    from integration.asking.enqueueing.tasks import succeed

    start.wait(60)
    return [str(result.id) for result in succeed.enqueue_many([((f"many {number}",), {}) for number in range(rounds)])]
