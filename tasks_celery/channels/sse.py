"""Web process. A user's events as Server-Sent Events: the same texts as on the socket, each with its position as the id.

A browser that reconnects sends the last id back (``Last-Event-ID``), so nothing falls in between.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.db import connections
from django.http import StreamingHttpResponse

from tasks_celery.channels.access import TRY_AGAIN_LATER, Access
from tasks_celery.channels.listening.reception import LayerError
from tasks_celery.channels.listening.subscription import Item, Subscription
from tasks_celery.channels.log.base import Position

STREAM: Final = "text/event-stream"
#: Seconds. Proxies close what is silent for a minute, and only what is written shows that nobody reads any more.
HEARTBEAT: Final = 15.0
COMMENT: Final = ":\n\n"
#: The type of the last message of a stream that the server ends; its code is what a socket is closed with.
CLOSE: Final = "task.close"


class EventStreamResponse(StreamingHttpResponse):
    """The answer that goes on for as long as somebody listens."""

    def __init__(self, access: Access, since: Position | None) -> None:
        self._events = event_stream(access, since)
        headers = {
            "Cache-Control": "no-store",
            # nginx would collect events until they fill a buffer.
            "X-Accel-Buffering": "no",
            # Keeps Django's GZipMiddleware away, which makes each event an archive of its own: browsers read the first.
            "Content-Encoding": "identity",
        }
        super().__init__(self._events, content_type=STREAM, headers=headers)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        # Django closes this iterator as the page goes away, but not the one below it, which would listen until the
        # garbage collector comes.
        parts: Any = self.streaming_content
        async with aclosing(self._events):
            async for part in parts:
                yield part


async def event_stream(access: Access, since: Position | None) -> AsyncGenerator[str, None]:
    """Yield the events of who has `access`, after `since` and from now on, until they may hear no more."""
    await sync_to_async(_hang_up)()
    # Each at another time: all would come back at once to a server that was restarted.
    yield f"retry: {random.randint(1_000, 5_000)}\n\n"  # noqa: S311
    frames = _Frames()
    subscription = Subscription(access, since=since, acks=False, send=frames.send, close=frames.close)
    try:
        try:
            await subscription.open()
        except LayerError:  # the hub has said so
            await frames.close(TRY_AGAIN_LATER)
        while frame := await frames.next():
            yield frame
            frames.taken()
    finally:
        await subscription.shut()


class _Frames:
    """What the subscription has sent and the server has not yet taken: one frame, and what ends the stream."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[str] = asyncio.Queue()
        self._is_free = asyncio.Event()

    async def send(self, item: Item) -> None:
        """Send an item; return when the server has taken it, so that a slow client slows what is sent to it."""
        self._is_free.clear()
        self._waiting.put_nowait(frame_of(item))
        await self._is_free.wait()

    async def close(self, code: int) -> None:
        """End the stream. Waits for nobody: who ends a thousand streams is not held up by a slow one."""
        self._waiting.put_nowait(f"data: {json.dumps({'type': CLOSE, 'code': code})}\n\n")
        self._waiting.put_nowait("")

    async def next(self) -> str:
        """Return the next frame, a comment where there is none for a while, or nothing at the end."""
        try:
            async with asyncio.timeout(HEARTBEAT):
                return await self._waiting.get()
        except TimeoutError:
            return COMMENT

    def taken(self) -> None:
        """Let the next one come, where the last was sent."""
        if self._waiting.empty():
            self._is_free.set()


def frame_of(item: Item) -> str:
    """Return an item as the stream has it. Its text is JSON on one line."""
    position = f"id: {item.position}\n" if item.position else ""
    return f"{position}data: {item.text}\n\n"


def _hang_up() -> None:
    """Close the connections of the request's own thread, which it keeps for as long as the stream lasts."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()
