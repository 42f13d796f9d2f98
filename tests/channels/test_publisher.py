from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from celery.signals import worker_process_shutdown, worker_shutdown

from tasks_celery.channels import publisher as publisher_module
from tasks_celery.channels.publisher import Publisher
from tasks_celery.channels.sender import Counters, Limits
from tests.channels.helpers import FakeLayer, event


@pytest.fixture
def layer(monkeypatch: pytest.MonkeyPatch) -> FakeLayer:
    layer = FakeLayer()
    monkeypatch.setattr(publisher_module, "open_layer", lambda alias: layer)
    return layer


@pytest.fixture
def publisher(layer: FakeLayer) -> Iterator[Publisher]:
    publisher = Publisher(limits=Limits(deadline=0.2))
    yield publisher
    layer.is_open = True
    publisher.close(5)


def test_nothing_runs_before_the_first_event(layer: FakeLayer) -> None:
    publisher = Publisher()
    assert publisher.flush(0)
    assert publisher.close(0)
    assert publisher.counters() == Counters()
    assert not publisher._sees_to_endings


def test_what_is_published_is_sent_and_counted(publisher: Publisher, layer: FakeLayer) -> None:
    publisher.publish("group", event())
    assert publisher.flush(5)
    assert [group for group, _ in layer.sent] == ["group"]
    assert publisher.counters() == Counters(sent=1)


def test_after_the_end_the_next_event_starts_over(publisher: Publisher, layer: FakeLayer) -> None:
    for _ in range(2):
        publisher.publish("group", event())
        assert publisher.close(5)
        assert publisher.counters() == Counters()
    assert len(layer.sent) == 2


def test_threads_that_come_first_together_get_one_sender(publisher: Publisher) -> None:
    barrier = threading.Barrier(8)

    def publish() -> None:
        barrier.wait()
        publisher.publish("group", event())

    threads = [threading.Thread(target=publish) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert publisher.flush(5)
    assert publisher.counters() == Counters(sent=8)


def test_a_process_with_another_id_has_a_sender_of_its_own(
    publisher: Publisher, layer: FakeLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As after a fork that Python has not been told of.
    publisher.publish("group", event())
    assert publisher.flush(5)
    with monkeypatch.context() as patched:
        patched.setattr(os, "getpid", lambda: -1)
        assert publisher.counters() == Counters()
        publisher.publish("group", event())
        assert publisher.close(5)
    assert publisher.counters() == Counters(sent=1)
    assert len(layer.sent) == 2


def test_after_a_fork_nothing_of_the_parent_is_used_or_taken_apart(publisher: Publisher, layer: FakeLayer) -> None:
    # A grandchild may even have the id of a process that is gone.
    publisher.publish("group", event("parent"))
    assert publisher.flush(5)
    (parent,) = publisher._senders.values()
    publisher._begin_anew()
    assert publisher.counters() == Counters()
    publisher.publish("group", event("child"))
    assert publisher.flush(5)
    assert publisher.counters() == Counters(sent=1)
    assert parent.counters() == Counters(sent=1)
    assert parent._is_running
    assert parent.stop(5)


def test_a_forked_process_sends_its_own_events_and_not_its_parents() -> None:
    code = """
import asyncio, os, sys
from tasks_celery.channels import publisher
from tasks_celery.channels.events import Envelope

class Layer:
    async def group_send(self, group, message):
        while not may_send:
            await asyncio.sleep(0.002)
        print(group, *[each["text"] for each in message["envelopes"]], flush=True)

may_send = False
publisher.open_layer = lambda alias: Layer()
def say(number): publisher.publish("group", Envelope(event="e", data={"id": str(number)}))

say(1)
child = os.fork()
if child == 0:
    may_send = True
    assert publisher.counters().queued == 0
    say(2)
    sys.exit(0 if publisher.flush() and publisher.counters().sent == 1 else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert not publisher.flush(0)
may_send = True
assert publisher.flush()
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert [line.count('"id":"2"') for line in done.stdout.splitlines()] == [1, 0]


def test_a_process_that_ends_sends_what_waits_and_its_thread_ends() -> None:
    code = """
from tasks_celery.channels import publisher
from tasks_celery.channels.events import Envelope

class Layer:
    async def group_send(self, group, message):
        import asyncio
        # What looks a host up for a new connection.
        await asyncio.get_running_loop().getaddrinfo("localhost", 1)
        print("sent to", group, flush=True)

publisher.open_layer = lambda alias: Layer()
publisher.publish("group", Envelope(event="e", data={}))
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "sent to group\n", "")


def test_a_process_that_ends_does_not_wait_long_and_says_what_is_lost(
    publisher: Publisher, layer: FakeLayer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer.is_open = False
    monkeypatch.setattr(Publisher.close, "__defaults__", (0.05,))
    publisher.publish("group", event())
    publisher._end()
    assert "ends with events that could not be sent" in caplog.text


@pytest.mark.parametrize("signal", [worker_process_shutdown, worker_shutdown])
def test_a_worker_that_shuts_down_flushes(
    signal: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    flushed: list[bool] = []
    outcomes = [True, False]
    publisher_module.connect()
    monkeypatch.setattr(publisher_module, "flush", lambda: flushed.append(True) or outcomes.pop(0))
    signal.send(sender=None)
    assert caplog.records == []
    signal.send(sender=None)
    assert flushed == [True, True]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_another_channel_layer_in_the_settings_is_followed(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher_module.connect()
    closed: list[bool] = []
    monkeypatch.setattr(publisher_module, "close", lambda: closed.append(True))
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    settings.DEBUG = True
    assert closed == [True]
