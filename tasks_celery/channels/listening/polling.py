"""Web process. In place of a channel layer: the log itself, looked at every second or two, and at once where PostgreSQL says so."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable

from tasks_celery.channels.listening.listen import Listener, find_listener


class Polling:
    """Has `look` look at the log for all streams every `every` seconds, and `hint` told a stream that has something new."""

    def __init__(
        self, every: float, *, look: Callable[[], Awaitable[None]], hint: Callable[[str | None], None]
    ) -> None:
        self._every, self._look, self._hint = every, look, hint
        self._task: asyncio.Task[None] | None = None
        self._listener: Listener | None = None

    async def start(self) -> None:
        """Begin to look."""
        self._listener = find_listener(self._hint)
        self._task = asyncio.create_task(self._poll(), name="tasks_celery.channels.listening.polling")

    async def stop(self) -> None:
        """Look no more."""
        if self._listener:
            self._listener.stop()
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def settle(self, stream: str) -> None:
        """Nothing is to be joined."""

    async def renew(self, streams: Iterable[str]) -> None:
        """Nor joined again."""

    async def _poll(self) -> None:
        while True:
            # Not all web processes at the same moment.
            await asyncio.sleep(self._every * random.uniform(2 / 3, 4 / 3))  # noqa: S311
            await self._look()
