"""Both. Records in Redis or Valkey: a hash per task, changed by one Lua call each.

Arguments and values stay opaque JSON texts to Lua, whose own JSON would turn empty lists into objects and
long integers into floats. Per-attempt facts are fields of their own (``worker:2``, ``error:2``), so that an
attempt adds to them without reading what is there. The scripts are in ``lua/``; they reach keys that depend on what
a record says, so Redis Cluster is no place for records, as it is none for Celery.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tasks_celery.exceptions import StoreError
from tasks_celery.moments import from_text, to_aware, to_text
from tasks_celery.stores.base import TAKEN_OVER, Attempt, Error, Outcome, Record, Status

LUA = Path(__file__).parent / "lua"


class RedisStore:
    """Keeps records in Redis; connects on first use and again after a fork."""

    def __init__(self, url: str, *, key_prefix: str, timeout: float) -> None:
        # Half of it for each wait: what is enqueued waits for the broker too. Not repeated after a wait that was in vain,
        # only, and at once, after a connection that the server has closed.
        self._client = redis.Redis.from_url(
            redis_url(url),
            decode_responses=True,
            socket_timeout=timeout / 2,
            socket_connect_timeout=timeout / 2,
            retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
        )
        self._prefix = key_prefix
        self._run = {path.stem: self._client.register_script(_script(path)) for path in sorted(LUA.glob("*.lua"))}

    def create(self, record: Record, *, lifetime: float | None) -> None:
        self._call("create", _member(record.id), _milliseconds(lifetime), _seed(record))

    def discard(self, result_id: str) -> None:
        self._call("discard", _member(result_id))

    def claim(self, seed: Record, attempt: Attempt, *, lifetime: float | None) -> Record | None:
        told = self._call(
            "claim",
            _member(seed.id),
            _milliseconds(lifetime),
            _seed(seed),
            attempt.token,
            attempt.worker_id,
            to_text(attempt.at),
            attempt.retries,
            int(attempt.redelivered),
            attempt.lease,
            _error_text(TAKEN_OVER),
        )
        return _told(seed.id, told)

    def settle(self, seed: Record, outcome: Outcome, *, lifetime: float | None) -> Record | None:
        due = outcome.due or outcome.at
        told = self._call(
            "settle",
            _member(seed.id),
            _milliseconds(lifetime),
            _seed(seed),
            outcome.token,
            outcome.status,
            to_text(outcome.at),
            outcome.attempt if outcome.attempt is not None else "",
            outcome.worker_id or "",
            outcome.retries,
            _error_text(outcome.error) if outcome.error else "",
            json.dumps(outcome.return_value) if outcome.status == "SUCCESSFUL" else "",
            to_text(due),
            _score(due),
            int(outcome.retry),
        )
        return _told(seed.id, told)

    def get(self, result_id: str) -> Record | None:
        with self._door():
            key = f"{self._prefix}result:{_member(result_id)}"
            return _record(result_id, cast("dict[str, str]", self._client.hgetall(key)))

    def hold(self, lease: str, holder: str, *, seconds: float) -> bool:
        return bool(self._call("hold", lease, holder, _milliseconds(seconds)))

    def release(self, lease: str, holder: str) -> None:
        self._call("release", lease, holder)

    def waiting(self, *, before: datetime) -> Mapping[str, int]:
        return {queue: int(count) for queue, count in _pairs(self._call("waiting", _score(before))).items()}

    def overdue(self, queue_name: str, *, before: datetime, limit: int) -> list[Record]:
        return _records(self._call("overdue", queue_name, _score(before), limit))

    def expired(self, *, before: datetime, limit: int) -> list[Record]:
        return _records(self._call("expired", _score(before), limit))

    def abandoned(self, *, limit: int) -> list[Record]:
        return _records(self._call("abandoned", limit))

    def resend(self, record: Record, *, due: datetime, lifetime: float | None) -> bool:
        args = (_member(record.id), _milliseconds(lifetime), record.resent, to_text(due), _score(due))
        return bool(self._call("resend", *args))

    def tidy(self) -> None:
        self._call("tidy")

    def _call(self, script: str, *args: str | int) -> Any:
        with self._door():
            return self._run[script](args=[self._prefix, *args])

    @contextmanager
    def _door(self) -> Iterator[None]:
        try:
            yield
        except redis.RedisError as error:
            raise StoreError(
                f"The store of task results (Redis) did not do what was asked: {error}. "
                "Check OPTIONS['RESULTS'] or the Celery result backend, and that Redis runs."
            ) from error


def redis_url(url: str) -> str:
    """Return a URL of Celery's as redis-py has it: a socket's (``redis+socket:///path?virtual_host=1``), or of TLS."""
    for scheme in ("redis+socket:", "socket:"):
        if url.startswith(scheme):
            return "unix:" + url.removeprefix(scheme).replace("virtual_host=", "db=")
    return re.sub(r"(?<=ssl_cert_reqs=)CERT_(\w+)", lambda found: found[1].lower(), url)


def _script(path: Path) -> str:
    return (LUA / "common.lua").read_text() + path.read_text()


def _member(result_id: str) -> str:
    # Escaped, for an id may be any text, and half a surrogate pair is no UTF-8.
    return result_id.encode(errors="backslashreplace").decode()


def _milliseconds(lifetime: float | None) -> int | str:
    return "" if lifetime is None else max(1, int(lifetime * 1000))


def _score(moment: datetime) -> int:
    """Return a moment as sorted sets have it: milliseconds since 1970."""
    return int(cast("datetime", to_aware(moment)).timestamp() * 1000)


_STATIC = ("name", "path", "alias", "queue_name", "args", "kwargs", "priority", "context")


def _seed(record: Record) -> str:
    """Return a whole record as the flat list of fields that HSET takes.

    What the first release does not know has fields of its own beside the facts, where it does not look.
    """
    fields: dict[str, Any] = {
        "facts": json.dumps({name: getattr(record, name) for name in _STATIC} | _moments(record)),
        "sending": json.dumps(record.sending) if record.sending else None,
        "queue": record.queue_name,
        "status": record.status,
        "retries": record.retries,
        "attempt": record.attempt,
        "resent": record.resent or None,
        "lease": record.lease,
        "started_at": to_text(record.started_at),
        "last_attempted_at": to_text(record.last_attempted_at),
        "expires": to_text(record.expires),
        "expires_ms": _score(record.expires) if record.expires else None,
        "due": to_text(record.due),
        "due_ms": _score(record.due) if record.due else None,
    }
    fields |= {f"worker:{number}": worker for number, worker in enumerate(record.worker_ids, 1)}
    fields |= {f"error:{error.attempt}": _error_text(error) for error in record.errors}
    known = {name: str(value) for name, value in fields.items() if value is not None}
    return json.dumps([text for pair in known.items() for text in pair])


def _moments(record: Record) -> dict[str, str | None]:
    return {"run_after": to_text(record.run_after), "enqueued_at": to_text(record.enqueued_at)}


def _error_text(error: Error) -> str:
    return json.dumps([error.exception_class_path, error.traceback])


def _pairs(flat: Iterable[str]) -> dict[str, str]:
    texts = iter(flat)
    return dict(zip(texts, texts, strict=True))


def _told(result_id: str, told: str) -> Record | None:
    """Return the record that a script told as the flat list of its fields, in JSON; None for nothing."""
    return _record(result_id, _pairs(json.loads(told))) if told else None


def _records(found: Iterable[tuple[str, str]]) -> list[Record]:
    records = (_told(result_id, told) for result_id, told in found)
    return [record for record in records if record is not None]


def _record(result_id: str, fields: Mapping[str, str]) -> Record | None:
    if not fields:
        return None
    facts: dict[str, Any] = json.loads(fields["facts"])
    facts |= {name: from_text(facts[name]) for name in ("run_after", "enqueued_at")}
    errors = [(*json.loads(fields[name]), int(name.partition(":")[2])) for name in _numbered(fields, "error:")]
    return Record(
        id=result_id,
        **facts,
        sending=json.loads(fields.get("sending", "{}")),
        expires=from_text(fields.get("expires")),
        due=from_text(fields.get("due")),
        resent=int(fields.get("resent", 0)),
        lease=fields.get("lease", ""),
        status=cast("Status", fields["status"]),
        retries=int(fields["retries"]),
        started_at=from_text(fields.get("started_at")),
        last_attempted_at=from_text(fields.get("last_attempted_at")),
        finished_at=from_text(fields.get("finished_at")),
        worker_ids=tuple(fields[name] for name in _numbered(fields, "worker:")),
        errors=tuple(Error(exception_class_path=path, traceback=text, attempt=number) for path, text, number in errors),
        return_value=json.loads(fields.get("value", "null")),
    )


def _numbered(fields: Iterable[str], prefix: str) -> list[str]:
    return sorted((name for name in fields if name.startswith(prefix)), key=lambda name: int(name[len(prefix) :]))
