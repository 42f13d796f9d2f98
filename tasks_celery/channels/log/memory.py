"""Both. Events in this process, for tests and for what runs in one process altogether."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

from tasks_celery.channels.log.base import READ_AT_ONCE, Cursor, Entry, EventLogError, Position, Slice, slice_of


@dataclass(slots=True)
class _Stream:
    epoch: str = field(default_factory=lambda: uuid4().hex[:12])
    seq: int = 0
    events: deque[tuple[float, str, str]] = field(default_factory=deque)


class MemoryLog:
    """Keeps events in a dict. `now` tells the seconds by which they age."""

    def __init__(self, *, keep: int, keep_for: float, now: Callable[[], float] = time.monotonic) -> None:
        self._keep, self._keep_for, self._now = keep, keep_for, now
        self._streams: dict[str, _Stream] = {}
        self._lock = threading.Lock()

    def append(self, entries: Sequence[Entry], *, again: bool = False) -> list[Position | EventLogError | None]:
        with self._lock:
            return [self._append(entry, again) for entry in entries]

    def _append(self, entry: Entry, again: bool) -> Position:
        stream = self._streams.setdefault(entry.stream, _Stream())
        if again:
            for back, (_, key, _) in enumerate(reversed(stream.events)):
                if key == entry.key:
                    return Position(stream.epoch, stream.seq - back)
        stream.seq += 1
        stream.events.append((self._now(), entry.key, entry.body))
        self._age(stream)
        return Position(stream.epoch, stream.seq)

    def read(self, cursors: Sequence[Cursor]) -> list[Slice]:
        with self._lock:
            return [self._read(cursor) for cursor in cursors]

    def _read(self, cursor: Cursor) -> Slice:
        stream = self._streams.setdefault(cursor.stream, _Stream())
        self._age(stream)
        top, oldest = Position(stream.epoch, stream.seq), stream.seq - len(stream.events) + 1
        if answer := slice_of(top, oldest, cursor.since):
            return answer
        first = cursor.since.seq + 1 - oldest if cursor.since else 0
        bodies = [body for _, _, body in list(stream.events)[first : first + READ_AT_ONCE]]
        return Slice(top, tuple(bodies))

    def tops(self, streams: Sequence[str]) -> list[Position | None]:
        with self._lock:
            found = [self._streams.get(name) for name in streams]
        return [Position(stream.epoch, stream.seq) if stream else None for stream in found]

    def tidy(self) -> None:
        with self._lock:
            for stream in self._streams.values():
                self._age(stream)

    def _age(self, stream: _Stream) -> None:
        oldest = self._now() - self._keep_for
        while len(stream.events) > self._keep or (stream.events and stream.events[0][0] < oldest):
            stream.events.popleft()
