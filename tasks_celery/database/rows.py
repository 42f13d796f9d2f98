"""Both. The one mapping between a `Record` and the columns of its row. Pure, no I/O."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import Any, cast, overload

from tasks_celery.database.models import LONGEST, TaskRecord
from tasks_celery.moments import as_project, to_aware
from tasks_celery.stores.base import Error, Record, Status, Until

# The same in a record and in its row.
_SAME = (
    "id", "name", "path", "queue_name", "priority", "args", "kwargs", "status", "retries", "held", "resent", "lease",
    "cancelled", "unique", "unique_until", "return_value",
)  # fmt: skip
_MOMENTS = (
    "run_after", "expires", "enqueued_at", "due", "unique_expires", "started_at", "last_attempted_at", "finished_at",
)  # fmt: skip
_CONVERTED = ("status", "held", "unique", "unique_until")


def columns_of(record: Record) -> dict[str, Any]:
    """Return the columns of a record: all but what the store itself goes by."""
    context = dict(record.context)
    return {
        **{name: getattr(record, name) for name in _SAME},
        **{name: to_column(getattr(record, name)) for name in _MOMENTS},
        "backend": record.alias,
        "user_id": context.pop("user", None),
        "context": context,
        "sending": dict(record.sending),
        "worker_ids": list(record.worker_ids),
        "errors": [[error.attempt, error.exception_class_path, error.traceback] for error in record.errors],
    }


def record_of(row: TaskRecord) -> Record:
    """Return the record that a row stands for."""
    user = {} if row.user_id is None else {"user": row.user_id}
    return Record(
        **{name: getattr(row, name) for name in _SAME if name not in _CONVERTED},
        **{name: getattr(row, name) for name in _MOMENTS},
        status=cast("Status", row.status),
        # A worker of the first release, which knows of no holding, leaves it as it begins the task.
        held=row.held and row.status == "READY" and not row.worker_ids,
        unique=row.unique or "",
        unique_until=cast("Until", row.unique_until),
        alias=row.backend,
        context=user | row.context,
        sending=row.sending,
        worker_ids=tuple(row.worker_ids),
        errors=tuple(
            Error(exception_class_path=path, traceback=text, attempt=number) for number, path, text in row.errors
        ),
    )


@overload
def to_column(moment: datetime) -> datetime: ...


@overload
def to_column(moment: datetime | None) -> datetime | None: ...


def to_column(moment: datetime | None) -> datetime | None:
    """Return a moment as the columns of the project hold it: SQLite and MySQL refuse an aware one without USE_TZ."""
    return as_project(to_aware(moment))


def digest_of(unique: str) -> str | None:
    """Return what is unique of a unique key, which may be any text; None for a task that has none."""
    return sha256(unique.encode(errors="surrogatepass")).hexdigest() if unique else None


def may_be_id(text: str) -> bool:
    """Whether a row can have this id: PostgreSQL holds neither ``\\0`` nor half a surrogate pair, and none is longer."""
    return len(text) <= LONGEST and "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)
