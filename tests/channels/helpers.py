"""Test process. Task results made by hand, a layer that remembers, a log that goes away, and waiting until it is so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from tasks_celery.channels.events import Envelope, Heard, event_text
from tasks_celery.channels.log import Entry, EventLogError, Position
from tasks_celery.channels.log.memory import MemoryLog
from tasks_celery.channels.push.outbox import Push
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


def push(number: object = 1) -> Push:
    """Return an event, not in any log, on its way to a group."""
    return Push(str(number), Heard(None, event_text(event(number).body, None)))


def entry(number: object = 1, stream: str = "stream") -> Entry:
    """Return an event on its way to a log."""
    return Entry(stream, str(number), event(number).body)


class UnsteadyLog(MemoryLog):
    """Takes nothing while it is away, nothing ever of the keys that it refuses, and notes each call."""

    def __init__(self) -> None:
        super().__init__(keep=1_000_000, keep_for=3600)
        self.is_away = False
        self.refused: set[str] = set()
        self.waits = 0.0
        self.calls: list[tuple[int, bool]] = []

    def append(self, entries: Sequence[Entry], *, again: bool = False) -> list[Position | EventLogError | None]:
        self.calls.append((len(entries), again))
        time.sleep(self.waits)
        return [
            EventLogError("It is away.") if self.is_away or each.key in self.refused else self._kept(each, again)
            for each in entries
        ]

    def _kept(self, entry: Entry, again: bool) -> Position | EventLogError | None:
        (answer,) = super().append([entry], again=again)
        return answer

    def keys_of(self, stream: str = "stream") -> list[str]:
        """Return the keys of what is in a stream, in order."""
        return [key for _, key, _ in self._streams[stream].events] if stream in self._streams else []


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
