"""Both. Records as rows of the project's database: a row for each task, changed by compare-and-set.

A change reads the row, decides by the pure functions of `stores.base`, and updates it if its version is still the same;
if not, it looks again. No lock outlives a statement. Inside a transaction of the caller's, what is written is part of
it: a task that is enqueued there has its row when the transaction commits. On PostgreSQL a worker that is
faster than the commit waits for it; on SQLite it waits as for any lock.

Connections are Django's, one for each thread: Celery's Django fixup closes them around each task and in a new child
of the pool, and a thread that asks a store on its own account closes its own when it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar
from uuid import uuid4

from django.db import IntegrityError, connections, transaction
from django.db.models import Count, DateTimeField, Exists, F, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Coalesce

from tasks_celery.database import leasing, tidying
from tasks_celery.database.door import through_the_door
from tasks_celery.database.models import TaskRecord
from tasks_celery.database.rows import columns_of, digest_of, may_be_id, record_of, to_column
from tasks_celery.exceptions import StoreError
from tasks_celery.stores.base import (
    FINISHED,
    Attempt,
    Outcome,
    Record,
    cancelled,
    claimed,
    counts,
    keeps_out,
    may_claim,
    sent_again,
    settled,
    with_error,
)

# Each look that comes too late is a change that somebody else made, and a task sees only a few in its life.
LOOKS = 20

# Rows that one statement writes, or asks for by id.
BATCH = 500

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
    def create(self, record: Record, *, lifetime: float | None) -> str | None:
        return self._create(record, lifetime)

    @through_the_door
    def create_many(self, records: Sequence[Record], *, lifetimes: Sequence[float | None]) -> list[str | None]:
        pairs = list(zip(records, lifetimes, strict=True))
        plain = [(record, lifetime) for record, lifetime in pairs if not record.unique]
        at_once = self._insert(*(_new_columns(record, lifetime) for record, lifetime in plain))
        return [None if at_once and not record.unique else self._create(record, lifetime) for record, lifetime in pairs]

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

    @through_the_door
    def holder(self, unique: str) -> str | None:
        row = self._rows().filter(unique_digest=digest_of(unique)).first()
        return row.pk if row is not None and _has_key(row) else None

    @through_the_door
    def enqueued(self, result_ids: Sequence[str], *, at: datetime) -> list[str]:
        news: list[str] = []
        for ids in _batches([each for each in result_ids if may_be_id(each)]):
            count = (
                self._held()
                .filter(pk__in=ids, enqueued_at__isnull=True)
                .update(enqueued_at=to_column(at), version=F("version") + 1)
            )
            # Of rows that several note at once, the time tells whose they are.
            noted = self._rows().filter(pk__in=ids, enqueued_at=to_column(at)).values_list("pk", flat=True)
            news += ids if count == len(ids) else noted if count else []
        return news

    @through_the_door
    def cancel(self, result_id: str, outcome: Outcome) -> Record | None:
        def decide(found: Found) -> Decision[Record | None]:
            if found.record is None or found.token == outcome.token:
                return Decision(found.record)
            ended = cancelled(found.record, outcome)
            if ended is None:
                return Decision(None)
            token = outcome.token if ended.status in FINISHED else found.token
            return Decision(ended, Change(ended, token, renews=False))

        return self._change(result_id, decide, lifetime=None)

    # What the mover asks.

    @through_the_door
    def next_due(self) -> datetime | None:
        return self._held().filter(due__isnull=False).order_by("due").values_list("due", flat=True).first()

    @through_the_door
    def take_due(self, *, before: datetime, until: datetime, limit: int) -> list[Record]:
        due = self._held().filter(due__lte=to_column(before)).order_by("due")
        if connections[self.alias].features.has_select_for_update_skip_locked:
            taken = self._take_locked(due, until, limit)
        else:
            taken = self._take_marked(due, until, limit)
        return [replace(record_of(row), due=to_column(until)) for row in taken]

    def _take_locked(self, due: QuerySet[TaskRecord], until: datetime, limit: int) -> list[TaskRecord]:
        with transaction.atomic(using=self.alias):
            rows = list(due.select_for_update(skip_locked=True)[:limit])
            for ids in _batches([row.pk for row in rows]):
                self._rows().filter(pk__in=ids).update(due=to_column(until), version=F("version") + 1)
        return rows

    def _take_marked(self, due: QuerySet[TaskRecord], until: datetime, limit: int) -> list[TaskRecord]:
        """Take rows by compare-and-set: what another took meanwhile is not due any more. The token says whose they are."""
        rows, mine = list(due[:limit]), uuid4().hex
        taken: set[str] = set()
        for ids in _batches([row.pk for row in rows]):
            free = due.order_by().filter(pk__in=ids)
            free.update(due=to_column(until), token=mine, version=F("version") + 1)
            taken |= set(self._rows().filter(pk__in=ids, token=mine).values_list("pk", flat=True))
        return [row for row in rows if row.pk in taken]

    @through_the_door
    def sent(self, result_ids: Sequence[str], *, at: datetime) -> None:
        first = Coalesce("enqueued_at", Value(to_column(at), output_field=DateTimeField()))
        for ids in _batches([each for each in result_ids if may_be_id(each)]):
            rows = self._held().filter(pk__in=ids)
            rows.update(held=False, due=to_column(at), enqueued_at=first, version=F("version") + 1)

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

    def _create(self, record: Record, lifetime: float | None) -> str | None:
        for _ in range(LOOKS):
            # Looked for beforehand: that a task has its like is no error for PostgreSQL to log.
            holder = self._other_holder(record) if record.unique else None
            if holder is None and self._insert(_new_columns(record, lifetime)):
                return None
            found = self._look(record.id)
            if found.record is not None:
                return None
            if holder is not None:
                return holder
            if found.row is not None and self._write(
                found, Change(record, token=""), lifetime, digest_of(record.unique)
            ):
                return None
        raise _too_late(record.id)

    def _other_holder(self, record: Record) -> str | None:
        """Return the id of the other task that keeps this one out; a key that is over is freed."""
        row = self._rows().filter(unique_digest=digest_of(record.unique)).exclude(pk=record.id).first()
        if row is None:
            return None
        if keeps_out(record_of(row), now=datetime.now(UTC)) and (row.unique_until == "time" or not _is_over(row)):
            return row.id
        freed = {"unique_digest": None, "version": row.version + 1}
        self._rows().filter(pk=row.pk, version=row.version).update(**freed)
        return None

    def _change(self, result_id: str, decide: Callable[[Found], Decision[T]], *, lifetime: float | None) -> T:
        for _ in range(LOOKS):
            found = self._look(result_id)
            decision = decide(found)
            if decision.change is None or self._write(found, decision.change, lifetime):
                return decision.answer
        raise _too_late(result_id)

    def _look(self, result_id: str) -> Found:
        row = self._rows().filter(pk=result_id).first() if may_be_id(result_id) else None
        if row is None or _is_over(row):
            return Found(row=row)
        return Found(row=row, record=record_of(row), token=row.token)

    def _write(self, found: Found, change: Change, lifetime: float | None, digest: str | None = None) -> bool:
        """Write a change of what was found; the row keeps its unique key for as long as that keeps others out."""
        columns = columns_of(change.record) | {"token": change.token, "unique_digest": digest}
        if change.renews or found.record is None:
            columns["keep_until"] = _over_at(lifetime)
        if found.row is None:
            return self._insert(columns)
        if found.record is not None:
            if keeps_out(change.record, now=datetime.now(UTC)):
                columns["unique_digest"] = found.row.unique_digest
            columns = {name: value for name, value in columns.items() if getattr(found.row, name) != value}
        version = found.row.version
        rows = self._rows().filter(pk=found.row.pk, version=version)
        try:
            with self._unbroken() if digest else nullcontext():
                return bool(rows.update(**columns, version=version + 1))
        except IntegrityError:
            return False  # another has taken the unique key meanwhile

    def _insert(self, *columns: Mapping[str, Any]) -> bool:
        """Insert new rows, all or none of them; False where one of them is there already, by its id or its unique key."""
        for each in columns:
            if not may_be_id(each["id"]):
                raise StoreError(
                    f"The task id {ascii(each['id'])[:80]} cannot be kept in a database: it may have 255 characters, "
                    "and among them neither a NUL nor half a surrogate pair."
                )
        try:
            with self._unbroken():
                # Not save(): no receiver of anybody's may come between the row and its message.
                self._rows().bulk_create([TaskRecord(**each) for each in columns], batch_size=BATCH)
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
        return self._live().filter(status="READY", due__lt=to_column(before)).exclude(held=True, worker_ids=[])

    def _held(self) -> QuerySet[TaskRecord]:
        # No worker has begun them: one of the first release leaves `held` as it is.
        return self._live().filter(status="READY", held=True, worker_ids=[])


def _new_columns(record: Record, lifetime: float | None) -> dict[str, Any]:
    return columns_of(record) | {"keep_until": _over_at(lifetime), "unique_digest": digest_of(record.unique)}


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + BATCH] for start in range(0, len(ids), BATCH))


def _is_over(row: TaskRecord) -> bool:
    return row.keep_until is not None and row.keep_until <= _now()


def _has_key(row: TaskRecord) -> bool:
    return keeps_out(record_of(row), now=datetime.now(UTC)) and (row.unique_until == "time" or not _is_over(row))


def _too_late(result_id: str) -> StoreError:
    return StoreError(
        f"The record of task id={result_id} was changed by others {LOOKS} times while it was to be changed here. "
        "Inside a transaction of an isolation stricter than READ COMMITTED this cannot end well: leave it first."
    )


def _now() -> datetime:
    return to_column(datetime.now(UTC))


def _over_at(lifetime: float | None) -> datetime | None:
    return None if lifetime is None else to_column(datetime.now(UTC) + timedelta(seconds=lifetime))
