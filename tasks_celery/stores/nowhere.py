"""Both. Where a project has no place for records: tasks run and are announced, nothing can be read later."""

from __future__ import annotations

from tasks_celery.stores.base import Attempt, Outcome, Record, claimed, settled


class Nowhere:
    """Keeps nothing, and so refuses nothing: a duplicate delivery runs again."""

    def create(self, record: Record, *, lifetime: float | None) -> None:
        return None

    def discard(self, result_id: str) -> None:
        return None

    def claim(self, seed: Record, attempt: Attempt, *, lifetime: float | None) -> Record | None:
        return claimed(seed, attempt)

    def settle(self, seed: Record, outcome: Outcome, *, lifetime: float | None) -> Record | None:
        return settled(seed, outcome)

    def get(self, result_id: str) -> Record | None:
        return None
