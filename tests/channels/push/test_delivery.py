from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction

from tasks_celery.channels.events import heard_in
from tasks_celery.channels.log import find_log
from tasks_celery.channels.push import backlog as backlog_module
from tasks_celery.channels.push import delivery as delivery_module
from tasks_celery.channels.push.delivery import Delivery
from tasks_celery.channels.push.sender import Counters, Limits
from tests.channels.helpers import FakeLayer, UnsteadyLog, entry, until

MESSAGE = {"type": "report.ready"}


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> UnsteadyLog:
    log = UnsteadyLog()
    for module in (delivery_module, backlog_module):
        monkeypatch.setattr(module, "find_log", lambda owner="": log)
    return log


@pytest.fixture
def layer(monkeypatch: pytest.MonkeyPatch) -> FakeLayer:
    layer = FakeLayer()
    monkeypatch.setattr(delivery_module, "open_layer", lambda alias: layer)
    return layer


@pytest.fixture
def delivery(log: UnsteadyLog, layer: FakeLayer) -> Iterator[Delivery]:
    delivery = Delivery(Limits(deadline=0.5))
    yield delivery
    layer.is_open, log.is_away = True, False
    delivery.stop(5)


def seqs(layer: FakeLayer, stream: str = "stream") -> list[int | None]:
    """Return the numbers of the events that were pushed to a stream, in order."""
    heard = [each for to, message in layer.sent if to == stream for each in heard_in(message)]
    assert [json.loads(each.text)["seq"] for each in heard] == [each.position and each.position.seq for each in heard]
    return [each.position and each.position.seq for each in heard]


# --- the log is away ----------------------------------------------------------------------------------------


def test_the_first_event_waits_for_the_log_and_those_after_it_do_not(
    delivery: Delivery, log: UnsteadyLog, layer: FakeLayer
) -> None:
    log.is_away, log.waits = True, 0.05
    delivery.publish([entry(0)])
    before = time.monotonic()
    for number in range(1, 100):
        delivery.publish([entry(number)])
    assert time.monotonic() - before < 1  # not 99 times as long as the first
    assert delivery.counters().waiting == 100
    assert [again for _, again in log.calls].count(False) == 1
    assert layer.sent == []
    log.is_away, log.waits = False, 0
    assert delivery.flush(5)
    assert log.keys_of() == [str(number) for number in range(100)]
    assert seqs(layer) == list(range(1, 101))
    assert delivery.counters() == Counters(logged=100, sent=100)


def test_streams_whose_event_the_log_did_not_take_wait_and_the_others_do_not(
    delivery: Delivery, log: UnsteadyLog, layer: FakeLayer
) -> None:
    log.refused = {"2"}
    delivery.publish([entry(1, "a"), entry(2, "b"), entry(3, "c")])
    until(lambda: len(layer.sent) == 2)
    assert (seqs(layer, "a"), seqs(layer, "b"), seqs(layer, "c")) == ([1], [], [1])
    log.refused = set()
    assert delivery.flush(5)
    assert seqs(layer, "b") == [1]


def test_events_that_waited_are_pushed_before_those_that_come_later(
    delivery: Delivery, log: UnsteadyLog, layer: FakeLayer
) -> None:
    for number in range(60):
        log.is_away = number % 20 < 5
        delivery.publish([entry(number)])
        time.sleep(0.001)
    log.is_away = False
    assert delivery.flush(5)
    assert log.keys_of() == [str(number) for number in range(60)]
    assert seqs(layer) == list(range(1, 61))


def test_what_is_left_at_the_end_is_counted_and_told(
    delivery: Delivery, log: UnsteadyLog, caplog: pytest.LogCaptureFixture
) -> None:
    log.is_away = True
    delivery.publish([entry("a"), entry("a", "other")])
    assert not delivery.stop(0.02)
    assert delivery.counters() == Counters(lost=2)
    assert "tasks id=a; they are lost" in caplog.text


# --- transactions -------------------------------------------------------------------------------------------


@pytest.fixture
def log_in_database(log: UnsteadyLog, transactional_db: None) -> UnsteadyLog:
    log.alias = "default"  # type: ignore[attr-defined]
    return log


