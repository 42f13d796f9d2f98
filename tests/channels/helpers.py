"""Test process. Task results made by hand, a channel layer that remembers, and waiting until something is so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tasks_celery.channels.events import Envelope
from tasks_celery.compat import Task, TaskResult, TaskResultStatus

DEADLINE = 10.0
NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def until(is_so: Callable[[], bool], *, what: str = "") -> None:
    """Wait until `is_so`; fail when it is not within the deadline."""
    deadline = time.monotonic() + DEADLINE
    while not is_so():
        assert time.monotonic() < deadline, f"Not so within {DEADLINE} s: {what or is_so}"
        time.sleep(0.002)


def result_of(task: Task[Any, Any], *, failed: bool = False, **facts: Any) -> TaskResult[Any, Any]:
    """Return a finished result of `task`, with other `facts` if given."""
    known = {
        "task": task,
        "id": "0b1c",
        "status": TaskResultStatus.FAILED if failed else TaskResultStatus.SUCCESSFUL,
        "enqueued_at": NOON,
        "started_at": NOON.replace(second=1),
        "finished_at": NOON.replace(second=2),
        "last_attempted_at": NOON.replace(second=1),
        "args": [],
        "kwargs": {},
        "backend": "default",
        "errors": [],
        "worker_ids": ["worker"],
    }
    return TaskResult(**known | facts)


def event(number: object = 1, name: str = "report.ready") -> Envelope:
    """Return an event that is told apart by `number`."""
    return Envelope(event=name, data={"id": str(number), "payload": None})


class FakeLayer:
    """Remembers what was sent to which group; fails, waits or both, if told to."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.attempts = 0
        self.most_at_once = 0
        self.is_open = True
        self._at_once = 0

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        self.attempts += 1
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            while not self.is_open:  # noqa: ASYNC110 - opened by another thread
                await asyncio.sleep(0.002)
            if self.errors:
                raise self.errors.pop(0)
            self.sent.append((group, message))
        finally:
            self._at_once -= 1

    def envelopes(self, group: str | None = None) -> list[dict[str, Any]]:
        """Return all envelopes that were sent, in order."""
        return [each for to, message in self.sent for each in message["envelopes"] if group in (None, to)]
