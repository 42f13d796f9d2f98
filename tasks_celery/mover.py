"""Worker's main process, beat, or ``manage.py sweep_tasks``. Sends the tasks whose time has come.

A task with a `run_after` is a record and no message: a broker that holds messages back runs them twice (Redis, after its
visibility timeout) or ends the worker that holds them (RabbitMQ, after its consumer timeout). Here many may look
at once, for a task that is taken is nobody else's for a while. Who is killed before it has sent what it took
delays that; who is killed before it has said so has it sent twice, and the claim makes it run once.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from tasks_celery import publish
from tasks_celery.aliases import by_backend
from tasks_celery.moments import to_aware
from tasks_celery.publish import committed
from tasks_celery.stores import Record, Store
from tasks_celery.twin import TwinBackend

#: How many tasks are taken, and sent, at a time.
BATCH = 500

#: For how many seconds a task that was taken is nobody else's, at least; then it counts as unsent.
RETAKEN = 5.0

#: The shortest pause between two looks.
LEAST = 0.02

#: Stores round moments to the millisecond, and nothing is to be sent early.
ROUNDED = timedelta(milliseconds=1)


class Mover:
    """Sends what is due of one store. It raises StoreError where the store does not answer.

    `backend` is an alias that keeps its records there: its MOVE_EVERY counts.
    """

    def __init__(self, backend: TwinBackend, store: Store) -> None:
        self._backend = backend
        self._store = store

    def look_when_due(self, *, every: float) -> float:
        """Look if a task is due, and return how many seconds to wait: until the next is, and no longer than `every`."""
        due, now = to_aware(self._store.next_due()), datetime.now(UTC) - ROUNDED
        wait = every if due is None else (due - now).total_seconds()
        if wait > 0:
            return _apart(max(LEAST, min(wait, every)))
        return LEAST if self.look(now) else _apart(every)

    def look(self, now: datetime) -> int:
        """Send what is due by `now`, and return how many tasks the broker took.

        What it did not take comes again some seconds later.
        """
        moved, is_more = 0, True
        while is_more:
            taken = _in_turn(self._store.take_due(before=now, until=self._until(), limit=BATCH), now)
            sent = sum(self._send(*theirs) for theirs in by_backend(taken, otherwise=self._backend))
            moved += sent
            # Nothing of so many sent: a broker that is away is left alone for now.
            is_more = len(taken) == BATCH and sent > 0
        return moved

    def _until(self) -> datetime:
        # Longer than the broker may take over the messages, which it is given OPTIONS["TIMEOUT"] for.
        return datetime.now(UTC) + timedelta(seconds=max(RETAKEN, self._backend.settings.timeout))

    def _send(self, backend: TwinBackend, records: list[Record]) -> int:
        sent = publish.send_kept(backend, committed.adopted(backend, self._store, records))
        if sent:
            self._store.sent([record.id for record in sent], at=datetime.now(UTC))
        return len(sent)


def _in_turn(records: list[Record], now: datetime) -> list[Record]:
    """Return what is late at the end, and in any order: one that the broker never takes must not hold up the others."""

    def turn(record: Record) -> float:
        due = to_aware(record.run_after)
        is_on_time = due is not None and due >= now - timedelta(seconds=RETAKEN)
        return -1 if is_on_time else random.random()  # noqa: S311

    return sorted(records, key=turn)


def _apart(seconds: float) -> float:
    """Return a little more, so that many processes do not ask in step."""
    return seconds * random.uniform(1, 1.1)  # noqa: S311