def test_a_push_leaves_as_the_transaction_of_its_log_commits(
    delivery: Delivery, log_in_database: UnsteadyLog, layer: FakeLayer
) -> None:
    with transaction.atomic():
        delivery.publish([entry(1)])
        delivery.tell("group", MESSAGE, "1")
        assert log_in_database.keys_of() == ["1"]
        assert delivery.counters() == Counters()
    assert delivery.flush(5)
    assert seqs(layer) == [1]
    assert ("group", MESSAGE) in layer.sent
    assert delivery.counters() == Counters(logged=1, sent=2)


def test_nothing_is_pushed_or_waits_of_a_transaction_that_is_rolled_back(
    delivery: Delivery, log_in_database: UnsteadyLog, layer: FakeLayer
) -> None:
    for log_in_database.is_away in (False, True):
        with transaction.atomic():
            delivery.publish([entry(1)])
            delivery.tell("group", MESSAGE, "1")
            transaction.set_rollback(True)
    assert delivery.flush(0)
    assert layer.sent == []
    assert delivery.counters() == Counters()


def test_what_the_log_did_not_take_waits_only_once_the_transaction_commits(
    delivery: Delivery, log_in_database: UnsteadyLog, layer: FakeLayer
) -> None:
    log_in_database.is_away = True
    with transaction.atomic():
        delivery.publish([entry(1)])
        assert delivery.counters() == Counters()
    assert delivery.counters() == Counters(waiting=1)
    with transaction.atomic():
        delivery.publish([entry(2)])
        assert delivery.counters() == Counters(waiting=1)
    log_in_database.is_away = False
    assert delivery.flush(5)
    assert (log_in_database.keys_of(), seqs(layer)) == (["1", "2"], [1, 2])


@pytest.mark.usefixtures("transactional_db")
def test_a_log_that_is_no_database_does_not_wait_for_a_transaction(delivery: Delivery, layer: FakeLayer) -> None:
    with transaction.atomic():
        delivery.publish([entry(1)])
        assert delivery.flush(5)
        assert seqs(layer) == [1]


# --- what works ---------------------------------------------------------------------------------------------


def test_an_event_is_in_the_log_of_each_stream_in_one_call_before_it_is_pushed(
    delivery: Delivery, log: UnsteadyLog, layer: FakeLayer
) -> None:
    layer.is_open = False
    delivery.publish([entry(7, f"stream{number}") for number in range(1000)])
    assert log.calls == [(1000, False)]
    assert layer.sent == []
    layer.is_open = True
    assert delivery.flush(10)
    assert len(layer.sent) == 1000
    assert seqs(layer, "stream999") == [1]


def test_without_a_layer_nothing_is_pushed(delivery: Delivery, log: UnsteadyLog, settings: Any) -> None:
    settings.TASK_EVENTS = {"LAYER": None}
    delivery.publish([entry(1)])
    log.is_away = True
    delivery.publish([entry(2)])
    delivery.tell("group", MESSAGE, "1")
    log.is_away = False
    assert delivery.flush(5)
    assert log.keys_of() == ["1", "2"]
    assert delivery.counters() == Counters(logged=2)
    assert not delivery._sender._is_running


def test_without_a_log_events_have_no_position(layer: FakeLayer, settings: Any) -> None:
    settings.TASK_EVENTS = {"LOG": "none://"}
    delivery = Delivery(Limits())
    delivery.publish([entry(1)])
    assert delivery.flush(5)
    assert seqs(layer) == [None]
    assert delivery.counters() == Counters(sent=1)
    assert delivery.stop(5)


def test_the_layer_is_the_one_that_the_settings_name(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(delivery_module, "open_layer", lambda alias: opened.append(alias) or FakeLayer())
    settings.TASK_EVENTS = {"LOG": "none://", "LAYER": "events"}
    delivery = Delivery(Limits())
    delivery.publish([entry(1)])
    assert delivery.stop(5)
    assert opened == ["events"]


def test_the_log_is_the_projects(delivery: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_module, "find_log", find_log)
    delivery.publish([entry(1, "a stream of this test")])
    (top,) = find_log().tops(["a stream of this test"])
    assert top is not None
    assert top.seq == 1
