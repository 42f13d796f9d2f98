"""Both. Events in Redis or Valkey: a stream and its top for each user, changed by one Lua call for each event.

The scripts are in ``lua/``; they make the names of their keys themselves, so Redis Cluster is no place for events, as it is
none for Celery. With an append-only file, all that was acknowledged is there after the server was killed. A server that comes
back without one, and a replica that takes over, may have forgotten the last events: there each stream begins another epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from secrets import token_hex
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tasks_celery.channels.log.base import (
    READ_AT_ONCE,
    Cursor,
    Entry,
    EventLogError,
    Position,
    Slice,
    slice_of,
)
from tasks_celery.stores.address import redis_url
from tasks_celery.stores.scripts import Caller, Missing, Script

LUA = Path(__file__).parent / "lua"
# What is sent at once: an event has at most 8 kB, and a server that is slow to take them makes others wait.
CHUNK = 100
# Streams that one call is asked for; nobody else is served meanwhile.
TOPS = 1_000
# As far as milliseconds may be counted; some 30 years.
LONGEST = 10**12

Call = tuple[str, ...]
T = TypeVar("T")


class RedisLog:
    """Keeps events in Redis; connects on first use and again after a fork. `timeout` is for two waits, in seconds."""

    def __init__(self, url: str, *, key_prefix: str, keep: int, keep_for: float, timeout: float) -> None:
        client = redis.Redis.from_url(
            redis_url(url),
            decode_responses=True,
            socket_timeout=timeout / 2,
            socket_connect_timeout=timeout / 2,
            retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
        )
        self._caller = Caller(client.connection_pool)
        lifetime = max(1, int(min(keep_for * 1000, LONGEST)))
        self._append, self._read, self._tops = (
            _script(name, key_prefix, str(keep), str(lifetime)) for name in ("append", "read", "tops")
        )

    def append(self, entries: Sequence[Entry], *, again: bool = False) -> list[Position | EventLogError | None]:
        calls = [(entry.stream, _new_epoch(), entry.key, entry.body, "1" if again else "") for entry in entries]
        answers = self._ask(self._append, [call for call in calls if _is_utf8(call)], again=_if_not_there)
        kept = iter(answers)
        return [_position_of(next(kept)) if _is_utf8(call) else _refused(call) for call in calls]

    def read(self, cursors: Sequence[Cursor]) -> list[Slice]:
        answers = self._ask(self._read, [_reading(cursor) for cursor in cursors])
        return [_slice(_known(answer), cursor) for answer, cursor in zip(answers, cursors, strict=True)]

    def tops(self, streams: Sequence[str]) -> list[Position | None]:
        calls = [tuple(map(_plain, some)) for some in _chunks(streams, TOPS)]
        answers = self._ask(self._tops, calls)
        return [_told(text) for answer in answers for text in _known(answer)]

    def tidy(self) -> None:
        """Do nothing: Redis forgets by itself, and each event that comes makes room."""

    def _ask(
        self, script: Script, calls: Sequence[Call], *, again: Callable[[Any], Call] = lambda call: call
    ) -> list[Any]:
        """Return the answers of a script, an EventLogError in place of each that is not one."""
        answers: list[Any] = []
        for chunk in _chunks(calls, CHUNK):
            try:
                answers += self._caller.call_many(script, chunk, again)
            except redis.RedisError as error:
                # There is no connection: nobody asks for another one with what is left.
                answers += [error] * (len(calls) - len(answers))
                break
        return [_error_of(each) if isinstance(each, redis.RedisError | Missing) else each for each in answers]


def _script(name: str, *constants: str) -> Script:
    return Script("".join((LUA / f"{part}.lua").read_text() for part in ("common", name)), constants)


def _new_epoch() -> str:
    return token_hex(6)


def _if_not_there(call: Call) -> Call:
    """Return a call of append.lua that tells the position of an event that is there already."""
    return (*call[:-1], "1")


def _reading(cursor: Cursor) -> Call:
    epoch, seq = (cursor.since.epoch, str(cursor.since.seq)) if cursor.since else ("", "")
    return _plain(cursor.stream), _new_epoch(), _plain(epoch), seq, str(READ_AT_ONCE)


def _slice(answer: Sequence[str], cursor: Cursor) -> Slice:
    epoch, seq, oldest, *bodies = answer
    top = Position(epoch, int(seq))
    return slice_of(top, int(oldest), cursor.since) or Slice(top, tuple(bodies))


def _told(text: str | None) -> Position | None:
    if text is None:
        return None
    epoch, _, seq = text.rpartition(":")
    return Position(epoch, int(seq))


def _position_of(answer: str | EventLogError) -> Position | EventLogError | None:
    return answer if isinstance(answer, EventLogError) else _told(answer)


def _known(answer: Any) -> Sequence[Any]:
    if isinstance(answer, EventLogError):
        raise answer
    return answer  # type: ignore[no-any-return]


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _plain(text: str) -> str:
    # A page may name any epoch, and half a surrogate pair is no UTF-8.
    return text.encode(errors="backslashreplace").decode()


def _is_utf8(call: Call) -> bool:
    try:
        "".join(call).encode()
    except UnicodeEncodeError:
        return False
    return True


def _refused(call: Call) -> EventLogError:
    return EventLogError(
        f"The event {ascii(call[2])[:80]} is not kept: Redis holds texts that are UTF-8, and this is not."
    )


def _error_of(error: redis.RedisError | Missing) -> EventLogError:
    advice = "Check TASK_EVENTS['LOG'], or where the records of tasks are, and that Redis runs."
    if isinstance(error, Missing):
        known = EventLogError(
            f"The log of events (Redis) was asked, and its answer is missing: {_said(error.error)}. What was asked may have been done, "
            f"or not. {advice}"
        )
        known.__cause__ = error.error
        return known
    known = EventLogError(f"The log of events (Redis) did not do what was asked: {_said(error)}. {advice}")
    known.__cause__ = error
    return known


def _said(error: redis.RedisError) -> str:
    return str(error).removesuffix(".")
