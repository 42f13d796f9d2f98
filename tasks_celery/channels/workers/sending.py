"""Web process. An event becomes a task where it was sent to a channel."""

from __future__ import annotations

from collections.abc import Mapping
from secrets import token_hex
from typing import Any

from tasks_celery import publish
from tasks_celery.backend import CeleryBackend
from tasks_celery.channels.workers.event import refuse_channel, refuse_event, refuse_unfit
from tasks_celery.channels.workers.tasks import task_for
from tasks_celery.compat import AnyResult

#: How many characters are kept of an event that no task can carry.
SHOWN = 1_000


async def send(channel: str, message: Mapping[str, Any]) -> AnyResult:
    """Have a task handle an event, as a worker of Channels would that listens on `channel`; return its result.

    It stands where ``channel_layer.send`` stood. Raise TypeError or ValueError for what no consumer could handle
    or JSON cannot hold, and what `enqueue` raises; nothing is sent then.
    """
    refuse_channel(channel)
    refuse_event(message)
    result: AnyResult = await task_for(channel).aenqueue(channel, message)
    return result


def enqueue_event(channel: str, message: Mapping[str, Any]) -> AnyResult:
    """Have a task handle an event, as `send` does, from code that is not async."""
    refuse_channel(channel)
    refuse_event(message)
    result: AnyResult = task_for(channel).enqueue(channel, message)
    return result


def keep(channel: str, message: Any, *, result_id: str) -> AnyResult:
    """Make a task of whatever came from a channel layer; twice under one id, it runs once.

    What nobody can handle becomes one too, and fails with the reason. Raise what `enqueue` raises.
    """
    try:
        refuse_unfit(message)
        return _enqueue(channel, [message], result_id)
    except (TypeError, ValueError) as error:
        return _enqueue(channel, [repr(message)[:SHOWN], str(error)], result_id)


def _enqueue(channel: str, rest: list[Any], result_id: str) -> AnyResult:
    task = task_for(channel)
    backend = task.get_backend()
    if isinstance(backend, CeleryBackend):
        return publish.enqueue_as(backend, task, [channel, *rest], {}, result_id=result_id, sending={})
    result: AnyResult = task.enqueue(channel, *rest)
    return result


def new_id() -> str:
    """Return an id for a task that is to be."""
    return token_hex(16)
