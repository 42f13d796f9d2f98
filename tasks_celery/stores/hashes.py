"""Both. The one mapping between a `Record` and the fields of its hash in Redis. Pure, no I/O.

What an earlier release does not know has fields of its own beside the facts, where it does not look.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from tasks_celery.moments import as_project, from_text, to_aware, to_text
from tasks_celery.stores.base import Error, Record, Status, Until

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def seed_of(record: Record) -> tuple[str, ...]:
    """Return a record as the scripts take it: facts, queue, due, due in milliseconds, and the fields that few have."""
    enqueued_at, due_ms = to_text(record.enqueued_at), milliseconds_of(record.due)
    due = enqueued_at if record.due is record.enqueued_at else to_text(record.due)
    facts = {
        "name": record.name,
        "path": record.path,
        "alias": record.alias,
        "queue_name": record.queue_name,
        "args": record.args,
        "kwargs": record.kwargs,
        "priority": record.priority,
        "context": record.context,
        "run_after": to_text(record.run_after),
        "enqueued_at": enqueued_at,
    }
    more = [text for pair in _rare(record).items() for text in pair]
    return _encode(facts), record.queue_name, due or "", due_ms, _encode(more) if more else ""


def places_of(record: Record) -> tuple[str, ...]:
    """Return where else than among those that wait a new record is to be found; nothing where that is nowhere.

    Its expiry, when it is to be sent, its unique key, until when it keeps others out, and the expiry of that.
    """
    held = _held_until(record) if record.held else ""
    if not (record.expires or held or record.unique):
        return ()
    places = milliseconds_of(record.expires), held
    if not record.unique:
        return places
    return *places, record.unique, record.unique_until, milliseconds_of(record.unique_expires)


def _rare(record: Record) -> dict[str, str]:
    fields: dict[str, Any] = {}
    if record.expires:
        fields |= {"expires": to_text(record.expires), "expires_ms": milliseconds_of(record.expires)}
    if record.sending:
        fields["sending"] = _encode(record.sending)
    if record.held:
        fields["held"] = _held_until(record)
    if record.unique:
        fields |= {"unique": record.unique, "unique_until": record.unique_until}
    if record.unique_expires:
        fields |= {
            "unique_expires": to_text(record.unique_expires),
            "unique_ms": milliseconds_of(record.unique_expires),
        }
    if record.resent:
        fields["resent"] = record.resent
    return {name: str(value) for name, value in (fields | _begun(record)).items()}


def _held_until(record: Record) -> str:
    return microseconds_of(record.due) if record.due else ""


def _begun(record: Record) -> dict[str, Any]:
    """Return what a record that was lost has to tell beyond that it is READY."""
    if record.status == "READY" and not record.worker_ids and not record.retries and not record.errors:
        return {}
    fields = {
        "status": record.status,
        "retries": record.retries,
        "attempt": record.attempt,
        "lease": record.lease,
        "started_at": to_text(record.started_at),
        "last_attempted_at": to_text(record.last_attempted_at),
        "cancelled": "1" if record.cancelled else None,
    }
    fields |= {f"worker:{number}": worker for number, worker in enumerate(record.worker_ids, 1)}
    fields |= {f"error:{error.attempt}": error_text(error) for error in record.errors}
    return {name: value for name, value in fields.items() if value is not None}


def error_text(error: Error) -> str:
    """Return an error as its field has it; the field's name has the attempt."""
    return json.dumps([error.exception_class_path, error.traceback])


def milliseconds_of(moment: datetime | None) -> str:
    """Return a moment as sorted sets have it: milliseconds since 1970; an empty text for none."""
    aware = to_aware(moment)
    return "" if aware is None else str(int(aware.timestamp() * 1000))


def microseconds_of(moment: datetime) -> str:
    """Return a moment in microseconds since 1970: all that a datetime tells, for a task must not be sent early."""
    return str((cast("datetime", to_aware(moment)) - _EPOCH) // timedelta(microseconds=1))


def from_microseconds(text: str | None) -> datetime | None:
    """Return the moment that `microseconds_of` wrote, as the project has its times; None for none."""
    return None if text is None else as_project(_EPOCH + timedelta(microseconds=int(text)))


def pairs_of(flat: Iterable[str]) -> dict[str, str]:
    """Return a flat list of names and values as a dict."""
    texts = iter(flat)
    return dict(zip(texts, texts, strict=True))


def told(result_id: str, text: str) -> Record | None:
    """Return the record that a script told as the flat list of its fields, in JSON; None for nothing."""
    return record_of(result_id, pairs_of(json.loads(text))) if text else None


def records_of(found: Iterable[tuple[str, str]]) -> list[Record]:
    """Return the records that a script told, each with its id."""
    records = (told(result_id, text) for result_id, text in found)
    return [record for record in records if record is not None]


def record_of(result_id: str, fields: Mapping[str, str]) -> Record | None:
    """Return the record that a hash holds; None for an empty one."""
    if not fields:
        return None
    facts: dict[str, Any] = json.loads(fields["facts"])
    facts["run_after"] = from_text(facts["run_after"])
    # A field of its own where the task was held before it was enqueued.
    facts["enqueued_at"] = from_text(facts["enqueued_at"] or fields.get("enqueued_at"))
    attempt = int(fields["attempt"])
    worker_ids = tuple([fields[f"worker:{number}"] for number in range(1, attempt + 1)])
    return Record(
        id=result_id,
        **facts,
        sending=json.loads(fields["sending"]) if "sending" in fields else {},
        expires=from_text(fields.get("expires")),
        due=from_text(fields.get("due")),
        # A worker of an earlier release, which knows of no holding, leaves the field as it begins the task.
        held="held" in fields and fields["status"] == "READY" and not worker_ids,
        resent=int(fields.get("resent", 0)),
        lease=fields.get("lease", ""),
        cancelled="cancelled" in fields,
        unique=fields.get("unique", ""),
        unique_until=cast("Until", fields.get("unique_until", "finish")),
        unique_expires=from_text(fields.get("unique_expires")),
        status=cast("Status", fields["status"]),
        retries=int(fields["retries"]),
        started_at=from_text(fields.get("started_at")),
        last_attempted_at=from_text(fields.get("last_attempted_at")),
        finished_at=from_text(fields.get("finished_at")),
        worker_ids=worker_ids,
        # What ended a task before an attempt counts as of the one that did not come.
        errors=tuple(
            [_error(fields[name], number) for number in range(attempt + 2) if (name := f"error:{number}") in fields]
        ),
        return_value=json.loads(fields["value"]) if "value" in fields else None,
    )


def _error(text: str, attempt: int) -> Error:
    path, traceback = json.loads(text)
    return Error(exception_class_path=path, traceback=traceback, attempt=attempt)
