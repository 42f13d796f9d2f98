"""Test process. Several that ask the stores of one server for the same thing at the same moment."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier
from typing import Any, TypeVar

from tasks_celery.stores import Record, Store
from tasks_celery.stores.redis import RedisStore
from tests.stores.making import HOUR, a_record, an_attempt, an_outcome

RACERS = 8
WITHIN = 150.0  # seconds; most of them go into starting eight processes on a busy machine

T = TypeVar("T")


def at_once(race: Callable[[Callable[[], int]], T]) -> list[T]:
    """Run a function in several threads and return what each found; it is given what waits for the others."""
    start = Barrier(RACERS, timeout=WITHIN)
    with ThreadPoolExecutor(RACERS) as threads:
        racers = [threads.submit(race, start.wait) for _ in range(RACERS)]
    return [racer.result() for racer in racers]


def take_at_once(open_store: Callable[[], Store], *, close: Callable[[], object] = lambda: None) -> list[str]:
    """Let several movers take all that is due, each by a store of its own, and return the ids that they took."""
    now, later = datetime.now(UTC), datetime(9000, 1, 1, tzinfo=UTC)

    def take(wait: Callable[[], int]) -> list[str]:
        store, ids = open_store(), []
        wait()
        try:
            while taken := store.take_due(before=now, until=later, limit=500):
                ids += [record.id for record in taken]
                store.sent(ids[-len(taken) :], at=now)
            return ids
        finally:
            close()

    return [each for ids in at_once(take) for each in ids]


def enqueue_at_once(
    create: Callable[[Record], str | None], keys: list[str], *, close: Callable[[], object] = lambda: None
) -> list[list[tuple[str, str | None]]]:
    """Let several create a task of each unique key at the same moment; return, by key, each one's id and answer."""

    def enqueue(wait: Callable[[], int]) -> list[tuple[str, str | None]]:
        told = []
        try:
            for key in keys:
                record = a_record(unique=key)
                wait()
                told.append((record.id, create(record)))
            return told
        finally:
            close()

    return [list(told) for told in zip(*at_once(enqueue), strict=True)]


def assert_one_is_kept(told: list[tuple[str, str | None]]) -> None:
    """Whoever is not told that his task is kept is told of the one that is."""
    (kept,) = [result_id for result_id, holder in told if holder is None]
    assert {holder for _, holder in told} == {None, kept}


def race(url: str, ids: dict[str, list[str]], number: int, start: Any, told: Any) -> None:
    """Do with each id what seven other processes do with it at the same moment, and tell who won."""
    store, worker_id = RedisStore(url, key_prefix="test:", timeout=5), f"worker {number}"
    for kind in ("recorded", "unknown"):
        for each in ids[kind]:
            start.wait(WITHIN)
            claimed = store.claim(a_record(id=each), an_attempt(worker_id), lifetime=HOUR)
            told.put((each, claimed is not None and claimed.worker_ids == (worker_id,)))
    for each in ids["running"]:
        success, failure = an_outcome(attempt=1, return_value=number), an_outcome("FAILED", worker_id="one")
        start.wait(WITHIN)
        settled = store.settle(a_record(id=each), success if number % 2 else failure, lifetime=HOUR)
        told.put((each, settled is not None))
