"""Both. No log: events are pushed, and who is away misses them. For projects that have no place for one."""

from __future__ import annotations

from collections.abc import Sequence

from tasks_celery.channels.log.base import Cursor, Entry, EventLogError, Position, Slice


class NoLog:
    """Keeps nothing."""

    def append(self, entries: Sequence[Entry], *, again: bool = False) -> list[Position | EventLogError | None]:
        return [None] * len(entries)

    def read(self, cursors: Sequence[Cursor]) -> list[Slice]:
        return [Slice(None) for _ in cursors]

    def tops(self, streams: Sequence[str]) -> list[Position | None]:
        return [None] * len(streams)

    def tidy(self) -> None:
        pass
