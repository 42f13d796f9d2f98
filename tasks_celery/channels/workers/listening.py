"""The process of ``manage.py channels_to_tasks``. Takes events off a channel layer, and makes each a task.

An event is in no other place while it is in hand: it is tried again until the broker takes it, and given back to
the layer by a process that has to end before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from channels.db import database_sync_to_async

from tasks_celery.channels.workers.sending import keep, new_id

logger = logging.getLogger("tasks_celery")

#: Seconds before the second try, and before each of the later ones at most.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0


class Listener:
    """Listens on channels until it is stopped. `kept` and `lost` count events."""

    def __init__(self, layer: Any, *, keep: Callable[..., Any] = keep, first_pause: float = FIRST_PAUSE) -> None:
        self._layer = layer
        self._keep = database_sync_to_async(keep)
        self._first_pause = first_pause
        self._stopping = asyncio.Event()
        self.kept = self.lost = 0

    def stop(self) -> None:
        """Let the events in hand be the last."""
        self._stopping.set()

    async def listen(self, channels: Sequence[str]) -> None:
        """Make a task of each event that comes on the channels, in order on each; return once stopped."""
        await asyncio.gather(*(self._listen(channel) for channel in channels))
        # A core layer forgets in the background what it has given out, and would give it out again if it were ended before.
        if hasattr(self._layer, "wait_received"):
            await self._layer.wait_received()

    async def _listen(self, channel: str) -> None:
        pauses = self._pauses()
        while not self._stopping.is_set():
            try:
                events = await self._next(channel)
            except Exception as error:  # noqa: BLE001 - the layer's client, which raises what it likes
                if not self._stopping.is_set():
                    await self._wait(
                        next(pauses), "The channel layer did not give the events of %r: %r.", channel, error
                    )
                continue
            pauses = self._pauses()
            for message in events:
                await self._make_durable(channel, message)

    async def _next(self, channel: str) -> list[Any]:
        """Return the next event; nothing once stopped."""
        receiving = asyncio.ensure_future(self._layer.receive(channel))
        stopped = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({receiving, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            receiving.cancel()
        # What it had in hand when it was cancelled, it may yet give.
        await asyncio.wait({receiving})
        return [] if receiving.cancelled() else [receiving.result()]

    async def _make_durable(self, channel: str, message: Any) -> None:
        result_id = new_id()
        for pause in self._pauses():
            is_last = self._stopping.is_set()
            try:
                await self._keep(channel, message, result_id=result_id)
            except Exception as error:  # noqa: BLE001 - ours, and what settings, stores and brokers raise beside
                if is_last:
                    return await self._give_back(channel, message, error)
                await self._wait(pause, "An event of the channel %r has not become a task yet: %r.", channel, error)
            else:
                self.kept += 1
                return None
        raise AssertionError("There is always another pause.")

    async def _give_back(self, channel: str, message: Any, error: Exception) -> None:
        try:
            await self._layer.send(channel, message)
        except Exception:
            self.lost += 1
            logger.exception(
                "An event of the channel %r is lost: no task can be made (%r), and the layer does not take it back",
                channel,
                error,
            )
        else:
            logger.warning(
                "An event of the channel %r was given back to the layer: no task could be made (%r)", channel, error
            )

    def _pauses(self) -> Iterator[float]:
        pause = self._first_pause
        while True:
            yield pause
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _wait(self, seconds: float, what: str, channel: str, error: Exception) -> None:
        logger.warning(what + " It is tried again in %g s.", channel, error, seconds)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
