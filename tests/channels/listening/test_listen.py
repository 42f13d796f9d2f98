from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from django.db import connections

from tasks_celery.channels.listening import listen
from tasks_celery.channels.listening.listen import Listener, find_listener
from tests.channels.listening.helpers import until


class Notified(NamedTuple):
    extra: bytes


class FakeServer:
    """What a psycopg connection is, as far as one who listens sees it; the other end is the test's."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.waiting: deque[Notified] = deque()
        self.autocommit = False
        self.is_closed = False
        self.pgconn = self
        self._ours, self._theirs = socket.socketpair()

    def execute(self, statement: str) -> None:
        self.said.append(statement)

    def fileno(self) -> int:
        return self._ours.fileno()

    def consume_input(self) -> None:
        if not self._ours.recv(4096):
            raise OSError("the server closed the connection")

    def notifies(self) -> Notified | None:
        return self.waiting.popleft() if self.waiting else None

    def close(self) -> None:
        self.is_closed = True
        self._ours.close()
        self._theirs.close()

    def notify(self, *streams: str) -> None:
        self.waiting.extend(Notified(stream.encode()) for stream in streams)
        self._theirs.send(b"x")

    def hang_up(self) -> None:
        self._theirs.close()


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[FakeServer]]:
    """Every connection that is made, in order."""
    made: list[FakeServer] = []

    def connect(self: Listener) -> FakeServer:
        made.append(FakeServer())
        return made[-1]

    monkeypatch.setattr(listen, "FIRST_PAUSE", 0.002)
    monkeypatch.setattr(Listener, "_open", connect)
    yield made
    for server in made:
        if not server.is_closed:
            server.close()


Hints = list[str | None]


async def test_each_stream_that_is_notified_is_a_hint_in_the_loop(servers: list[FakeServer]) -> None:
    hints: Hints = []
    loops: list[object] = []

    def hint(stream: str | None) -> None:
        hints.append(stream)
        loops.append(asyncio.get_running_loop())

    listener = Listener("default", hint)
    await until(lambda: hints == [None])
    assert (servers[0].said, servers[0].autocommit) == (["LISTEN tasks_celery_events"], True)
    servers[0].notify("one", "two")
    await until(lambda: hints == [None, "one", "two"])
    assert set(loops) == {asyncio.get_running_loop()}
    listener.stop()
    await until(lambda: servers[0].is_closed)


async def test_a_connection_that_is_lost_is_made_again_and_what_was_missed_meanwhile_is_looked_for(
    servers: list[FakeServer], caplog: pytest.LogCaptureFixture
) -> None:
    hints: Hints = []
    listener = Listener("default", hints.append)
    await until(lambda: hints == [None])
    servers[0].hang_up()
    await until(lambda: hints == [None, None])
    servers[1].notify("one")
    await until(lambda: hints[-1] == "one")
    assert servers[0].is_closed
    assert "cannot be listened to (the server closed the connection)" in caplog.text
    listener.stop()
    await until(lambda: servers[1].is_closed)


async def test_one_that_cannot_connect_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    def refuse(self: Listener) -> Any:
        tries.append(1)
        raise OSError("refused")

    monkeypatch.setattr(listen, "FIRST_PAUSE", 0.002)
    monkeypatch.setattr(Listener, "_open", refuse)
    listener = Listener("default", pytest.fail)
    await until(lambda: len(tries) > 2)
    listener.stop()
    await until(lambda: listener._ended.fileno() == -1)


@pytest.mark.parametrize("log", ["memory://", "redis://localhost:1/0", "database://", "database://default"])
async def test_only_a_postgres_is_listened_to(log: str, settings: Any) -> None:
    settings.TASK_EVENTS = {"LOG": log, "LAYER": None}
    assert find_listener(pytest.fail) is None


async def test_without_psycopg_3_it_is_not_there(
    servers: list[FakeServer], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TASK_EVENTS = {"LOG": "database://", "LAYER": None}
    monkeypatch.setattr(connections["default"], "vendor", "postgresql", raising=False)
    hints: Hints = []
    found = find_listener(hints.append)
    assert found
    await until(lambda: hints == [None])
    found.stop()
    await until(lambda: servers[0].is_closed)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert find_listener(pytest.fail) is None
