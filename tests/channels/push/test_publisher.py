from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from celery.signals import worker_process_shutdown, worker_shutdown

from tasks_celery.channels.push import backlog as backlog_module
from tasks_celery.channels.push import delivery as delivery_module
from tasks_celery.channels.push import publisher as publisher_module
from tasks_celery.channels.push.publisher import Publisher
from tasks_celery.channels.push.sender import Counters, Limits
from tests.channels.helpers import FakeLayer, UnsteadyLog, event


@pytest.fixture(autouse=True)
def _no_log(settings: Any) -> None:
    """What a log has to do with it is told in test_delivery.py."""
    settings.TASK_EVENTS = {"LOG": "none://"}


@pytest.fixture
def layer(monkeypatch: pytest.MonkeyPatch) -> FakeLayer:
    layer = FakeLayer()
    monkeypatch.setattr(delivery_module, "open_layer", lambda alias: layer)
    return layer


@pytest.fixture
def publisher(layer: FakeLayer) -> Iterator[Publisher]:
    publisher = Publisher(limits=Limits(deadline=0.2))
    yield publisher
    layer.is_open = True
    publisher.close(5)


@pytest.mark.parametrize("raw", [7, {"LGO": "none://"}, {"LOG": "mysql://"}])
def test_settings_that_cannot_be_are_logged_with_the_task_and_raise_nothing(
    raw: Any, publisher: Publisher, layer: FakeLayer, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.TASK_EVENTS = raw
    publisher.publish(["group"], event(42))
    publisher.tell("group", {"type": "report.ready"}, about="43")
    settings.TASK_EVENTS = {"LOG": "none://"}
    assert publisher.flush(5)
    assert layer.sent == []
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    assert "Task id=42: 'report.ready' is not sent: TASK_EVENTS" in caplog.text
    assert "Task id=43: a message is not sent: TASK_EVENTS" in caplog.text


def test_nothing_runs_before_the_first_event(layer: FakeLayer) -> None:
    publisher = Publisher()
    publisher.publish([], event())
    assert publisher.flush(0)
    assert publisher.close(0)
    assert publisher.counters() == Counters()
    assert not publisher._sees_to_endings


def test_what_is_published_is_sent_and_counted(publisher: Publisher, layer: FakeLayer) -> None:
    publisher.publish(["group", "another"], event())
    publisher.tell("group", {"type": "report.ready"})
    assert publisher.flush(5)
    assert sorted(group for group, _ in layer.sent) == ["another", "group", "group"]
    assert publisher.counters() == Counters(sent=3)


def test_after_the_end_the_next_event_starts_over(publisher: Publisher, layer: FakeLayer) -> None:
    for _ in range(2):
        publisher.publish(["group"], event())
        assert publisher.close(5)
        assert publisher.counters() == Counters()
    assert len(layer.sent) == 2


def test_threads_that_come_first_together_get_one_sender(publisher: Publisher) -> None:
    barrier = threading.Barrier(8)

    def publish() -> None:
        barrier.wait()
        publisher.publish(["group"], event())

    threads = [threading.Thread(target=publish) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert publisher.flush(5)
    assert publisher.counters() == Counters(sent=8)


def test_a_process_with_another_id_has_a_delivery_of_its_own(
    publisher: Publisher, layer: FakeLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As after a fork that Python has not been told of.
    publisher.publish(["group"], event())
    assert publisher.flush(5)
    with monkeypatch.context() as patched:
        patched.setattr(os, "getpid", lambda: -1)
        assert publisher.counters() == Counters()
        publisher.publish(["group"], event())
        assert publisher.close(5)
    assert publisher.counters() == Counters(sent=1)
    assert len(layer.sent) == 2


def test_after_a_fork_nothing_of_the_parent_is_used_or_taken_apart(publisher: Publisher, layer: FakeLayer) -> None:
    # A grandchild may even have the id of a process that is gone.
    publisher.publish(["group"], event("parent"))
    assert publisher.flush(5)
    (parent,) = publisher._deliveries.values()
    publisher._begin_anew()
    assert publisher.counters() == Counters()
    publisher.publish(["group"], event("child"))
    assert publisher.flush(5)
    assert publisher.counters() == Counters(sent=1)
    assert parent.counters() == Counters(sent=1)
    assert parent._sender._is_running
    assert parent.stop(5)


#: A process whose log can be away and whose layer prints; what the tests below begin with.
SETUP = """
import asyncio, os, sys, threading
from django.conf import settings
settings.configure()
from tasks_celery.channels.push import backlog, delivery, publisher
from tasks_celery.channels.events import Envelope
from tasks_celery.channels.log import EventLogError

class Log:
    def append(self, entries, *, again=False):
        if is_away:
            return [EventLogError("It is away.")] * len(entries)
        kept.extend(entry.key for entry in entries)
        return [None] * len(entries)

class Layer:
    async def group_send(self, group, message):
        while not may_send:
            await asyncio.sleep(0.002)
        # What looks a host up for a new connection.
        await asyncio.get_running_loop().getaddrinfo("localhost", 1)
        print(*[each["text"] for each in message["envelopes"]], sep="\\n", flush=True)

is_away, may_send, kept = False, True, []
publisher._publisher._limits = publisher.Limits(deadline=60)
delivery.open_layer = lambda alias: Layer()
delivery.find_log = backlog.find_log = lambda owner="": Log()
def say(name): publisher.publish(["group"], Envelope(event="e", data={"id": name}))
"""


def run(code: str) -> tuple[list[str], str]:
    """Return the ids that such a process sends, and what it writes to its standard error."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", SETUP + code]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["data"]["id"] for line in done.stdout.splitlines()], done.stderr


def test_a_forked_process_logs_and_sends_its_own_events_and_not_its_parents() -> None:
    sent, _ = run("""
may_send = False
say("sent by the parent")
is_away = True
say("logged by the parent")
child = os.fork()
if child == 0:
    assert publisher.counters() == publisher.Counters()
    say("logged by the child")
    is_away, may_send = False, True
    say("sent by the child")
    assert publisher.flush(60)
    assert kept == ["sent by the parent", "logged by the child", "sent by the child"]
    sys.exit()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert not publisher.flush(0)
is_away, may_send = False, True
assert publisher.flush(60)
assert kept == ["sent by the parent", "logged by the parent"]
""")
    assert sent == ["logged by the child", "sent by the child", "sent by the parent", "logged by the parent"]


def test_a_process_that_ends_logs_and_sends_what_waits() -> None:
    # From here on, no thread can be started.
    sent, errors = run("""
import atexit
is_away = True
say("late")
atexit.register(lambda: globals().update(is_away=False))
""")
    assert sent == ["late"]
    assert errors.splitlines()[1:] == ["The log of events takes events again; 1 waited meanwhile."]


def test_a_process_that_ends_does_not_wait_long_and_says_what_is_lost(
    publisher: Publisher, layer: FakeLayer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = UnsteadyLog()
    log.is_away = True
    for module in (delivery_module, backlog_module):
        monkeypatch.setattr(module, "find_log", lambda owner="": log)
    monkeypatch.setattr(Publisher.close, "__defaults__", (0.05,))
    publisher.publish(["group"], event("never"))
    publisher._end()
    (error,) = (record.getMessage() for record in caplog.records if record.levelno == logging.ERROR)
    assert "took the events of the tasks id=never; they are lost" in error


def test_an_end_before_all_is_sent_is_told(
    publisher: Publisher, layer: FakeLayer, caplog: pytest.LogCaptureFixture
) -> None:
    layer.is_open = False
    publisher.publish(["group"], event())
    assert not publisher.close(0.02)
    (record,) = (record for record in caplog.records if "could not all be sent" in record.getMessage())
    assert record.levelno == logging.WARNING


def test_a_worker_that_shuts_down_flushes(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    flushed: list[bool] = []
    outcomes = [True, False]
    publisher_module.connect()
    monkeypatch.setattr(publisher_module, "flush", lambda: flushed.append(True) or outcomes.pop(0))
    worker_shutdown.send(sender=None)
    assert caplog.records == []
    worker_shutdown.send(sender=None)
    assert flushed == [True, True]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_child_of_a_worker_that_shuts_down_says_what_it_leaves_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    publisher_module.connect()
    closed: list[bool] = []
    monkeypatch.setattr(publisher_module, "close", lambda: closed.append(True))
    worker_process_shutdown.send(sender=None)
    assert closed == [True]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CHANNEL_LAYERS", {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}),
        ("TASK_EVENTS", {"LOG": "memory://"}),
    ],
)
def test_other_settings_are_followed(name: str, value: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher_module.connect()
    closed: list[bool] = []
    monkeypatch.setattr(publisher_module, "close", lambda: closed.append(True))
    setattr(settings, name, value)
    settings.DEBUG = True
    assert closed == [True]
