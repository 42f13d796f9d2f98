"""Worker process. One event through the project's ASGI application, in the scope that runworker makes for its channel.

An application of runworker's waits for one event after the other until it is cancelled. Here there is one: once it waits for
another, it has handled that, and is cancelled. Not by StopConsumer, which Channels expects of a handler: raised by what it
receives from, the consumer would leave without ending what else it waits for (channels/utils.py, await_many_dispatch).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any

from asgiref.compatibility import guarantee_single_callable

from tasks_celery.channels.checks.layers import CORE
from tasks_celery.channels.checks.reading import is_from, layers
from tasks_celery.channels.workers.event import refuse_unfit
from tasks_celery.values import as_json

logger = logging.getLogger("tasks_celery")

#: Seconds within which an application has to end once its event is handled.
END_WITHIN = 5.0


async def handle(application: Any, channel: str, message: Mapping[str, Any]) -> list[Any]:
    """Give an event to an ASGI application and return what it sent, once it has handled it.

    Raise what it raises, and ValueError where it ends without having taken the event.
    """
    delivery = _Delivery(message)
    scope = {"type": "channel", "channel": channel}
    async with _turn():
        run: Any = guarantee_single_callable(application)  # type: ignore[no-untyped-call]
        running = asyncio.ensure_future(run(scope, delivery.receive, delivery.send))
        try:
            await _until_over(running, delivery)
        finally:
            await _end(running, delivery, channel)
    if not delivery.taken:
        raise ValueError(f"The application for the channel {channel!r} ended without taking the event.")
    return delivery.sent


async def _until_over(running: asyncio.Future[Any], delivery: _Delivery) -> None:
    over = asyncio.ensure_future(delivery.over.wait())
    try:
        await asyncio.wait({running, over}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        over.cancel()
    if running.done() and not delivery.over.is_set():
        await running  # raises what it raised


async def _end(running: asyncio.Future[Any], delivery: _Delivery, channel: str) -> None:
    running.cancel()
    _, pending = await asyncio.wait({running}, timeout=END_WITHIN)
    if pending:
        logger.error("The application for the channel %r was cancelled and runs on all the same", channel)
    elif delivery.over.is_set() and not running.cancelled() and (error := running.exception()):
        logger.error(
            "The application for the channel %r had handled its event, and failed then", channel, exc_info=error
        )


class _Delivery:
    """The two ends of one event: what the application receives, and what it sends."""

    def __init__(self, message: Mapping[str, Any]) -> None:
        self._message = message
        self.taken = False
        self.over = asyncio.Event()
        self.sent: list[Any] = []

    def receive(self) -> Awaitable[Mapping[str, Any]]:
        # Not async: what is asked for is noted before anything else of the application goes on, and fails, say, as its channel
        # layer is away.
        if self.taken:
            self.over.set()
            return asyncio.get_running_loop().create_future()  # of which nothing comes
        self.taken = True
        return self._first()

    async def _first(self) -> Mapping[str, Any]:
        return self._message

    async def send(self, message: Any) -> None:
        refuse_unfit(message)
        self.sent.append(as_json(message))


#: Held by the event that this process handles, where there may be but one.
_turns = Lock()
_has_turn: ContextVar[bool] = ContextVar("tasks_celery.channels.workers.has_turn", default=False)


@asynccontextmanager
async def _turn() -> AsyncIterator[None]:
    """Wait until no other thread of this process handles an event, where the layer bears one loop only.

    Every consumer of Channels also waits on a channel of its own, and a core layer raises where two loops do so at a time
    (channels_redis/core.py, receive). On a pool of processes nobody waits here.
    """
    # An event within an event is one of eager mode, which the outer one waits for.
    if _has_turn.get() or not any(is_from(CORE, layer) for layer in layers().values()):
        yield
        return
    while not _turns.acquire(blocking=False):  # noqa: ASYNC110 - another thread's, and one that is waited for ends by no cancel
        await asyncio.sleep(0.01)
    token = _has_turn.set(True)
    try:
        yield
    finally:
        _has_turn.reset(token)
        _turns.release()
