"""Both. The queue before the channel layer: bounded, joined by group, in order. Pure; its owner locks.

A group is sent one batch at a time, so the events of one group keep the order they came in; and what comes in
meanwhile waits and leaves together.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from tasks_celery.channels.events import Envelope


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What goes to one group in one message."""

    group: str
    envelopes: tuple[Envelope, ...]


class Outbox:
    """Takes at most `limit` events, and gives them back in batches of at most `batch`."""

    def __init__(self, *, limit: int, batch: int) -> None:
        self.depth = 0
        self._limit = limit
        self._batch = batch
        self._waiting: dict[str, deque[Envelope]] = {}
        self._ready: deque[str] = deque()
        self._sending: set[str] = set()

    def put(self, group: str, envelope: Envelope) -> bool:
        """Take an event; return False, and leave it, where the outbox is full."""
        if self.depth >= self._limit:
            return False
        if group not in self._waiting:
            self._waiting[group] = deque()
            if group not in self._sending:
                self._ready.append(group)
        self._waiting[group].append(envelope)
        self.depth += 1
        return True

    def take(self) -> Batch | None:
        """Return the next batch; None where nothing waits but for groups that are being sent."""
        if not self._ready:
            return None
        group = self._ready.popleft()
        waiting = self._waiting[group]
        envelopes = tuple(waiting.popleft() for _ in range(min(self._batch, len(waiting))))
        if not waiting:
            del self._waiting[group]
        self._sending.add(group)
        self.depth -= len(envelopes)
        return Batch(group=group, envelopes=envelopes)

    def done(self, batch: Batch) -> None:
        """Let the next batch of this group leave."""
        self._sending.discard(batch.group)
        if batch.group in self._waiting:
            self._ready.append(batch.group)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is being sent."""
        return not self.depth and not self._sending
