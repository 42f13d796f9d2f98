from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from redis.exceptions import ConnectionError as LostConnection

from tasks_celery.channels.push import sender as sender_module
from tasks_celery.channels.push.outbox import Push
from tasks_celery.channels.push.sender import THREAD_NAME, Counters, Limits, Sender
from tests.channels.helpers import FakeLayer, push, until

Make = Callable[..., Sender]


@pytest.fixture
def make() -> Iterator[Make]:
    """Make senders that end with the test."""
    made: list[Sender] = []

    def make(layer: Any, **limits: Any) -> Sender:
        made.append(Sender(layer if callable(layer) else lambda: layer, Limits(**limits)))
        return made[-1]

    yield make
    for each in made:
        each.stop(5)
    until(lambda: not threads(), what="no thread is left")


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]


def told(layer: FakeLayer, group: str | None = None) -> list[str]:
    return [json.loads(each["text"])["data"]["id"] for each in layer.envelopes(group)]


# --- what goes wrong --------------------------------------------------------------------------------------


def test_where_too_many_wait_events_are_dropped_and_that_is_told_at_its_start_and_end(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    layer = FakeLayer()
    layer.is_open = False
    sender = make(layer, queue=4, batch=1, in_flight=1)
    sender.put("a", push("first"))
    until(lambda: layer.attempts == 1)
    for number in range(7):
        sender.put("a", push(number))
    assert sender.counters() == Counters(dropped=3, queued=4)
    layer.is_open = True
    assert sender.flush(5)
    assert told(layer) == ["first", "0", "1", "2", "3"]
    assert sender.counters() == Counters(sent=5, dropped=3)
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    first, last = (record.getMessage() for record in caplog.records)
    assert first.startswith("The event of task id=4 and those after it are not pushed: 4 wait")
    assert "3 were not pushed" in last


def test_a_lost_connection_is_tried_again_once(make: Make) -> None:
    layer = FakeLayer(LostConnection("Connection closed by server."))
    sender = make(layer)
    sender.put("a", push())
    assert sender.flush(5)
    assert sender.counters() == Counters(sent=1, retried=1)


def test_a_second_failure_is_the_last(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    layer = FakeLayer(ConnectionResetError(), BrokenPipeError("gone"))
    sender = make(layer)
    sender.put("a", push(42))
    assert sender.flush(5)
    assert layer.attempts == 2
    assert sender.counters() == Counters(failed=1, retried=1)
    assert "id=42 could not be sent: BrokenPipeError: gone" in caplog.text


def test_what_is_no_lost_connection_is_not_tried_again(make: Make) -> None:
    layer = FakeLayer(TypeError("can not serialize"))
    sender = make(layer)
    sender.put("a", push())
    assert sender.flush(5)
    assert layer.attempts == 1
    assert sender.counters() == Counters(failed=1)


def test_a_layer_that_does_not_answer_is_given_up_at_the_deadline(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    layer = FakeLayer()
    layer.is_open = False
    sender = make(layer, deadline=0.05)
    before = time.monotonic()
    sender.put("a", push())
    assert sender.flush(5)
    assert time.monotonic() - before < 2
    assert sender.counters() == Counters(failed=1)
    assert "TimeoutError" in caplog.text


def test_many_failures_are_two_lines_and_the_second_counts_them(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    layer = FakeLayer(*[ValueError("no")] * 5)
    sender = make(layer, batch=1)
    for number in range(6):
        sender.put("a", push(number))
    assert sender.flush(5)
    assert sender.counters() == Counters(sent=1, failed=5)
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert "takes events again; 5 could not be sent" in caplog.text


def test_a_layer_that_cannot_be_made_fails_events_and_is_tried_again(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    layer = FakeLayer()
    outcomes: list[Any] = [ModuleNotFoundError("pip install 'tasks-celery[channels]'"), layer]

    def open_layer() -> FakeLayer:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome  # type: ignore[no-any-return]

    sender = make(open_layer)
    sender.put("a", push(1))
    assert sender.flush(5)
    sender.put("a", push(2))
    assert sender.flush(5)
    assert told(layer) == ["2"]
    assert "pip install 'tasks-celery[channels]'" in caplog.text


def test_a_thread_that_cannot_start_hurts_nobody_and_is_tried_again(
    make: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = FakeLayer()
    sender = make(layer)

    def no_more_threads(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(sender_module, "start_thread", no_more_threads)
        sender.put("a", push(1))
    assert "can't start new thread" in caplog.text
    sender.put("a", push(2))
    assert sender.flush(5)
    assert told(layer) == ["1", "2"]


def test_a_thread_that_ends_by_an_error_is_started_again(
    make: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = FakeLayer()
    sender = make(layer)
    with monkeypatch.context() as patched:
        patched.setattr(sender._outbox, "take", lambda: 1 / 0)
        sender.put("a", push(1))
        until(lambda: "ended; the next event starts it again" in caplog.text)
        until(lambda: not threads())
    sender.put("a", push(2))
    assert sender.flush(5)
    assert told(layer) == ["1", "2"]


def test_flush_gives_up_in_time(make: Make) -> None:
    layer = FakeLayer()
    layer.is_open = False
    sender = make(layer)
    sender.put("a", push())
    before = time.monotonic()
    assert not sender.flush(0.05)
    assert time.monotonic() - before < 1
    layer.is_open = True


def test_what_comes_after_the_end_is_dropped(make: Make) -> None:
    sender = make(FakeLayer())
    sender.put("a", push())
    assert sender.stop(5)
    sender.put("a", push())
    assert sender.counters() == Counters(sent=1, dropped=1)
    assert threads() == []


def test_a_loop_that_ended_first_hurts_nobody(make: Make) -> None:
    sender = make(FakeLayer())
    sender.put("a", push())
    assert sender.stop(5)
    sender._wake()


# --- what works ---------------------------------------------------------------------------------------------


def test_nothing_is_started_before_the_first_event(make: Make) -> None:
    sender = make(lambda: pytest.fail("no layer is needed"))
    assert sender.flush(0)
    assert sender.stop(0)
    assert threads() == []


def test_all_events_of_all_threads_arrive_in_the_order_of_each(make: Make) -> None:
    layer = FakeLayer()
    sender = make(layer)

    def produce(producer: int) -> None:
        for number in range(200):
            sender.put("abc"[number % 3], push(f"{producer}/{number}"))

    producers = [threading.Thread(target=partial(produce, each)) for each in range(8)]
    for each in producers:
        each.start()
    for each in producers:
        each.join()
    assert sender.flush(10)
    assert sender.counters() == Counters(sent=1600)
    for producer in range(8):
        for remainder, group in enumerate("abc"):
            mine = [int(each.partition("/")[2]) for each in told(layer, group) if each.startswith(f"{producer}/")]
            assert mine == list(range(remainder, 200, 3))


def test_events_that_wait_leave_together(make: Make) -> None:
    layer = FakeLayer()
    layer.is_open = False
    sender = make(layer)
    sender.put("a", push("first"))
    until(lambda: layer.attempts == 1)
    for number in range(120):
        sender.put("a", push(number))
    layer.is_open = True
    assert sender.flush(5)
    assert [len(message["envelopes"]) for _, message in layer.sent] == [1, 50, 50, 20]


def test_a_message_goes_as_it_is_and_in_its_place(make: Make) -> None:
    layer = FakeLayer()
    sender = make(layer)
    message = {"type": "report.ready", "data": {"report": 7}}
    for each in (push(1), Push("7", message), push(2)):
        sender.put("a", each)
    assert sender.flush(5)
    assert layer.sent[1] == ("a", message)
    assert [json.loads(sent["envelopes"][0]["text"])["data"]["id"] for _, sent in layer.sent[::2]] == ["1", "2"]


def test_only_so_many_messages_are_under_way_and_one_of_a_group(make: Make) -> None:
    layer = FakeLayer()
    layer.is_open = False
    sender = make(layer, in_flight=8)
    for number in range(40):
        sender.put(f"group {number % 20}", push(number))
    until(lambda: layer.attempts == 8)
    layer.is_open = True
    assert sender.flush(5)
    assert layer.most_at_once == 8
    assert len(layer.envelopes()) == 40


def test_it_sleeps_between_events_and_is_woken_by_each(make: Make) -> None:
    layer = FakeLayer()
    sender = make(layer)
    for number in range(5):
        sender.put("a", push(number))
        assert sender.flush(5)
        until(lambda: sender._is_asleep)
    assert told(layer) == ["0", "1", "2", "3", "4"]
    assert len(threads()) == 1


def test_its_end_ends_the_thread(make: Make) -> None:
    layer = FakeLayer()
    sender = make(layer)
    sender.put("a", push())
    assert sender.stop(5)
    assert told(layer) == ["1"]
    until(lambda: not threads())


def test_the_first_leaves_at_once_and_what_follows_it_leaves_together_and_in_order(make: Make) -> None:
    layer = FakeLayer()
    sender = make(layer, gap=0.5)
    begun = time.monotonic()
    sender.put("a", push("first"))
    until(lambda: told(layer) == ["first"])
    assert time.monotonic() - begun < 0.5
    for number in range(3):
        sender.put("a", push(number))
        time.sleep(0.005)  # in which it would leave alone
    sender.put("b", push("of another group"))
    until(lambda: told(layer, "b") == ["of another group"])
    assert told(layer, "a") == ["first"]
    assert sender.flush(5)
    assert [len(message["envelopes"]) for group, message in layer.sent if group == "a"] == [1, 3]
    assert told(layer, "a") == ["first", "0", "1", "2"]
