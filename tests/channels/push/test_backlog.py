from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest

from tasks_celery.channels.log import EventLogError
from tasks_celery.channels.push import backlog as backlog_module
from tasks_celery.channels.push.backlog import THREAD_NAME, Backlog, Kept
from tasks_celery.exceptions import OptionsError
from tests.channels.helpers import UnsteadyLog, entry, until

AWAY = EventLogError("Redis does not answer.")
Make = Callable[..., Backlog]


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> UnsteadyLog:
    log = UnsteadyLog()
    monkeypatch.setattr(backlog_module, "find_log", lambda *, owner: log)
    # Not the waits that a log of a process's life deserves.
    monkeypatch.setattr(backlog_module, "FIRST_WAIT", 0.005)
    monkeypatch.setattr(backlog_module, "LONGEST_WAIT", 0.02)
    return log


@pytest.fixture
def kept() -> list[Kept]:
    """What was handed on, in order."""
    return []


@pytest.fixture
def make(log: UnsteadyLog, kept: list[Kept]) -> Iterator[Make]:
    """Make backlogs that end with the test."""
    made: list[Backlog] = []

    def make(hand_on: Callable[[Sequence[Kept]], None] = kept.extend, **limits: int) -> Backlog:
        made.append(Backlog(hand_on, **limits))
        return made[-1]

    yield make
    for each in made:
        each.stop(1)
    until(lambda: not threads(), what="no thread is left")


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]


def keys(kept: list[Kept]) -> list[str]:
    return [entry.key for entry, _ in kept]


# --- what goes wrong --------------------------------------------------------------------------------------


def test_while_the_log_is_away_events_wait_and_then_are_handed_on_in_order(
    make: Make, log: UnsteadyLog, kept: list[Kept], caplog: pytest.LogCaptureFixture
) -> None:
    log.is_away = True
    backlog = make()
    backlog.put([entry(1), entry(1, "other")], AWAY)
    backlog.put([entry(2)])
    until(lambda: len(log.calls) >= 3)
    assert not backlog.flush(0.02)
    assert (backlog.waiting, backlog.lost, backlog.is_empty, kept) == (3, 0, False, [])
    log.is_away = False
    assert backlog.flush(5)
    epochs = {answer.epoch for _, answer in kept if answer}
    assert keys(kept) == ["1", "1", "2"]
    assert [answer and answer.seq for _, answer in kept] == [1, 1, 2]
    assert len(epochs) == 2
    assert backlog.is_empty
    until(lambda: len(caplog.records) == 2)
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    first, last = (record.getMessage() for record in caplog.records)
    assert first.startswith("The event of task id=1 waits in memory")
    assert "Redis does not answer." in first
    assert last == "The log of events takes events again; 3 waited meanwhile."


def test_what_the_log_took_without_an_answer_is_not_kept_twice(make: Make, log: UnsteadyLog, kept: list[Kept]) -> None:
    (answered,) = log.append([entry(1)])
    backlog = make()
    backlog.put([entry(1)], AWAY)
    assert backlog.flush(5)
    assert kept == [(entry(1), answered)]
    assert log.keys_of() == ["1"]
    assert all(again for _, again in log.calls[1:])


