"""Both. Records in this process, for tests: a worker in another process cannot see them."""

from __future__ import annotations

from copy import deepcopy
from threading import Lock
from time import monotonic

from tasks_celery.stores.base import (
    FINISHED,
    Attempt,
    Outcome,
    Record,
    claimed,
    counts,
    may_claim,
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
            if not may_claim(record, attempt):
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
