"""Both. Records in Redis or Valkey: a hash per task, changed by one Lua call each.

Arguments and values stay opaque JSON texts to Lua, whose own JSON would turn empty lists into objects and
long integers into floats. Per-attempt facts are fields of their own (``worker:2``, ``error:2``), so that an
attempt adds to them without reading what is there. The scripts are in ``lua/``; they reach keys that depend on what
a record says, so Redis Cluster is no place for records, as it is none for Celery.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tasks_celery.exceptions import StoreError
from tasks_celery.moments import to_text
from tasks_celery.stores.address import address_of, database_of, redis_url
from tasks_celery.stores.base import CANCELLED, TAKEN_OVER, AnswerMissing, Attempt, Outcome, Record
from tasks_celery.stores.hashes import (
    error_text,
    from_microseconds,
    microseconds_of,
    milliseconds_of,
    pairs_of,
    places_of,
    record_of,
    records_of,
    seed_of,
    told,
)
from tasks_celery.stores.scripts import SCRIPTS, Caller, Missing, pack, read_script

__all__ = ["Entry", "RedisStore", "redis_url"]

# What is sent at once: a server that is slow to take it makes the others wait, and the timeout is for all of it.
CHUNK = 500
CHUNK_LENGTH = 1_000_000

_NO_RECORD = "?"

Call = tuple[str, ...]


class Entry(NamedTuple):
    """A record with the message of its task: `text` goes into the list `key` of the database `db` of the same server."""

    record: Record
    lifetime: float | None
    db: int
    key: str
    text: str


class RedisStore:
    """Keeps records in Redis; connects on first use and again after a fork.

    `address` says which server that is, and `db` which of its databases.
    """

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
        pool = self._client.connection_pool
        parameters = {"connection_class": pool.connection_class, **pool.connection_kwargs}
        self.address, self.db = address_of(parameters), database_of(parameters)
        self._prefix = key_prefix
        self._caller = Caller(pool)
        self._scripts = {name: read_script(name, key_prefix) for name in SCRIPTS}
        self._scripts["push"] = read_script("push", key_prefix, str(self.db))

    def create(self, record: Record, *, lifetime: float | None) -> str | None:
        return cast("str | None", self._call("create", *_new(record, lifetime)))

    def create_many(self, records: Sequence[Record], *, lifetimes: Sequence[float | None]) -> list[str | None]:
        with _DOOR:
            calls = [_new(record, lifetime) for record, lifetime in zip(records, lifetimes, strict=True)]
            answers = self._call_many("create", calls, again=lambda call: call)
        for answer in answers:
            if isinstance(answer, StoreError):
                raise answer
        return cast("list[str | None]", answers)

    def create_and_push(self, entries: Sequence[Entry]) -> list[str | StoreError | None]:
        """Keep new records, each as `create` does, and push the message of each that is kept into its list, at once.

        Return what `create` would of each, or an error. An AnswerMissing leaves it open whether the entry was kept and pushed;
        after any other, it was neither. Raise StoreError for a text that cannot be sent, before anything is.
        """
        with _DOOR:
            return self._call_many("push", [self._pushed(*entry) for entry in entries], again=_if_not_done)

    def discard(self, result_id: str) -> None:
        self._call("discard", _member(result_id))

    def claim(self, seed: Record, attempt: Attempt, *, lifetime: float | None) -> Record | None:
        return self._change(
            "claim",
            seed,
            _member(seed.id),
            _milliseconds(lifetime),
            attempt.token,
            attempt.worker_id,
            to_text(attempt.at),
            str(attempt.retries),
            "1" if attempt.redelivered else "",
            attempt.lease,
            error_text(TAKEN_OVER) if attempt.redelivered else "",
        )

    def settle(self, seed: Record, outcome: Outcome, *, lifetime: float | None) -> Record | None:
        return self._change(
            "settle",
            seed,
            _member(seed.id),
            _milliseconds(lifetime),
            str(outcome.attempt) if outcome.attempt is not None else "",
            outcome.worker_id or "",
            str(outcome.retries),
            *_ending(outcome),
        )

    def get(self, result_id: str) -> Record | None:
        with _DOOR:
            fields = self._caller.ask(pack("HGETALL", f"{self._prefix}result:{_member(result_id)}"))
        # A list of pairs, before the third version of the protocol.
        return record_of(result_id, fields if isinstance(fields, dict) else pairs_of(fields))

    def holder(self, unique: str) -> str | None:
        return cast("str | None", self._call("holder", unique))

    def enqueued(self, result_ids: Sequence[str], *, at: datetime) -> list[str]:
        return []

    def cancel(self, result_id: str, outcome: Outcome) -> Record | None:
        return told(result_id, self._call("cancel", _member(result_id), *_ending(outcome)))

    def next_due(self) -> datetime | None:
        return from_microseconds(self._call("next_due"))

    def take_due(self, *, before: datetime, until: datetime, limit: int) -> list[Record]:
        later = (to_text(until), milliseconds_of(until), microseconds_of(until))
        return records_of(self._call("take_due", microseconds_of(before), str(limit), *later))

    def sent(self, result_ids: Sequence[str], *, at: datetime) -> None:
        self._call("sent", to_text(at), milliseconds_of(at), *map(_member, result_ids))

    def hold(self, lease: str, holder: str, *, seconds: float) -> bool:
        return bool(self._call("hold", lease, holder, _milliseconds(seconds)))

    def release(self, lease: str, holder: str) -> None:
        self._call("release", lease, holder)

    def waiting(self, *, before: datetime) -> Mapping[str, int]:
        flat: Iterable[str] = self._call("waiting", milliseconds_of(before))
        return {queue: int(count) for queue, count in pairs_of(flat).items()}

    def overdue(self, queue_name: str, *, before: datetime, limit: int) -> list[Record]:
        return records_of(self._call("overdue", queue_name, milliseconds_of(before), str(limit)))

    def expired(self, *, before: datetime, limit: int) -> list[Record]:
        return records_of(self._call("expired", milliseconds_of(before), str(limit)))

    def abandoned(self, *, limit: int) -> list[Record]:
        return records_of(self._call("abandoned", str(limit)))

    def resend(self, record: Record, *, due: datetime, lifetime: float | None) -> bool:
        args = (_member(record.id), _milliseconds(lifetime), str(record.resent), to_text(due), milliseconds_of(due))
        return bool(self._call("resend", *args))

    def tidy(self) -> None:
        self._call("tidy")

    def _pushed(self, record: Record, lifetime: float | None, db: int, key: str, text: str) -> tuple[str, ...]:
        return "" if db == self.db else str(db), key, text, "", *_new(record, lifetime)

    def _change(self, script: str, seed: Record, *args: str) -> Record | None:
        """Return the record as the script leaves it, which is given the seed only where there is no record yet."""
        text = self._call(script, *args)
        if text == _NO_RECORD:
            text = self._call(script, *args, *seed_of(seed))
        return told(seed.id, text)

    def _call(self, script: str, *args: str) -> Any:
        with _DOOR:
            return self._caller.call(self._scripts[script], args)

    def _call_many(
        self, script: str, calls: Sequence[Call], *, again: Callable[[Sequence[str]], Sequence[str]]
    ) -> list[Any]:
        """Return the answers of a script, a StoreError in place of each that is not one."""
        answers: list[Any] = []
        for chunk in _chunks(calls):
            try:
                answers += self._caller.call_many(self._scripts[script], chunk, again)
            except redis.RedisError as error:
                # There is no connection: nobody asks for another one with what is left.
                answers += [error] * (len(calls) - len(answers))
                break
        return [_error_of(each) if isinstance(each, redis.RedisError | Missing) else each for each in answers]


def _new(record: Record, lifetime: float | None) -> Call:
    return _member(record.id), _milliseconds(lifetime), *seed_of(record), *places_of(record)


def _if_not_done(call: Sequence[str]) -> Sequence[str]:
    """Return a call of push.lua that does nothing where there is a record already."""
    return (*call[:3], "1", *call[4:])


def _chunks(calls: Sequence[Call]) -> Iterator[list[Call]]:
    chunk: list[Call] = []
    length = 0
    for call in calls:
        chunk.append(call)
        length += sum(map(len, call))
        if len(chunk) == CHUNK or length >= CHUNK_LENGTH:
            yield chunk
            chunk, length = [], 0
    if chunk:
        yield chunk


def _ending(outcome: Outcome) -> tuple[str, ...]:
    """Return an outcome as the scripts take it."""
    again = outcome.status == "READY"
    due = (outcome.due or outcome.at) if again else None
    return (
        outcome.token,
        outcome.status,
        to_text(outcome.at),
        error_text(outcome.error) if outcome.error else "",
        json.dumps(outcome.return_value) if outcome.status == "SUCCESSFUL" else "",
        to_text(due) or "",
        milliseconds_of(due),
        "1" if outcome.retry else "",
        error_text(CANCELLED) if again else "",
    )


def _member(result_id: str) -> str:
    # Escaped, for an id may be any text, and half a surrogate pair is no UTF-8.
    return result_id.encode(errors="backslashreplace").decode()


def _milliseconds(lifetime: float | None) -> str:
    return "" if lifetime is None else str(max(1, int(lifetime * 1000)))


class _Door:
    """Lets nothing of Redis out but StoreError. A class: a context manager made of a generator costs a microsecond a call."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, redis.RedisError):
            raise _error_of(error) from error
        if isinstance(error, UnicodeEncodeError):
            raise StoreError(
                f"Redis holds texts that are UTF-8, and this is not: {ascii(error.object)[:80]}."
            ) from error


_DOOR = _Door()


def _error_of(error: redis.RedisError | Missing) -> StoreError:
    advice = "Check OPTIONS['RESULTS'] or the Celery result backend, and that Redis runs."
    if isinstance(error, Missing):
        known: StoreError = AnswerMissing(
            f"The store of task results (Redis) was asked, and its answer is missing: {error.error}. What was asked may have "
            f"been done, or not. {advice}"
        )
        known.__cause__ = error.error
        return known
    known = StoreError(f"The store of task results (Redis) did not do what was asked: {error}. {advice}")
    known.__cause__ = error
    return known
