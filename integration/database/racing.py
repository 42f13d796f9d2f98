"""One of several processes that do the same with the same tasks at the same moment."""

from __future__ import annotations

from typing import Any

RACERS = 8
ROUNDS = 10
WITHIN = 100.0  # seconds; most of them go into starting eight processes on a busy machine


def race(database: dict[str, Any], ids: dict[str, list[str]], number: int, start: Any, told: Any) -> None:
    """Do with each id what the others do with it at that moment, and tell who won."""
    import django
    from django.conf import settings

    # No more than it needs, for eight of these start at once.
    settings.configure(DATABASES={"default": database}, INSTALLED_APPS=["tasks_celery.database"], USE_TZ=True)
    django.setup()
    from tasks_celery.database.store import DatabaseStore
    from tests.stores.making import HOUR, a_record, an_attempt, an_outcome

    store, worker_id = DatabaseStore("default", timeout=30), f"worker {number}"
    for kind in ("recorded", "unknown", "forgotten"):
        for each in ids[kind]:
            start.wait(WITHIN)
            claimed = store.claim(a_record(id=each), an_attempt(worker_id), lifetime=HOUR)
            told.put((each, claimed is not None and claimed.worker_ids == (worker_id,)))
    for each in ids["running"]:
        success, failure = an_outcome(attempt=1, return_value=number), an_outcome("FAILED", worker_id="one")
        start.wait(WITHIN)
        settled = store.settle(a_record(id=each), success if number % 2 else failure, lifetime=HOUR)
        told.put((each, settled is not None))
    for each in ids["lost"]:
        record = store.get(each)
        start.wait(WITHIN)
        told.put((each, store.resend(record, due=a_record().enqueued_at, lifetime=HOUR) if record else None))
    for each in ids["leases"]:
        start.wait(WITHIN)
        told.put((each, store.hold(each, worker_id, seconds=HOUR)))
