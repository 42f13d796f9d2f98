"""Web process. One for each event loop: what the sockets, streams of events and the log have to do with each other.

It hears from the channel layer, or without one looks at the log, and hands what it hears to the local subscriptions of the
stream. What these have to read, and what has to be looked at again and again, it asks for all of them at once.
It lives while it has listeners; without, nothing of it runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from tasks_celery.channels.access import NO_LONGER_ALLOWED, session_tag
from tasks_celery.channels.events import CONTROL, EVENT, heard_in
from tasks_celery.channels.listening.logreader import LogReader
from tasks_celery.channels.listening.polling import Polling
from tasks_celery.channels.listening.reception import LayerError, Reception, take_note
from tasks_celery.channels.listening.rounds import Rounds
from tasks_celery.channels.log import Position, Slice
from tasks_celery.channels.options import EventOptions, event_options

if TYPE_CHECKING:
    from tasks_celery.channels.listening.subscription import Subscription

__all__ = ["Hub", "LayerError", "hub"]

logger = logging.getLogger("tasks_celery.channels")

#: How many listeners of one stream hear an event before the other tasks of the loop get their turn.
TURN = 200


class Source(Protocol):
    """What tells the hub of events: the channel layer, or looking at the log."""

    async def start(self) -> None:
        """Begin. Raise LayerError."""

    async def stop(self) -> None:
        """End, and leave nothing running."""

    async def settle(self, stream: str) -> None:
        """Return once the stream is heard, or no more, as it has listeners or has not. Raise LayerError."""

    async def renew(self, streams: Iterable[str]) -> None:
        """See to it that the streams are still heard. Raise LayerError."""


class Hub:
    """The subscriptions of one event loop, by stream."""

    def __init__(self) -> None:
        self._listeners: dict[str, set[Subscription]] = {}
        self._gate = asyncio.Lock()
        self._is_running = self._is_refusing = False
        self._beginning: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._reception: Reception | None = None

    async def add(self, subscription: Subscription) -> None:
        """Have the subscription hear its stream from now on. Raise LayerError, and then it does not."""
        try:
            await self._join(subscription)
        except LayerError as error:
            # Once: where the layer is away, a thousand pages come in vain, again and again.
            log = logger.debug if self._is_refusing else logger.error
            log("Pages are told to come again later: %s", error)
            self._is_refusing = True
            raise
        self._is_refusing = False

    async def _join(self, subscription: Subscription) -> None:
        self._listeners.setdefault(subscription.stream, set()).add(subscription)
        if not self._is_running:
            # Together: where the layer hangs, a thousand pages wait once and not one after the other.
            if self._beginning is None:
                self._beginning = asyncio.create_task(self._begin())
                self._beginning.add_done_callback(take_note)
            await asyncio.shield(self._beginning)
        await self._source.settle(subscription.stream)
        self._rounds.add(subscription)

    async def remove(self, subscription: Subscription) -> None:
        """Have it hear nothing more; the last one ends the hub. One that is not there does no harm."""
        stream = subscription.stream
        listeners = self._listeners.get(stream, set())
        listeners.discard(subscription)
        if not listeners:
            self._listeners.pop(stream, None)
        if self._is_running:
            self._rounds.discard(subscription)
            await self._leave(stream)
        if self._is_running and not self._listeners:
            # To the end, also where the server gives up the socket that was the last.
            self._ending = self._ending or asyncio.create_task(self._end())
            await asyncio.shield(self._ending)

    async def read(self, stream: str, since: Position | None) -> Slice:
        """Return what the log holds after `since`. Raise EventLogError."""
        return await self._reader.read(stream, since)

    async def _leave(self, stream: str) -> None:
        try:
            await self._source.settle(stream)
        except LayerError as error:  # of one who joins meanwhile, and hears of it
            logger.debug("%s", error)

    async def _begin(self) -> None:
        try:
            async with self._gate:
                options = event_options()
                source = self._source_of(options)
                await source.start()
                self._source: Source = source
                self._reader = LogReader(self._doubt_all)
                self._rounds = Rounds(self._reader, self._listeners, source.renew, check_every=options.check_every)
                self._is_running = True
        finally:
            self._beginning = None

    async def _end(self) -> None:
        try:
            async with self._gate:
                if self._listeners:
                    return
                self._is_running = False
                await self._source.stop()
                await self._rounds.stop()
                await self._reader.close()
        finally:
            self._ending = None

    def _source_of(self, options: EventOptions) -> Source:
        if options.layer is None:
            return Polling(options.poll_every, look=self._look_at_all, hint=self._hint)
        if self._reception is None or self._reception.alias != options.layer:
            self._reception = Reception(
                options.layer, is_wanted=self._listeners.__contains__, hear=self._hear, missed=self._doubt_all
            )
        return self._reception

    # What the source says.

    async def _hear(self, message: object) -> None:
        match message:
            case {"type": str(kind), "stream": str(stream)} if stream in self._listeners and isinstance(message, dict):
                if kind == EVENT:
                    await self._hear_events(stream, message)
                elif kind == CONTROL:
                    self._end_session(stream, message.get("session"))
            case _:
                logger.debug("A message of another release, or for nobody here, is ignored")

    async def _hear_events(self, stream: str, message: Mapping[str, Any]) -> None:
        events = heard_in(message)
        must_look = False
        for number, subscription in enumerate(tuple(self._listeners[stream]), 1):
            must_look = subscription.hear(events) or must_look
            if number % TURN == 0:
                await asyncio.sleep(0)
        if must_look:
            self._rounds.doubt([stream])

    def _end_session(self, stream: str, tag: object) -> None:
        for subscription in tuple(self._listeners[stream]):
            session = subscription.access.session
            if session is not None and session_tag(session) == tag:
                subscription.end(NO_LONGER_ALLOWED)

    def _hint(self, stream: str | None) -> None:
        if stream is None:
            self._doubt_all()
        for subscription in tuple(self._listeners.get(stream or "", ())):
            subscription.doubt()

    def _doubt_all(self) -> None:
        if self._is_running:
            self._rounds.doubt(self._listeners)

    async def _look_at_all(self) -> None:
        await self._rounds.look(self._listeners)


_hubs: dict[asyncio.AbstractEventLoop, Hub] = {}


def hub() -> Hub:
    """Return the hub of the running event loop."""
    loop = asyncio.get_running_loop()
    found = _hubs.get(loop)
    if found is None:
        for ended in [each for each in _hubs if each.is_closed()]:
            del _hubs[ended]
        found = _hubs[loop] = Hub()
    return found
