"""Both. Records in this process, for tests: a worker in another process cannot see them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import UTC, datetime
from threading import Lock
from time import monotonic

from tasks_celery.moments import to_aware
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


class MemoryStore:
    """Keeps records in a dict under one lock."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._records: dict[str, Record] = {}
        self._deadlines: dict[str, float] = {}
        self._tokens: dict[str, str] = {}
        self._leases: dict[str, tuple[str, float]] = {}

    def create(self, record: Record, *, lifetime: float | None) -> None:
        with self._lock:
            if self._live(record.id) is None:
                self._keep(record, lifetime)

    def discard(self, result_id: str) -> None:
        with self._lock:
            record = self._live(result_id)
            if record is not None and record.status == "READY" and not record.attempt:
                self._forget(result_id)

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
            self._leases = {lease: held for lease, held in self._leases.items() if self._is_held(lease)}

    def _all(self, wanted: Callable[[Record], bool]) -> list[Record]:
        with self._lock:
            live = [record for result_id in list(self._records) if (record := self._live(result_id))]
            return [deepcopy(record) for record in live if wanted(record)]

    def _is_held(self, lease: str) -> bool:
        return self._leases.get(lease, ("", 0.0))[1] > monotonic()

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


def _is_overdue(record: Record, before: datetime) -> bool:
    return record.status == "READY" and record.due is not None and _moment(record.due) < _moment(before)


def _moment(moment: datetime | None) -> datetime:
    return to_aware(moment) or datetime.max.replace(tzinfo=UTC)
