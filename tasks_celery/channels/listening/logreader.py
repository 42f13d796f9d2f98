"""Web process. Asks the log of events for all listeners of an event loop, in threads of its own.

What is asked for while an answer is under way goes in one question next: a thousand pages that come back at once
cost a few questions, and none of them waits for Django's one synchronous thread.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import close_old_connections, connections

from tasks_celery.channels.access import Access, allowed
from tasks_celery.channels.log import Cursor, EventLogError, Position, Slice, find_log

logger = logging.getLogger("tasks_celery.channels")

T = TypeVar("T")

OWNER = "hub"
THREADS = 2
#: How many streams are read in one question, which may bring a slice of each.
READ_TOGETHER = 50
#: And of how many the last position is asked for.
LOOK_TOGETHER = 1_000


class LogReader:
    """The log of events, for one event loop. `recovered` is called when the log answers again."""

    def __init__(self, recovered: Callable[[], None]) -> None:
        self._recovered = recovered
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="tasks_celery.channels.listening.hub")
        # The users' database may hang, and the log be another one.
        self._door = ThreadPoolExecutor(1, thread_name_prefix="tasks_celery.channels.door")
        self._asked: dict[Cursor, list[asyncio.Future[Slice]]] = {}
        self._reading: set[asyncio.Task[None]] = set()
        self._is_failing = False

    async def read(self, stream: str, since: Position | None) -> Slice:
        """Return what `stream` holds after `since`, as of now or later. Raise EventLogError."""
        answer: asyncio.Future[Slice] = asyncio.get_running_loop().create_future()
        # One question for all who ask the same; each has a future, as who leaves cancels theirs.
        self._asked.setdefault(Cursor(stream, since), []).append(answer)
        if len(self._reading) < THREADS:
            task = asyncio.create_task(self._read_on())
            self._reading.add(task)
            task.add_done_callback(self._reading.discard)
        return await answer

    async def tops(self, streams: Sequence[str]) -> dict[str, Position | None]:
        """Return the last position of each stream. Raise EventLogError."""
        found: dict[str, Position | None] = {}
        for first in range(0, len(streams), LOOK_TOGETHER):
            some = streams[first : first + LOOK_TOGETHER]
            found.update(zip(some, await self._ask(_tops, some), strict=True))
        return found

    async def tidy(self) -> None:
        """Let the log remove what is too old. Raise EventLogError."""
        await self._ask(_tidy)

    async def allowed(self, accesses: Sequence[Access]) -> list[bool]:
        """Return for each access whether it still holds."""
        return await asyncio.get_running_loop().run_in_executor(self._door, allowed, accesses)

    async def close(self) -> None:
        """Stop; what a thread still waits for is given up, and the threads' connections to databases are closed."""
        for task in self._reading:
            task.cancel()
        together = threading.Barrier(THREADS)
        for _ in range(THREADS):
            self._threads.submit(_leave_databases, together)
        self._door.submit(connections.close_all)
        for pool in (self._threads, self._door):
            pool.shutdown(wait=False)
        await asyncio.gather(*self._reading, return_exceptions=True)

    async def _read_on(self) -> None:
        while self._asked:
            cursors = list(self._asked)[:READ_TOGETHER]
            waiting = [self._asked.pop(cursor) for cursor in cursors]
            try:
                slices = await self._ask(_read, cursors)
            except EventLogError as error:
                for answer in (each for some in waiting for each in some if not each.done()):
                    answer.set_exception(error)
            else:
                for some, found in zip(waiting, slices, strict=True):
                    for answer in (each for each in some if not each.done()):
                        answer.set_result(found)

    async def _ask(self, question: Callable[..., T], *about: object) -> T:
        try:
            loop = asyncio.get_running_loop()
            answer: T = await loop.run_in_executor(self._threads, _around, question, *about)
        except Exception as error:
            self._note_failed(error)
            if isinstance(error, EventLogError):
                raise
            raise EventLogError(f"The log of events cannot be read: {type(error).__name__}: {error}") from error
        self._note_answered()
        return answer

    def _note_failed(self, error: Exception) -> None:
        if not self._is_failing:
            self._is_failing = True
            logger.error(
                "The log of events does not answer (%s). The pages stay connected, and it is tried again until it does.",
                error,
                exc_info=None if isinstance(error, EventLogError) else error,
            )

    def _note_answered(self) -> None:
        if self._is_failing:
            self._is_failing = False
            logger.warning("The log of events answers again.")
            self._recovered()


# In the threads.


def _around(question: Callable[..., T], *about: object) -> T:
    # As around a request: a thread of a pool outlives the connection's server.
    close_old_connections()
    try:
        return question(*about)
    finally:
        close_old_connections()


def _read(cursors: Sequence[Cursor]) -> list[Slice]:
    return find_log(owner=OWNER).read(cursors)


def _tops(streams: Sequence[str]) -> list[Position | None]:
    return find_log(owner=OWNER).tops(streams)


def _tidy() -> None:
    find_log(owner=OWNER).tidy()


def _leave_databases(together: threading.Barrier) -> None:
    # The barrier brings each thread one of these.
    try:
        together.wait(5)
    except threading.BrokenBarrierError:
        logger.debug("One of the threads is still busy")
    connections.close_all()
