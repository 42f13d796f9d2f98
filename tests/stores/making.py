"""Records, attempts and outcomes for tests of stores."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from tasks_celery.stores import Attempt, Error, Outcome, Record

WHEN = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
HOUR = 3600.0
NO_PAPER = Error(exception_class_path="builtins.ValueError", traceback="…\nValueError: no paper\n")


def a_record(**changes: Any) -> Record:
    """Return a READY record with an id of its own."""
    facts = {
        "id": uuid4().hex,
        "name": "shop.add",
        "path": "shop.tasks.add",
        "alias": "default",
        "queue_name": "reports",
        "args": [1, "é", [], {}],
        "kwargs": {"b": None, "empty": [], "long": 10**25, "ratio": 0.1},
        "priority": -7,
        "enqueued_at": WHEN,
        "context": {"user": "7", "language": "de"},
    }
    return Record(**(facts | changes))


def an_attempt(worker_id: str = "one", *, after: float = 1, **changes: Any) -> Attempt:
    """Return a wish to run a task that no other delivery has made."""
    facts = {"token": uuid4().hex, "worker_id": worker_id, "at": WHEN + timedelta(seconds=after)}
    return Attempt(**(facts | changes))


def an_outcome(status: str = "SUCCESSFUL", *, after: float = 9, **changes: Any) -> Outcome:
    """Return an outcome that nobody has reported yet; a failure has an error."""
    facts: dict[str, Any] = {"status": status, "token": uuid4().hex, "at": WHEN + timedelta(seconds=after)}
    facts["error"] = NO_PAPER if status == "FAILED" else None
    return Outcome(**(facts | changes))
