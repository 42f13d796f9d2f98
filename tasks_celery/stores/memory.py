"""Both. Records in this process, for tests: a worker in another process cannot see them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from threading import Lock
from time import monotonic

from tasks_celery.moments import to_aware
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
    sent,
    sent_again,
    settled,
    with_error,
)


class MemoryStore:
    """Keeps records in a dict under one lock."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._records: dict[str, Record] = {}
        self._deadlines: dict[str, float] = {}
        self._tokens: dict[str, str] = {}
        self._leases: dict[str, tuple[str, float]] = {}
        self._keys: dict[str, Record] = {}

    def create(self, record: Record, *, lifetime: float | None) -> str | None:
        with self._lock:
            if self._live(record.id) is not None:
                return None
            holder = self._holder(record.unique)
            if holder not in (None, record.id):
                return holder
            self._keep(record, lifetime)
            if record.unique:
                self._keys[record.unique] = record
            return None

    def create_many(self, records: Sequence[Record], *, lifetimes: Sequence[float | None]) -> list[str | None]:
        pairs = zip(records, lifetimes, strict=True)
        return [self.create(record, lifetime=lifetime) for record, lifetime in pairs]

    def discard(self, result_id: str) -> None:
        with self._lock:
            record = self._live(result_id)
            if record is not None and record.status == "READY" and not record.attempt:
                self._forget(result_id)
                if self._holder(record.unique) == result_id:
                    del self._keys[record.unique]

    def claim(self, seed: Record, attempt: Attempt, *, lifetime: float | None) -> Record | None:
        with self._lock:
            record = self._live(seed.id) or seed
            if record.attempt and self._tokens.get(seed.id) == attempt.token:
                return record
            if not may_claim(record, attempt, leased=self._is_held(record.lease)):
                return None
            self._tokens[seed.id] = attempt.token
            return self._keep(claimed(record, attempt), lifetime)

    def settle(self, seed: Record, outcome: Outcome, *, lifetime: float | None) -> Record | None:
        with self._lock:
            record = self._live(seed.id) or seed
            if self._tokens.get(seed.id) == outcome.token:
                return record
            if record.status in FINISHED or not counts(record, outcome):
                if outcome.error and outcome.attempt and outcome.attempt < record.attempt:
                    self._records[seed.id] = with_error(record, outcome.error, outcome.attempt)
                return None
            self._tokens[seed.id] = outcome.token
            return self._keep(settled(record, outcome), lifetime)

    def get(self, result_id: str) -> Record | None:
        with self._lock:
            return deepcopy(self._live(result_id))

    def holder(self, unique: str) -> str | None:
        with self._lock:
            return self._holder(unique)

    def enqueued(self, result_ids: Sequence[str], *, at: datetime) -> list[str]:
        return []

    def cancel(self, result_id: str, outcome: Outcome) -> Record | None:
        with self._lock:
            record = self._live(result_id)
            if record is None or self._tokens.get(result_id) == outcome.token:
                return deepcopy(record)
            ended = cancelled(record, outcome)
            if ended is not None:
                self._records[result_id] = ended
                if ended.status in FINISHED:
                    self._tokens[result_id] = outcome.token
            return deepcopy(ended)

    def next_due(self) -> datetime | None:
        return min((record.due for record in self._all(_is_unsent) if record.due), key=_moment, default=None)

    def take_due(self, *, before: datetime, until: datetime, limit: int) -> list[Record]:
        with self._lock:
            live = [record for result_id in list(self._records) if (record := self._live(result_id))]
            held = [record for record in live if _is_unsent(record) and _moment(record.due) <= _moment(before)]
            taken = [replace(record, due=until) for record in sorted(held, key=lambda record: _moment(record.due))]
            self._records |= {record.id: record for record in taken[:limit]}
            return deepcopy(taken[:limit])

    def sent(self, result_ids: Sequence[str], *, at: datetime) -> None:
        with self._lock:
            for result_id in result_ids:
                record = self._live(result_id)
                if record is not None and (done := sent(record, at)):
                    self._records[result_id] = done

    def hold(self, lease: str, holder: str, *, seconds: float) -> bool:
        with self._lock:
            if self._is_held(lease) and self._leases[lease][0] != holder:
                return False
            self._leases[lease] = (holder, monotonic() + seconds)
            return True

    def release(self, lease: str, holder: str) -> None:
        with self._lock:
            if self._leases.get(lease, ("", 0.0))[0] == holder:
                del self._leases[lease]

    def waiting(self, *, before: datetime) -> Mapping[str, int]:
        return Counter(record.queue_name for record in self._all(lambda record: _is_overdue(record, before)))

    def overdue(self, queue_name: str, *, before: datetime, limit: int) -> list[Record]:
        found = self._all(lambda record: record.queue_name == queue_name and _is_overdue(record, before))
        return sorted(found, key=lambda record: _moment(record.due))[:limit]

    def expired(self, *, before: datetime, limit: int) -> list[Record]:
        wanted = _moment(before)
        return self._all(
            lambda record: record.status == "READY" and bool(record.expires) and _moment(record.expires) < wanted
        )[:limit]

    def abandoned(self, *, limit: int) -> list[Record]:
        return self._all(
            lambda record: record.status == "RUNNING" and bool(record.lease) and not self._is_held(record.lease)
        )[:limit]

    def resend(self, record: Record, *, due: datetime, lifetime: float | None) -> bool:
        with self._lock:
            known = self._live(record.id)
            if known is None or known.status != "READY" or known.resent != record.resent:
                return False
            self._keep(sent_again(known, due), lifetime)
            return True

    def tidy(self) -> None:
        with self._lock:
            for result_id in list(self._records):
                self._live(result_id)
            self._keys = {key: holder for key, holder in self._keys.items() if self._holder(key)}
            self._leases = {lease: held for lease, held in self._leases.items() if self._is_held(lease)}

    def _all(self, wanted: Callable[[Record], bool]) -> list[Record]:
        with self._lock:
            live = [record for result_id in list(self._records) if (record := self._live(result_id))]
            return [deepcopy(record) for record in live if wanted(record)]

    def _is_held(self, lease: str) -> bool:
        return self._leases.get(lease, ("", 0.0))[1] > monotonic()

    def _holder(self, key: str) -> str | None:
        """Return the id of the task whose unique key this is, None where it is free."""
        holder = self._keys.get(key)
        if holder is not None and holder.unique_until != "time":
            holder = self._live(holder.id)
        return holder.id if holder is not None and keeps_out(holder, now=datetime.now(UTC)) else None

    def _live(self, result_id: str) -> Record | None:
        if self._deadlines.get(result_id, float("inf")) <= monotonic():
            self._forget(result_id)
        return self._records.get(result_id)

    def _keep(self, record: Record, lifetime: float | None) -> Record:
        self._records[record.id] = deepcopy(record)
        self._deadlines[record.id] = float("inf") if lifetime is None else monotonic() + lifetime
        return record

    def _forget(self, result_id: str) -> None:
        for kept in (self._records, self._deadlines, self._tokens):
            kept.pop(result_id, None)


def _is_unsent(record: Record) -> bool:
    return record.held and record.status == "READY"


def _is_overdue(record: Record, before: datetime) -> bool:
    waits = record.status == "READY" and not record.held
    return waits and record.due is not None and _moment(record.due) < _moment(before)


def _moment(moment: datetime | None) -> datetime:
    return to_aware(moment) or datetime.max.replace(tzinfo=UTC)
