from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from django.db import connections

from tasks_celery.channels.listening import logreader
from tasks_celery.channels.listening.logreader import LOOK_TOGETHER, READ_TOGETHER, LogReader
from tasks_celery.channels.log import Cursor, EventLogError, Position, Slice
from tests.channels.listening.helpers import until


class Log:
    """Answers as the test lets it, and notes in which thread it was asked what."""

    def __init__(self) -> None:
        self.asked: list[list[Any]] = []
        self.threads: set[str] = set()
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.error: Exception | None = None

    def read(self, cursors: Sequence[Cursor]) -> list[Slice]:
        self._note(cursors)
        return [Slice(Position(cursor.stream, 1)) for cursor in cursors]

    def tops(self, streams: Sequence[str]) -> list[Position | None]:
        self._note(streams)
        return [Position(stream, 1) for stream in streams]

    def _note(self, asked: Sequence[Any]) -> None:
        self.asked.append(list(asked))
        self.threads.add(threading.current_thread().name)
        self.may_answer.wait(5)
        if self.error:
            raise self.error


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    log = Log()
    monkeypatch.setattr(logreader, "find_log", lambda owner: log)
    return log


@pytest.fixture
async def reader(log: Log) -> AsyncIterator[LogReader]:
    recoveries: list[int] = []
    reader = LogReader(lambda: recoveries.append(1))
    reader.recoveries = recoveries  # type: ignore[attr-defined]
    yield reader
    log.may_answer.set()
    await reader.close()


async def test_what_is_asked_while_an_answer_is_under_way_is_one_question_next(log: Log, reader: LogReader) -> None:
    log.may_answer.clear()
    first = [asyncio.create_task(reader.read(f"first {n}", None)) for n in range(2)]
    await until(lambda: len(log.asked) == 1)
    second = asyncio.create_task(reader.read("second", None))
    await until(lambda: len(log.asked) == 2)
    later = [asyncio.create_task(reader.read(f"later {n % 30}", None)) for n in range(120)]
    await asyncio.sleep(0.005)
    log.may_answer.set()
    await asyncio.gather(*first, second, *later)
    assert [len(asked) for asked in log.asked] == [2, 1, 30]
    assert all(name.startswith("tasks_celery.channels.listening.hub") for name in log.threads)


async def test_each_is_told_the_answer_to_their_own_question(reader: LogReader) -> None:
    streams = [f"stream {n}" for n in range(3 * READ_TOGETHER)]
    answers = await asyncio.gather(*(reader.read(stream, None) for stream in streams))
    assert [answer.top for answer in answers] == [Position(stream, 1) for stream in streams]


async def test_no_question_is_longer_than_the_log_answers_in_one_go(log: Log, reader: LogReader) -> None:
    await asyncio.gather(*(reader.read(f"stream {n}", None) for n in range(2 * READ_TOGETHER + 1)))
    assert max(map(len, log.asked)) == READ_TOGETHER
    log.asked.clear()
    streams = [f"stream {n}" for n in range(2 * LOOK_TOGETHER + 1)]
    assert list(await reader.tops(streams)) == streams
    assert list(map(len, log.asked)) == [LOOK_TOGETHER, LOOK_TOGETHER, 1]


async def test_who_leaves_takes_nobodys_answer_away(log: Log, reader: LogReader) -> None:
    log.may_answer.clear()
    leaving, staying = (asyncio.create_task(reader.read("one", None)) for _ in range(2))
    await until(lambda: log.asked)
    leaving.cancel()
    log.may_answer.set()
    assert (await staying).top == Position("one", 1)


@pytest.mark.parametrize("error", [EventLogError("It is away."), ZeroDivisionError("a mistake of ours")])
async def test_every_error_is_one_of_the_logs_and_told_once(
    error: Exception, log: Log, reader: Any, caplog: pytest.LogCaptureFixture
) -> None:
    log.error = error
    for _ in range(3):
        with pytest.raises(EventLogError, match=str(error)):
            await reader.read("one", None)
        with pytest.raises(EventLogError):
            await reader.tops(["one"])
    assert caplog.text.count("does not answer") == 1
    assert reader.recoveries == []
    log.error = None
    await reader.read("one", None)
    await reader.read("one", None)
    assert reader.recoveries == [1]


async def test_connections_to_databases_are_looked_after_around_each_question(
    reader: LogReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    monkeypatch.setattr(logreader, "close_old_connections", lambda: looks.append(threading.get_ident()))
    await reader.tops(["one"])
    assert len(looks) == 2
    assert threading.get_ident() not in looks


async def test_at_the_end_each_thread_leaves_its_databases(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: set[int] = set()
    monkeypatch.setattr(connections, "close_all", lambda: closed.add(threading.get_ident()), raising=False)
    reader = LogReader(lambda: None)
    await reader.tops(["one"])
    await reader.allowed([])
    await reader.close()
    await until(lambda: len(closed) == logreader.THREADS + 1)
