"""Both. Records in Redis or Valkey: a hash per task, changed by one Lua call each.

Arguments and values stay opaque JSON texts to Lua, whose own JSON would turn empty lists into objects and
long integers into floats. Per-attempt facts are fields of their own (``worker:2``, ``error:2``), so that an
attempt adds to them without reading what is there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tasks_celery.exceptions import StoreError
from tasks_celery.moments import from_text, to_text
from tasks_celery.stores.base import Attempt, Error, Outcome, Record, Status

_EXPIRE = """
local function keep(key, lifetime)
  if lifetime == '' then redis.call('PERSIST', key) else redis.call('PEXPIRE', key, lifetime) end
end
local function seed(key, fields)
  redis.call('HSET', key, unpack(cjson.decode(fields)))
end
"""

# KEYS: record. ARGV: lifetime in ms, seed.
CREATE = (
    _EXPIRE
    + """
if redis.call('EXISTS', KEYS[1]) == 0 then
  seed(KEYS[1], ARGV[2])
  keep(KEYS[1], ARGV[1])
end
"""
)

# KEYS: record.
DISCARD = """
local now = redis.call('HMGET', KEYS[1], 'status', 'attempt')
if now[1] == 'READY' and now[2] == '0' then redis.call('DEL', KEYS[1]) end
"""

# KEYS: record. ARGV: lifetime, seed, token, worker, at, retries, redelivered.
CLAIM = (
    _EXPIRE
    + """
local key, token, retries = KEYS[1], ARGV[3], tonumber(ARGV[6])
if redis.call('EXISTS', key) == 0 then seed(key, ARGV[2]) end
local now = redis.call('HMGET', key, 'status', 'retries', 'token', 'attempt')
if now[3] == token and now[4] ~= '0' then return redis.call('HGETALL', key) end
local again = ARGV[7] == '1' or retries > tonumber(now[2])
if not (now[1] == 'READY' or (now[1] == 'RUNNING' and again)) then return {} end
local attempt = redis.call('HINCRBY', key, 'attempt', 1)
redis.call('HSETNX', key, 'started_at', ARGV[5])
redis.call('HSET', key, 'status', 'RUNNING', 'retries', retries, 'token', token,
           'last_attempted_at', ARGV[5], 'worker:' .. attempt, ARGV[4])
keep(key, ARGV[1])
return redis.call('HGETALL', key)
"""
)

# KEYS: record. ARGV: lifetime, seed, token, status, at, attempt or '', worker or '', retries, error or '', value or ''.
SETTLE = (
    _EXPIRE
    + """
local key, token, status, attempt, worker, err = KEYS[1], ARGV[3], ARGV[4], ARGV[6], ARGV[7], ARGV[9]
if redis.call('EXISTS', key) == 0 then seed(key, ARGV[2]) end
local now = redis.call('HMGET', key, 'status', 'retries', 'token', 'attempt')
if now[3] == token then return redis.call('HGETALL', key) end
local finished = now[1] == 'SUCCESSFUL' or now[1] == 'FAILED'
local counts
if attempt ~= '' then
  counts = now[1] == 'RUNNING' and now[4] == attempt
  if err ~= '' and tonumber(attempt) < tonumber(now[4]) then redis.call('HSETNX', key, 'error:' .. attempt, err) end
elseif finished then
  counts = false
else
  local fits = worker == '' or redis.call('HGET', key, 'worker:' .. now[4]) == worker
  counts = tonumber(ARGV[8]) >= tonumber(now[2]) and (now[1] == 'READY' or fits)
end
if not counts then return {} end
redis.call('HSET', key, 'status', status, 'token', token)
if err ~= '' then
  local number = tonumber(now[4])
  if now[1] == 'READY' then number = number + 1 end
  redis.call('HSETNX', key, 'error:' .. number, err)
end
if status == 'READY' then
  if err ~= '' then redis.call('HINCRBY', key, 'retries', 1) end
else
  redis.call('HSET', key, 'finished_at', ARGV[5])
  if ARGV[10] ~= '' then redis.call('HSET', key, 'value', ARGV[10]) end
end
keep(key, ARGV[1])
return redis.call('HGETALL', key)
"""
)


class RedisStore:
    """Keeps records in Redis; connects on first use and again after a fork."""

    def __init__(self, url: str, *, key_prefix: str, timeout: float) -> None:
        # One retry without a pause: a connection that the server closed while idle fails once.
        self._client = redis.Redis.from_url(
            redis_url(url),
            decode_responses=True,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 1),
        )
        self._prefix = key_prefix
        self._create = self._client.register_script(CREATE)
        self._discard = self._client.register_script(DISCARD)
        self._claim = self._client.register_script(CLAIM)
        self._settle = self._client.register_script(SETTLE)

    def create(self, record: Record, *, lifetime: float | None) -> None:
        with self._door():
            self._create(keys=[self._key(record.id)], args=[_milliseconds(lifetime), _seed(record)])

    def discard(self, result_id: str) -> None:
        with self._door():
            self._discard(keys=[self._key(result_id)])

    def claim(self, seed: Record, attempt: Attempt, *, lifetime: float | None) -> Record | None:
        args: list[str | int] = [
            _milliseconds(lifetime),
            _seed(seed),
            attempt.token,
            attempt.worker_id,
            to_text(attempt.at),
            attempt.retries,
            int(attempt.redelivered),
        ]
        with self._door():
            return _record(seed.id, _pairs(self._claim(keys=[self._key(seed.id)], args=args)))

    def settle(self, seed: Record, outcome: Outcome, *, lifetime: float | None) -> Record | None:
        args: list[str | int] = [
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
        ]
        with self._door():
            return _record(seed.id, _pairs(self._settle(keys=[self._key(seed.id)], args=args)))

    def get(self, result_id: str) -> Record | None:
        with self._door():
            return _record(result_id, cast("dict[str, str]", self._client.hgetall(self._key(result_id))))

    def _key(self, result_id: str) -> str:
        # Escaped, for an id may be any text, and half a surrogate pair is no UTF-8.
        return f"{self._prefix}result:{result_id}".encode(errors="backslashreplace").decode()

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


def _milliseconds(lifetime: float | None) -> int | str:
    return "" if lifetime is None else max(1, int(lifetime * 1000))


_STATIC = ("name", "path", "alias", "queue_name", "args", "kwargs", "priority", "context")


def _seed(record: Record) -> str:
    """Return a whole record as the flat list of fields that HSET takes."""
    fields: dict[str, Any] = {
        "facts": json.dumps({name: getattr(record, name) for name in _STATIC} | _moments(record)),
        "status": record.status,
        "retries": record.retries,
        "attempt": record.attempt,
        "started_at": to_text(record.started_at),
        "last_attempted_at": to_text(record.last_attempted_at),
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


def _record(result_id: str, fields: Mapping[str, str]) -> Record | None:
    if not fields:
        return None
    facts: dict[str, Any] = json.loads(fields["facts"])
    facts |= {name: from_text(facts[name]) for name in ("run_after", "enqueued_at")}
    errors = [(*json.loads(fields[name]), int(name.partition(":")[2])) for name in _numbered(fields, "error:")]
    return Record(
        id=result_id,
        **facts,
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