def test_waits_grow_to_a_bound_and_begin_anew_once_the_log_is_back(
    make: Make, log: UnsteadyLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    class Pause:
        def acquire(self, *, timeout: float | None = None) -> bool:
            if timeout is not None:
                waits.append(timeout)
            log.is_away = len(waits) % 7 != 0
            if timeout is None:
                stopped.wait(5)
            return True

        def locked(self) -> bool:
            return False

    stopped = threading.Event()
    for name, value in {"FIRST_WAIT": 0.1, "LONGEST_WAIT": 2.0}.items():
        monkeypatch.setattr(backlog_module, name, value)
    monkeypatch.setattr(random, "uniform", lambda low, high: (low, high) == (0.5, 1) and 1.0)
    log.is_away = True
    backlog = make()
    backlog._pause = Pause()  # type: ignore[assignment]
    backlog.put([entry()], AWAY)
    until(lambda: backlog.is_empty)
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    backlog._is_stopping = True
    stopped.set()


def test_where_too_many_wait_the_rest_is_lost_and_that_is_told_once(
    make: Make, log: UnsteadyLog, kept: list[Kept], caplog: pytest.LogCaptureFixture
) -> None:
    log.is_away = True
    backlog = make(limit=3)
    backlog.put([entry(1), entry(2)], AWAY)
    backlog.put([entry(3), entry(4), entry(5)])
    backlog.put([entry(6)])
    assert (backlog.waiting, backlog.lost) == (3, 3)
    log.is_away = False
    assert backlog.flush(5)
    assert keys(kept) == ["1", "2", "3"]
    (error,) = (record.getMessage() for record in caplog.records if record.levelno == logging.ERROR)
    assert error.startswith("The event of task id=4 and those after it are lost: 3 wait")


def test_an_event_that_the_log_refuses_holds_up_no_other_and_is_given_up(
    make: Make, log: UnsteadyLog, kept: list[Kept], caplog: pytest.LogCaptureFixture
) -> None:
    log.refused = {"bad"}
    backlog = make()
    backlog.put([entry("bad"), entry(1)], AWAY)
    until(lambda: keys(kept) == ["1"])
    assert backlog.lost == 0
    number = 1
    while backlog.lost == 0:
        number += 1
        backlog.put([entry(number)])
        until(lambda: keys(kept)[-1] == str(number))  # noqa: B023 - called at once
    assert backlog.flush(5)
    assert number >= 5
    assert [message for message in caplog.messages if "refuses" in message] == [
        "The event of task id=bad is lost, as the log of events refuses it: It is away."
    ]


def test_alone_it_is_kept_as_the_log_may_be_away(make: Make, log: UnsteadyLog) -> None:
    log.refused = {"bad"}
    backlog = make()
    backlog.put([entry("bad")], AWAY)
    until(lambda: len(log.calls) > 10)
    assert (backlog.waiting, backlog.lost) == (1, 0)
    log.refused = set()
    assert backlog.flush(5)


def test_settings_that_name_no_log_are_a_log_that_is_away(
    make: Make, log: UnsteadyLog, kept: list[Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str] = []

    def find_log(*, owner: str) -> UnsteadyLog:
        found.append(owner)
        if len(found) < 3:
            raise OptionsError("TASK_EVENTS is 7")
        return log

    monkeypatch.setattr(backlog_module, "find_log", find_log)
    backlog = make()
    backlog.put([entry()], AWAY)
    assert backlog.flush(5)
    assert keys(kept) == ["1"]
    assert set(found) == {f"{THREAD_NAME} {backlog_module.os.getpid()}"}


def test_what_is_not_logged_at_the_end_is_told_with_its_tasks(
    make: Make, log: UnsteadyLog, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog_module, "IDS_AT_ONCE", 2)
    log.is_away = True
    backlog = make()
    backlog.put([entry("a"), entry("a", "other"), entry("b"), entry("c")], AWAY)
    before = time.monotonic()
    assert not backlog.stop(0.05)
    assert time.monotonic() - before < 1
    assert (backlog.waiting, backlog.lost) == (0, 4)
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert ["id=a, b;" in errors[0], "id=c;" in errors[1], len(errors)] == [True, True, 2]
    caplog.clear()
    backlog.put([entry("d")])
    assert backlog.lost == 5
    assert "task id=d and those after it are lost" in caplog.text


def test_an_answer_that_comes_after_the_end_hurts_nobody(make: Make, log: UnsteadyLog, kept: list[Kept]) -> None:
    log.waits = 0.05
    backlog = make()
    backlog.put([entry(1)], AWAY)
    until(lambda: bool(log.calls))
    assert not backlog.stop(0)
    until(lambda: not threads())
    assert keys(kept) == ["1"]


def test_a_thread_that_cannot_start_hurts_nobody_and_is_tried_again(
    make: Make, kept: list[Kept], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_more_threads(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("can't start new thread")

    backlog = make()
    with monkeypatch.context() as patched:
        patched.setattr(backlog_module, "start_thread", no_more_threads)
        backlog.put([entry(1)], AWAY)
    assert "can't start new thread" in caplog.text
    backlog.put([entry(2)])
    assert backlog.flush(5)
    assert keys(kept) == ["1", "2"]


def test_a_thread_that_ends_by_an_error_is_started_again(
    make: Make, kept: list[Kept], caplog: pytest.LogCaptureFixture
) -> None:
    outcomes: list[Any] = [lambda taken: 1 / 0, kept.extend, kept.extend]

    def hand_on(taken: Sequence[Kept]) -> None:
        outcomes.pop(0)(taken)

    backlog = make(hand_on)
    backlog.put([entry(1)], AWAY)
    until(lambda: not threads())
    assert "ZeroDivisionError" in caplog.text
    backlog.put([entry(2)])
    assert backlog.flush(5)
    assert keys(kept) == ["1", "2"]


# --- what works ---------------------------------------------------------------------------------------------


def test_nothing_is_started_before_the_first_entry(make: Make, log: UnsteadyLog) -> None:
    backlog = make()
    assert backlog.is_empty
    assert backlog.flush(0)
    assert backlog.stop(0)
    assert (threads(), log.calls) == ([], [])


def test_many_leave_in_few_calls(make: Make, log: UnsteadyLog, kept: list[Kept]) -> None:
    backlog = make()
    backlog.put([entry(number) for number in range(250)], AWAY)
    assert backlog.flush(5)
    assert log.calls == [(100, True), (100, True), (50, True)]
    assert keys(kept) == [*map(str, range(250))]


def test_nothing_seems_done_before_it_is_handed_on(make: Make) -> None:
    # Else what is published next would overtake it.
    states: list[bool] = []
    backlog = make(lambda taken: states.append(backlog.is_empty))
    backlog.put([entry()], AWAY)
    assert backlog.flush(5)
    assert states == [False]


def test_all_entries_of_all_threads_are_kept_once_and_in_the_order_of_each(
    make: Make, log: UnsteadyLog, kept: list[Kept]
) -> None:
    backlog = make()

    def produce(producer: int) -> None:
        for number in range(100):
            backlog.put([entry(f"{producer}/{number}")])

    producers = [threading.Thread(target=partial(produce, each)) for each in range(8)]
    for each in producers:
        each.start()
    for each in producers:
        each.join()
    assert backlog.flush(10)
    assert len(log.keys_of()) == 800
    assert keys(kept) == log.keys_of()
    for producer in range(8):
        mine = [int(key.partition("/")[2]) for key in log.keys_of() if key.startswith(f"{producer}/")]
        assert mine == list(range(100))


def test_it_sleeps_between_times_with_one_thread(make: Make, log: UnsteadyLog, kept: list[Kept]) -> None:
    backlog = make()
    for number in range(5):
        backlog.put([entry(number)], AWAY)
        until(lambda: backlog.is_empty and backlog._pause.locked())
    assert keys(kept) == ["0", "1", "2", "3", "4"]
    assert len(log.calls) == 5
    assert len(threads()) == 1


def test_its_connections_to_databases_are_closed_whenever_it_rests(
    make: Make, log: UnsteadyLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One that the other side has closed would fail for ever; and a thread that waits for nothing needs none.
    closed: list[str] = []

    def close_all() -> None:
        closed.append(threading.current_thread().name)

    monkeypatch.setattr(backlog_module.connections, "close_all", close_all)
    log.is_away = True
    backlog = make()
    backlog.put([entry()], AWAY)
    until(lambda: len(closed) >= 2)
    log.is_away = False
    assert backlog.flush(5)
    rested = len(closed)
    assert backlog.stop(5)
    until(lambda: len(closed) > rested)
    assert set(closed) == {THREAD_NAME}
