"""Both. Records as rows of the project's database: a row for each task, changed by compare-and-set.

A change reads the row, decides by the pure functions of `stores.base`, and updates it if its version is still the same;
if not, it looks again. No lock outlives a statement. Inside a transaction of the caller's, what is written is part of
it: a task that is enqueued there has its row when the transaction commits. On PostgreSQL a worker that is
faster than the commit waits for it; on SQLite it waits as for any lock.

Connections are Django's, one for each thread: Celery's Django fixup closes them around each task and in a new child
of the pool, and a thread that asks a store on its own account closes its own when it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from django.db import IntegrityError, connections, transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from tasks_celery.database import leasing, tidying
from tasks_celery.database.door import through_the_door
from tasks_celery.database.models import TaskRecord
from tasks_celery.database.rows import columns_of, may_be_id, record_of, to_column
from tasks_celery.exceptions import StoreError
from tasks_celery.stores.base import (
    FINISHED,
    Attempt,
    Outcome,
    Record,
    claimed,
    counts,
    may_claim,
    sent_again,
    settled,
    with_error,
)

# Each look that comes too late is a change that somebody else made, and a task sees only a few in its life.
LOOKS = 20

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a look has found. `row` may be one whose time is over; `record` and `token` are only what still counts."""

    row: TaskRecord | None = None
    record: Record | None = None
    token: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """What to write: a record as it is to be, under the token of who asked for it."""

    record: Record
    token: str
    renews: bool = True


@dataclass(frozen=True, slots=True)
class Decision(Generic[T]):
    """What to answer once the change has been written, if there is one."""

    answer: T
    change: Change | None = None


