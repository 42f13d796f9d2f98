"""Web process. The channel layer's side of the hub: one channel for all sockets of an event loop, in the groups that they hear.

A channel for each socket, as Channels has it, costs each a queue and two tasks, and each message a wake-up of both. One
is enough even where the layer is slow to hand out and drops what is too much: the hub hears of neither from
the layer, but looks at the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from django.conf import settings

from tasks_celery.channels.layer import consumes_here, is_in_memory, open_layer
from tasks_celery.exceptions import TasksCeleryError

logger = logging.getLogger("tasks_celery.channels")

#: How many groups are joined and left at once: redis-py 8 has a hundred connections, and raises when they are in use.
AT_ONCE: Final = 20
#: Seconds after which the layer is taken not to answer.
DEADLINE = 10.0
#: Seconds before the layer is asked again after an error, the first time and at most.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
#: Seconds for which channels_redis waits in Redis for a message. Its own five are as long as redis-py 8 waits for any answer:
#: which of the two is first ends the connection, or does not (channels_redis issue 422).
WAIT_IN_REDIS = 3
#: After how many messages the other tasks of the loop get their turn: a layer's queue that is not empty never waits.
TURN = 50


class LayerError(TasksCeleryError):
    """The channel layer did not answer."""


class Reception:
    """A channel of the layer `alias`, in the group of each stream for which `is_wanted`.

    `hear` is awaited with each message, `missed` called where messages may have been lost.
    """

    def __init__(
        self,
        alias: str,
        *,
        is_wanted: Callable[[str], bool],
        hear: Callable[[Any], Awaitable[None]],
        missed: Callable[[], None],
    ) -> None:
        self.alias = alias
        self._is_wanted, self._hear, self._missed = is_wanted, hear, missed
        self._joined: set[str] = set()
        #: Of these, which are to be joined again, as the membership ages or may be gone.
        self._stale: set[str] = set()
        self._settling: dict[str, asyncio.Task[None]] = {}
        self._opened: tuple[object, Any] | None = None
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._receiving: asyncio.Task[None] | None = None
        self._heard = 0

    async def start(self) -> None:
        """Get a channel and listen to it. Raise LayerError."""
        try:
            self._layer = self._open_layer()
        except Exception as error:  # whatever a layer raises whose configuration it cannot use
            raise LayerError(f"The channel layer cannot be opened: {error}") from error
        consumes_here(self._layer)
        self._channel = await self._ask(self._layer.new_channel)
        # Past the half of what it holds, a layer may have dropped messages; 0 for one that drops none.
        self._burst = getattr(self._layer, "capacity", 0) // 2
        self._receiving = asyncio.create_task(self._receive(), name="tasks_celery.channels.listening.reception")

    async def stop(self) -> None:
        """Leave the groups and listen no more."""
        with contextlib.suppress(LayerError):
            await self._settle_all(self._joined | self._settling.keys())
        if self._receiving:
            self._receiving.cancel()
            await asyncio.wait([self._receiving])

    async def settle(self, stream: str) -> None:
        """Return once the stream's group is joined, or left, as is wanted. Raise LayerError where it cannot be joined."""
        task = self._settling.get(stream)
        if task is None:
            if self._is_settled(stream):
                return
            task = self._settling[stream] = asyncio.create_task(self._settle(stream))
            task.add_done_callback(take_note)
        # Who asked may be gone before it is done; others wait for it too.
        await asyncio.shield(task)

    async def renew(self, streams: Iterable[str]) -> None:
        """Join the groups of the streams again: a layer forgets its members after a time, or with its Redis."""
        self._stale |= self._joined.intersection(streams)
        await self._settle_all(set(self._stale))

    def _open_layer(self) -> Any:
        if is_in_memory(self.alias):
            from channels.layers import channel_layers

            return channel_layers[self.alias]
        # One of our own, once: what the project's consumers are sent takes no room from the events then.
        config = getattr(settings, "CHANNEL_LAYERS", None)
        if self._opened is None or self._opened[0] is not config:
            layer: Any = open_layer(self.alias)
            if hasattr(layer, "brpop_timeout"):
                layer.brpop_timeout = min(layer.brpop_timeout, WAIT_IN_REDIS)
            self._opened = config, layer
        return self._opened[1]

    async def _settle(self, stream: str) -> None:
        # One task for each stream: of a leaving and a joining that cross, the one that is wanted comes last.
        try:
            while not self._is_settled(stream):
                async with self._slots:
                    if self._is_wanted(stream):
                        await self._join(stream)
                    else:
                        await self._leave(stream)
        finally:
            del self._settling[stream]

    def _is_settled(self, stream: str) -> bool:
        if self._is_wanted(stream):
            return stream in self._joined and stream not in self._stale
        return stream not in self._joined

    async def _join(self, stream: str) -> None:
        self._stale.discard(stream)
        # Noted first: what fails may be done all the same, and is then to be left.
        self._joined.add(stream)
        try:
            await self._ask(self._layer.group_add, stream, self._channel)
        except BaseException:
            self._stale.add(stream)
            raise

    async def _leave(self, stream: str) -> None:
        self._joined.discard(stream)
        self._stale.discard(stream)
        try:
            await self._ask(self._layer.group_discard, stream, self._channel)
        except LayerError as error:
            logger.debug("A group is not left, and what it is sent ignored: %s", error)

    async def _settle_all(self, streams: Iterable[str]) -> None:
        results = await asyncio.gather(*map(self.settle, streams), return_exceptions=True)
        for error in results:
            if isinstance(error, Exception):
                raise error

    async def _ask(self, call: Callable[..., Awaitable[Any]], *about: str) -> Any:
        try:
            async with asyncio.timeout(DEADLINE):
                return await call(*about)
        except Exception as error:
            raise LayerError(f"The channel layer does not answer: {type(error).__name__}: {error}") from error

    async def _receive(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                message = await self._layer.receive(self._channel)
            except Exception as error:  # noqa: BLE001 - whatever a layer, its client and its serializer raise
                pause = await self._recover(error, pause)
                continue
            if pause != FIRST_PAUSE:
                logger.warning("The channel layer brings events again.")
                pause = FIRST_PAUSE
            await self._hear(message)
            await self._count()

    async def _count(self) -> None:
        self._heard += 1
        if self._heard % TURN == 0:
            await asyncio.sleep(0)
        if self._burst and self._heard % self._burst == 0:
            self._missed()

    async def _recover(self, error: Exception, pause: float) -> float:
        """Wait, join all groups anew and return how long to wait the next time."""
        log = logger.error if pause == FIRST_PAUSE else logger.debug
        log("The channel layer fails (%s: %s). It is tried again until it works.", type(error).__name__, error)
        while True:
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311
            pause = min(2 * pause, LONGEST_PAUSE)
            # Until they are joined: a layer that works again and knows no member of a group says nothing of it.
            with contextlib.suppress(LayerError):
                await self.renew(set(self._joined))
                break
        self._missed()
        return pause


def take_note(task: asyncio.Task[None]) -> None:
    """See the error of a task: who waited for it may be gone, and asyncio complains of one that nobody has seen."""
    if not task.cancelled():
        task.exception()
