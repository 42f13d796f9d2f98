"""Web process. What is looked at again and again for every listener: the log's position, and whether they still may listen.

A listener is due every half minute or so, at a moment of their own; those who are due at about the same one are asked about
together. Whoever just joined is due after a second, as a layer need not have confirmed that it is joined.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from tasks_celery.channels.access import NO_LONGER_ALLOWED
from tasks_celery.channels.listening.logreader import LogReader
from tasks_celery.channels.listening.reception import LayerError
from tasks_celery.channels.log import EventLogError

if TYPE_CHECKING:
    from tasks_celery.channels.listening.subscription import Subscription

logger = logging.getLogger("tasks_celery.channels")

#: Seconds; those who are due within the same tick are asked about together.
TICK: Final = 0.25
#: Seconds after which one who joined is due first.
FIRST_DUE: Final = (1.0, 2.0)
#: Seconds between two looks at streams whose position is doubted.
DOUBT_EVERY = 1.0
#: Seconds after which the log is tidied up, by one look of each process.
TIDY_EVERY = 600.0

Listeners = Mapping[str, Collection["Subscription"]]


class Rounds:
    """Looks at the subscriptions in `listeners`, each every `check_every` seconds, give or take a third."""

    def __init__(
        self,
        reader: LogReader,
        listeners: Listeners,
        renew: Callable[[Iterable[str]], Awaitable[None]],
        *,
        check_every: float,
    ) -> None:
        self._reader, self._listeners, self._renew, self._check_every = reader, listeners, renew, check_every
        self._loop = asyncio.get_running_loop()
        self._due: dict[int, set[Subscription]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._doubted: set[str] = set()
        self._doubts: asyncio.TimerHandle | None = None
        self._last_doubt = -DOUBT_EVERY
        self._tidied = time.monotonic()
        self._unasked: set[Subscription] = set()
        self._is_asking = False
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, subscription: Subscription) -> None:
        """Look at the subscription from now on."""
        self._put(subscription, random.uniform(*FIRST_DUE))  # noqa: S311

    def discard(self, subscription: Subscription) -> None:
        """Look at it no more."""
        some = self._due.get(subscription.due)
        if some is not None:
            some.discard(subscription)
        self._unasked.discard(subscription)

    def doubt(self, streams: Iterable[str]) -> None:
        """Look at the log's positions of these streams, at once where the last such look was a second ago."""
        self._doubted.update(streams)
        if self._doubts is None and self._doubted:
            at = max(self._loop.time(), self._last_doubt + DOUBT_EVERY)
            self._doubts = self._loop.call_at(at, self._look_at_doubted)

    async def look(self, streams: Iterable[str]) -> None:
        """Ask for the log's positions of these streams, and tell their subscriptions."""
        known = [(each, each.feed.last) for name in streams for each in self._listeners.get(name, ())]
        if not known:
            return
        try:
            tops = await self._reader.tops(list({each.stream for each, _ in known}))
        except EventLogError:  # the reader has said so; once the log answers again, all are looked at
            return
        for subscription, asked in known:
            subscription.told_top(tops[subscription.stream], asked=asked)

    async def stop(self) -> None:
        """Look no more at all."""
        for timer in (self._timer, self._doubts):
            if timer:
                timer.cancel()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _put(self, subscription: Subscription, seconds: float) -> None:
        if (until := subscription.access.until) is not None:
            # A token that ends is looked at as it does.
            seconds = min(seconds, max(0.0, until - time.time()) + TICK)
        subscription.due = tick = int((self._loop.time() + seconds) / TICK) + 1
        self._due.setdefault(tick, set()).add(subscription)
        if self._timer is None or tick * TICK < self._timer.when():
            self._wait_for(tick)

    def _wait_for(self, tick: int) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.call_at(tick * TICK, self._look_at_due)

    def _look_at_due(self) -> None:
        now, self._timer = self._loop.time() / TICK, None
        due = [each for tick in sorted(self._due) if tick <= now for each in self._due.pop(tick)]
        if due:
            self._run(self._check(due))
        if self._due:
            self._wait_for(min(self._due))

    def _look_at_doubted(self) -> None:
        streams, self._doubted = self._doubted, set()
        self._doubts, self._last_doubt = None, self._loop.time()
        self._run(self.look(streams))

    def _run(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _check(self, due: list[Subscription]) -> None:
        # By itself, and one at a time: where the database of the users hangs, the log need not.
        self._unasked.update(due)
        if not self._is_asking:
            self._run(self._end_refused())
        try:
            streams = {each.stream for each in due}
            await asyncio.gather(self.look(streams), self._rejoin(streams), self._tidy())
        finally:
            for each in due:
                if each in self._listeners.get(each.stream, ()):
                    self._put(each, self._check_every * random.uniform(2 / 3, 4 / 3))  # noqa: S311

    async def _end_refused(self) -> None:
        self._is_asking = True
        while self._unasked:
            asked, self._unasked = list(self._unasked), set()
            try:
                holds = await self._reader.allowed([each.access for each in asked])
            except Exception:  # the project's user model, sessions or database
                logger.exception("Whether %s listeners may still listen cannot be asked; they stay", len(asked))
                continue
            for subscription, may_stay in zip(asked, holds, strict=True):
                if not may_stay:
                    subscription.end(NO_LONGER_ALLOWED)
        self._is_asking = False

    async def _rejoin(self, streams: set[str]) -> None:
        try:
            await self._renew(streams)
        except LayerError as error:
            logger.debug("Groups could not be joined again, and are with the next check: %s", error)

    async def _tidy(self) -> None:
        if time.monotonic() - self._tidied < TIDY_EVERY:
            return
        self._tidied = time.monotonic()
        try:
            await self._reader.tidy()
        except EventLogError:  # the reader has said so
            logger.debug("The log is tidied up later")
