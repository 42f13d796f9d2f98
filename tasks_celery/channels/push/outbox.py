"""Both. The queue before the channel layer: bounded, joined by group, in order. Pure; its owner locks.

A group is sent one batch at a time, so what goes to one group keeps the order it came in; and what comes in
meanwhile waits, and events among it leave together.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from tasks_celery.channels.events import Heard, Json, group_message


class Push(NamedTuple):
    """What goes to a group: an event, or a message as it is. `about` is the id of the task, for the logs."""

    about: str
    content: Heard | Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What goes to one group in one message."""

    group: str
    pushes: tuple[Push, ...]

    @property
    def message(self) -> Json:
        """The Channels message that carries it."""
        heard: list[Heard] = []
        for _, content in self.pushes:
            if not isinstance(content, Heard):
                return content  # alone in its batch
            heard.append(content)
        return group_message(self.group, heard)


class Outbox:
    """Takes at most `limit` pushes, and gives them back in batches of at most `batch` events or one message."""

    def __init__(self, *, limit: int, batch: int) -> None:
        self.depth = 0
        self._limit = limit
        self._batch = batch
        self._waiting: dict[str, deque[Push]] = {}
        self._ready: deque[str] = deque()
        self._sending: set[str] = set()

    def put(self, group: str, push: Push) -> bool:
        """Take a push; return False, and leave it, where the outbox is full."""
        if self.depth >= self._limit:
            return False
        if group not in self._waiting:
            self._waiting[group] = deque()
            if group not in self._sending:
                self._ready.append(group)
        self._waiting[group].append(push)
        self.depth += 1
        return True

    def take(self) -> Batch | None:
        """Return the next batch; None where nothing waits but for groups that are being sent."""
        if not self._ready:
            return None
        group = self._ready.popleft()
        waiting = self._waiting[group]
        pushes = tuple(waiting.popleft() for _ in range(self._joined(waiting)))
        if not waiting:
            del self._waiting[group]
        self._sending.add(group)
        self.depth -= len(pushes)
        return Batch(group=group, pushes=pushes)

    def _joined(self, waiting: deque[Push]) -> int:
        """Return how many leave together: events up to the first message, or that message alone."""
        count = 0
        for push in waiting:
            if count == self._batch or not isinstance(push.content, Heard):
                break
            count += 1
        return count or 1

    def done(self, batch: Batch) -> None:
        """Let the next batch of this group leave."""
        self._sending.discard(batch.group)
        if batch.group in self._waiting:
            self._ready.append(batch.group)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is being sent."""
        return not self.depth and not self._sending
