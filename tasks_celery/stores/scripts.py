"""Both. Lua scripts in Redis, called over the connections of redis-py with as little as possible around them.

redis-py's own client takes about as long for a command as the server, the network and its connection together: for its
pool, which asks each connection whether it still stands, for its retries, metrics and packing. Here a connection that does
not stand is found as it is used, and the call is made again over a new one, which each script has to bear.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import redis

LUA = Path(__file__).parent / "lua"

SCRIPTS = [
    "abandoned", "cancel", "claim", "create", "discard", "expired", "hold", "holder", "next_due", "overdue", "push", "release",
    "resend", "sent", "settle", "take_due", "tidy", "waiting",
]  # fmt: skip
# Those whose call makes no functions but what making a record takes.
SHORT = {"create", "push", "hold", "holder", "release"}


@dataclass(frozen=True, slots=True)
class Script:
    """One script with its first arguments, which are always the same, as they go over the wire."""

    text: str
    constants: tuple[str, ...]
    _head: bytes = field(init=False)

    def __post_init__(self) -> None:
        sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "_head", _pack_each(("EVALSHA", sha, "0", *self.constants)))

    def pack(self, args: Sequence[str]) -> bytes:
        """Return a call of the script as it goes over the wire. Raise UnicodeEncodeError for half a surrogate pair."""
        return b"*%d\r\n%b%b" % (3 + len(self.constants) + len(args), self._head, _pack_each(args))


@cache
def read_script(name: str, *constants: str) -> Script:
    """Return the script of a file in ``lua/``, with what it shares with others before it."""
    shared = ("common",) if name in SHORT else ("common", "changes")
    return Script("".join((LUA / f"{part}.lua").read_text() for part in (*shared, name)), constants)


@dataclass(frozen=True, slots=True)
class Missing:
    """In place of an answer that did not come: what was asked may have been done, or not."""

    error: redis.RedisError


class Caller:
    """Calls scripts over connections of its own, each for one caller at a time; a forked child makes new ones.

    Raises redis-py's exceptions. A call whose connection broke is made once more; not one whose answer took too long.
    """

    def __init__(self, pool: redis.ConnectionPool) -> None:
        self._pool = pool
        self._idle: list[Any] = []  # of redis.Connection, whose own calls are not typed
        self._pid = os.getpid()

    def call(self, script: Script, args: Sequence[str]) -> Any:
        """Return the answer of a script."""
        packed = script.pack(args)
        try:
            return self.ask(packed)
        except redis.exceptions.NoScriptError:
            self.ask(pack("SCRIPT", "LOAD", script.text))
            return self.ask(packed)

    def call_many(
        self, script: Script, calls: Sequence[Sequence[str]], again: Callable[[Sequence[str]], Sequence[str]]
    ) -> list[Any]:
        """Return the answers of many calls that are sent at once: also errors of the server, and what is Missing.

        `again` makes a call of which nobody knows whether it has been done one that does it only if not. Raise where
        there is no connection, and so nothing has been done.
        """
        answers = self._exchange([script.pack(args) for args in calls])
        lost = {each for each, answer in enumerate(answers) if _has_no_connection(answer)}
        unknown = {each for each, answer in enumerate(answers) if isinstance(answer, redis.exceptions.NoScriptError)}
        if places := sorted(lost | unknown):
            repeats = [again(calls[each]) if each in lost else calls[each] for each in places]
            for each, answer in zip(places, self._repeat(script, repeats), strict=False):
                # An error now does not say that the first time nothing was done.
                if each in unknown or not isinstance(answer, redis.ResponseError):
                    answers[each] = answer
        return answers

    def _repeat(self, script: Script, calls: Sequence[Sequence[str]]) -> list[Any]:
        """Return the answers of a script that may have to be loaded; none where there is no connection any more."""
        try:
            self.ask(pack("SCRIPT", "LOAD", script.text))
            return self._exchange([script.pack(args) for args in calls])
        except redis.RedisError:
            return []

    def ask(self, packed: bytes) -> Any:
        """Return the answer to one command."""
        try:
            return self._ask_over(self._take(), packed)
        except redis.ConnectionError:
            self._idle.clear()  # they are likely to be broken too
            return self._ask_over(self._take(), packed)

    def _ask_over(self, connection: Any, packed: bytes) -> Any:
        connection.send_packed_command((packed,))
        try:
            answer = connection.read_response()
        except redis.ResponseError:
            self._idle.append(connection)
            raise
        self._idle.append(connection)
        return answer

    def _exchange(self, packed: Sequence[bytes]) -> list[Any]:
        connection = self._take()
        answers: list[Any] = []
        try:
            connection.send_packed_command((b"".join(packed),))
            while len(answers) < len(packed):
                answers.append(_answer(connection))
        except redis.RedisError as error:
            self._idle.clear()
            answers += [Missing(error)] * (len(packed) - len(answers))
        else:
            self._idle.append(connection)
        return answers

    def _take(self) -> Any:
        if self._pid != os.getpid():
            self._idle, self._pid = [], os.getpid()
        try:
            return self._idle.pop()
        except IndexError:
            connection: Any = self._pool.make_connection()
            connection.connect()
            return connection


def _answer(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error


def _has_no_connection(answer: Any) -> bool:
    return isinstance(answer, Missing) and isinstance(answer.error, redis.ConnectionError)


def pack(*args: str) -> bytes:
    """Return a command as it goes over the wire. Raise UnicodeEncodeError for half a surrogate pair."""
    return b"*%d\r\n%b" % (len(args), _pack_each(args))


def _pack_each(args: Sequence[str]) -> bytes:
    # As one text, unless its letters and bytes are not as many.
    text = "".join([f"${len(arg)}\r\n{arg}\r\n" for arg in args])
    if text.isascii():
        return text.encode()
    encoded = [arg.encode() for arg in args]
    return b"".join([b"$%d\r\n%b\r\n" % (len(each), each) for each in encoded])
