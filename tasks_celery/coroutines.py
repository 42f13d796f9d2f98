"""Worker process. Runs the coroutine of an async task, and ends it where the task is ended.

A soft time limit, a revoke on a green pool: they raise in the thread of the task. The coroutine is in another, where
asgiref runs its loop, and would go on after its task has failed.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from threading import Event
from typing import Any

from asgiref.sync import async_to_sync, iscoroutinefunction

from tasks_celery.compat import AnyTask

logger = logging.getLogger("tasks_celery")

#: How many seconds a coroutine has to end when it is cancelled. It may refuse, or not come to it: what it awaits from
#: the thread of the task (`sync_to_async`) is not served any more.
END_WITHIN = 5.0


def call(task: AnyTask, /, *args: Any, **kwargs: Any) -> Any:
    """Call the function of a task as Django's `Task.call` does; what is raised meanwhile ends a coroutine first."""
    if not iscoroutinefunction(task.func):
        return task.call(*args, **kwargs)
    running = _Coroutine(task)
    try:
        return async_to_sync(running.run)(*args, **kwargs)
    except BaseException:
        running.end()
        raise


class _Coroutine:
    """One run of an async function: `run` belongs to the loop, `end` to the thread that waits for it."""

    def __init__(self, task: AnyTask) -> None:
        self._task = task
        self._loop: asyncio.AbstractEventLoop | None = None
        self._current: asyncio.Task[Any] | None = None
        self._unwanted, self._ended = Event(), Event()

    async def run(self, /, *args: Any, **kwargs: Any) -> Any:
        self._current, self._loop = asyncio.current_task(), asyncio.get_running_loop()
        try:
            # Looked at after the loop is known, set before it is asked for: one of the two sees the other.
            if not self._unwanted.is_set():
                return await self._task.func(*args, **kwargs)
        finally:
            self._ended.set()

    def end(self) -> None:
        """Cancel the coroutine and wait for its end; do nothing where it has ended by itself or never began."""
        self._unwanted.set()
        if self._loop is None or self._current is None or self._ended.is_set():
            return
        # Twice, for what cleans up may wait for the thread of the task, which will not serve it: in vain, and for ever.
        if not any(self._cancel(self._loop, self._current) for _ in range(2)):
            logger.error("The coroutine of %s was cancelled and runs on all the same", self._task.module_path)

    def _cancel(self, loop: asyncio.AbstractEventLoop, current: asyncio.Task[Any]) -> bool:
        with suppress(RuntimeError):  # it has ended just now, and its loop is closed
            loop.call_soon_threadsafe(current.cancel)
        return self._ended.wait(END_WITHIN)