class DatabaseStore:
    """Keeps records in the database `alias`; `timeout` is how many seconds a locked SQLite is asked again.

    How long a connection may take, or a statement, is for DATABASES to say.
    """

    def __init__(self, alias: str, *, timeout: float) -> None:
        self.alias = alias
        self.timeout = timeout

    @through_the_door
    def create(self, record: Record, *, lifetime: float | None) -> None:
        if not self._insert(columns_of(record) | {"keep_until": _over_at(lifetime)}):
            # There is a row, which may be one whose time is over.
            new = Change(record, token="")
            self._change(record.id, lambda found: Decision(None, None if found.record else new), lifetime=lifetime)

    @through_the_door
    def discard(self, result_id: str) -> None:
        if may_be_id(result_id):
            self._rows().filter(pk=result_id, status="READY", worker_ids=[]).delete()

    @through_the_door
    def claim(self, seed: Record, attempt: Attempt, *, lifetime: float | None) -> Record | None:
        def decide(found: Found) -> Decision[Record | None]:
            record = found.record or seed
            if record.attempt and found.token == attempt.token:
                return Decision(record)
            leased = attempt.redelivered and leasing.held(self.alias).filter(pk=record.lease).exists()
            if not may_claim(record, attempt, leased=leased):
                return Decision(None)
            begun = claimed(record, attempt)
            return Decision(begun, Change(begun, attempt.token))

        return self._change(seed.id, decide, lifetime=lifetime)

    @through_the_door
    def settle(self, seed: Record, outcome: Outcome, *, lifetime: float | None) -> Record | None:
        def decide(found: Found) -> Decision[Record | None]:
            record = found.record or seed
            if found.token == outcome.token:
                return Decision(record)
            if record.status not in FINISHED and counts(record, outcome):
                ended = settled(record, outcome)
                return Decision(ended, Change(ended, outcome.token))
            if outcome.error and outcome.attempt and outcome.attempt < record.attempt:
                late = with_error(record, outcome.error, outcome.attempt)
                return Decision(None, Change(late, found.token, renews=False))
            return Decision(None)

        return self._change(seed.id, decide, lifetime=lifetime)

    @through_the_door
    def get(self, result_id: str) -> Record | None:
        return self._look(result_id).record

    # What the sweeper asks.

    @through_the_door
    def hold(self, lease: str, holder: str, *, seconds: float) -> bool:
        return leasing.hold(self.alias, lease, holder, seconds=seconds)

    @through_the_door
    def release(self, lease: str, holder: str) -> None:
        leasing.release(self.alias, lease, holder)

    @through_the_door
    def waiting(self, *, before: datetime) -> Mapping[str, int]:
        queues = self._overdue(before).order_by().values_list("queue_name")
        return dict(queues.annotate(Count("pk")))

    @through_the_door
    def overdue(self, queue_name: str, *, before: datetime, limit: int) -> list[Record]:
        rows = self._overdue(before).filter(queue_name=queue_name)
        return [record_of(row) for row in rows.order_by("due")[:limit]]

    @through_the_door
    def expired(self, *, before: datetime, limit: int) -> list[Record]:
        rows = self._live().filter(status="READY", expires__lt=to_column(before))
        return [record_of(row) for row in rows.order_by("expires")[:limit]]

    @through_the_door
    def abandoned(self, *, limit: int) -> list[Record]:
        renewed = leasing.held(self.alias).filter(pk=OuterRef("lease"))
        rows = self._live().filter(~Exists(renewed), status="RUNNING").exclude(lease="")
        return [record_of(row) for row in rows[:limit]]

    @through_the_door
    def resend(self, record: Record, *, due: datetime, lifetime: float | None) -> bool:
        def decide(found: Found) -> Decision[bool]:
            known = found.record
            if known is None or known.status != "READY" or known.resent != record.resent:
                return Decision(answer=False)
            return Decision(answer=True, change=Change(sent_again(known, due), found.token))

        return self._change(record.id, decide, lifetime=lifetime)

    @through_the_door
    def tidy(self) -> None:
        """Remove rows whose time is over, as the foreign keys of others have it; those that are protected stay."""
        tidying.remove_records(self.alias, before=_now())
        tidying.remove_leases(self.alias)

    # One row.

    def _change(self, result_id: str, decide: Callable[[Found], Decision[T]], *, lifetime: float | None) -> T:
        for _ in range(LOOKS):
            found = self._look(result_id)
            decision = decide(found)
            if decision.change is None or self._write(found, decision.change, lifetime):
                return decision.answer
        raise StoreError(
            f"The record of task id={result_id} was changed by others {LOOKS} times while it was to be changed here. "
            "Inside a transaction of an isolation stricter than READ COMMITTED this cannot end well: leave it first."
        )

    def _look(self, result_id: str) -> Found:
        row = self._rows().filter(pk=result_id).first() if may_be_id(result_id) else None
        if row is None or (row.keep_until is not None and row.keep_until <= _now()):
            return Found(row=row)
        return Found(row=row, record=record_of(row), token=row.token)

    def _write(self, found: Found, change: Change, lifetime: float | None) -> bool:
        columns = columns_of(change.record) | {"token": change.token}
        if change.renews or found.record is None:
            columns["keep_until"] = _over_at(lifetime)
        if found.row is None:
            return self._insert(columns)
        if found.record is not None:
            columns = {name: value for name, value in columns.items() if getattr(found.row, name) != value}
        version = found.row.version
        rows = self._rows().filter(pk=found.row.pk, version=version)
        return bool(rows.update(**columns, version=version + 1))

    def _insert(self, columns: Mapping[str, Any]) -> bool:
        if not may_be_id(columns["id"]):
            raise StoreError(
                f"The task id {ascii(columns['id'])[:80]} cannot be kept in a database: it may have 255 characters, "
                "and among them neither a NUL nor half a surrogate pair."
            )
        try:
            with self._unbroken():
                # Not save(): no receiver of anybody's may come between the row and its message.
                self._rows().bulk_create([TaskRecord(**columns)])
        except IntegrityError:
            return False
        return True

    def _unbroken(self) -> AbstractContextManager[None]:
        """Return a savepoint inside a transaction, which a conflict would else end; outside of one it is not worth it."""
        in_transaction = connections[self.alias].in_atomic_block
        return transaction.atomic(using=self.alias) if in_transaction else nullcontext()

    # Many rows.

    def _rows(self) -> QuerySet[TaskRecord]:
        return TaskRecord._default_manager.using(self.alias)

    def _live(self) -> QuerySet[TaskRecord]:
        return self._rows().filter(Q(keep_until__isnull=True) | Q(keep_until__gt=_now()))

    def _overdue(self, before: datetime) -> QuerySet[TaskRecord]:
        return self._live().filter(status="READY", due__lt=to_column(before))


def _now() -> datetime:
    return to_column(datetime.now(UTC))


def _over_at(lifetime: float | None) -> datetime | None:
    return None if lifetime is None else to_column(datetime.now(UTC) + timedelta(seconds=lifetime))
