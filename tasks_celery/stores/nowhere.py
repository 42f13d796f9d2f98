"""Both. Where a project has no place for records: tasks run and are announced, nothing can be read later."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import datetime

from tasks_celery.stores.base import Attempt, Outcome, Record, claimed, settled

REMEMBERED = 1_000


class Nowhere:
    """Keeps nothing, and so refuses next to nothing: a duplicate delivery runs again.

    Only what is reported from outside an attempt counts once in a process: Celery reports a time limit twice.
    """

    def __init__(self) -> None:
        self._reported: OrderedDict[str, None] = OrderedDict()

    def create(self, record: Record, *, lifetime: float | None) -> str | None:
        return None

    def create_many(self, records: Sequence[Record], *, lifetimes: Sequence[float | None]) -> list[str | None]:
        return [None for _ in records]

    def discard(self, result_id: str) -> None:
        return None

    def claim(self, seed: Record, attempt: Attempt, *, lifetime: float | None) -> Record | None:
        return claimed(seed, attempt)

    def settle(self, seed: Record, outcome: Outcome, *, lifetime: float | None) -> Record | None:
        if outcome.attempt is None:
            if seed.id in self._reported:
                return None
            self._reported[seed.id] = None
            if len(self._reported) > REMEMBERED:
                self._reported.popitem(last=False)
        return settled(seed, outcome)

    def get(self, result_id: str) -> Record | None:
        return None

    def holder(self, unique: str) -> str | None:
        return None

    def enqueued(self, result_ids: Sequence[str], *, at: datetime) -> list[str]:
        return []

    def cancel(self, result_id: str, outcome: Outcome) -> Record | None:
        return None

    def next_due(self) -> datetime | None:
        return None

    def take_due(self, *, before: datetime, until: datetime, limit: int) -> list[Record]:
        return []

    def sent(self, result_ids: Sequence[str], *, at: datetime) -> None:
        return None

    def hold(self, lease: str, holder: str, *, seconds: float) -> bool:
        return False  # and so nobody sweeps

    def release(self, lease: str, holder: str) -> None:
        return None

    def waiting(self, *, before: datetime) -> Mapping[str, int]:
        return {}

    def overdue(self, queue_name: str, *, before: datetime, limit: int) -> list[Record]:
        return []

    def expired(self, *, before: datetime, limit: int) -> list[Record]:
        return []

    def abandoned(self, *, limit: int) -> list[Record]:
        return []

    def resend(self, record: Record, *, due: datetime, lifetime: float | None) -> bool:
        return False

    def tidy(self) -> None:
        return None


NOWHERE = Nowhere()
