"""The publisher on a real Redis, which is restarted and frozen under it, and in real Celery workers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("channels_redis", reason="channels-redis is not installed; install the extra 'channels'")

import redis
from channels.layers import channel_layers

from example.servers import ROOT, Child, plan_redis, redis_answers, stop, wait_until
from integration.conftest import DEADLINE, require
from tasks_celery.channels.events import Envelope, texts_in
from tasks_celery.channels.groups import group_name
from tasks_celery.channels.publisher import Publisher

LAYERS = {
    "core": "channels_redis.core.RedisChannelLayer",
    "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer",
}
PATIENCE = 30.0  # seconds that a test gives to what takes milliseconds


class Redis:
    """A Redis of one test's own, on a private socket; it can be killed, started again and frozen."""

    def __init__(self, directory: Path, environ: dict[str, str]) -> None:
        plan = plan_redis(environ, directory)
        require(plan.url, f"There is no Redis server here but {plan.label}; install redis-server.")
        self.url = str(plan.url)
        self._launch = partial(Child, "redis", plan.command, env=environ)
        self._start()
        self.admin = redis.Redis.from_url(self.url)

    def _start(self) -> None:
        self.child = self._launch()
        wait_until(lambda: redis_answers(self.url), what="Redis", watch=[self.child])

    def restart(self) -> None:
        self.child.process.kill()
        self.child.process.wait()
        self._start()

    def freeze(self) -> None:
        self.child.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.child.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self.thaw()
        self.admin.close()
        stop([self.child])

    def connections_so_far(self) -> int:
        return int(self.admin.info("stats")["total_connections_received"])  # type: ignore[index]


class Relay:
    """That Redis over TCP, where redis-py does not see that an idle connection has been closed until it uses it."""

    def __init__(self, url: str) -> None:
        self._path = url.removeprefix("unix://")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://localhost:{self._listener.getsockname()[1]}/0"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener is closed
            while True:
                client, _ = self._listener.accept()
                self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        upstream = socket.socket(socket.AF_UNIX)
        try:
            upstream.connect(self._path)
        except OSError:
            client.close()
            return
        for source, target in ((client, upstream), (upstream, client)):
            threading.Thread(target=self._copy, args=[source, target], daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        # close() alone leaves accept() waiting.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def server(clean_environ: dict[str, str]) -> Iterator[Redis]:
    # Not tmp_path: the path of a socket has at most 107 characters.
    with tempfile.TemporaryDirectory() as directory:
        server = Redis(Path(directory), clean_environ)
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def relay(server: Redis) -> Iterator[Relay]:
    relay = Relay(server.url)
    yield relay
    relay.close()


@pytest.fixture(params=sorted(LAYERS))
def layers(request: pytest.FixtureRequest, server: Redis, settings: Any) -> dict[str, Any]:
    """CHANNEL_LAYERS on that Redis, in force in this process: the core layer, then the pub/sub layer."""
    settings.CHANNEL_LAYERS = layers_at(server.url, request.param)
    return dict(settings.CHANNEL_LAYERS)


def layers_at(url: str, kind: str) -> dict[str, Any]:
    host = {"address": url, "socket_timeout": None, "max_connections": 500}
    config = {"hosts": [host], "prefix": "publisher"} | ({"capacity": 5000} if kind == "core" else {})
    return {"default": {"BACKEND": LAYERS[kind], "CONFIG": config}}


@pytest.fixture
def publisher(layers: dict[str, Any]) -> Iterator[Publisher]:
    publisher = Publisher()
    yield publisher
    publisher.close()


class Member:
    """What a consumer is to the layer: a channel in groups."""

    def __init__(self) -> None:
        self.layer: Any = channel_layers["default"]

    async def join(self, *groups: str) -> None:
        self.channel = await self.layer.new_channel()
        for group in groups:
            await self.layer.group_add(group, self.channel)

    async def hear(self, count: int) -> list[str]:
        """Return the ids of the next `count` events."""
        heard: list[str] = []
        async with asyncio.timeout(PATIENCE):
            while len(heard) < count:
                message = await self.layer.receive(self.channel)
                heard += [json.loads(text)["data"]["id"] for text in texts_in(message)]
        return heard


@pytest.fixture
async def member(layers: dict[str, Any]) -> AsyncIterator[Member]:
    yield Member()
    # Closed in the loop that they were opened in, as Channels has it.
    layer: Any = channel_layers["default"]
    await (layer.close_pools() if hasattr(layer, "close_pools") else layer.flush())


def event(number: object) -> Envelope:
    return Envelope(event="report.ready", data={"id": str(number), "payload": None})


async def flushed(publisher: Publisher, *, within: float = PATIENCE) -> bool:
    return await asyncio.to_thread(publisher.flush, within)


# --- faults ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(LAYERS))
def test_after_a_restart_of_redis_each_stale_connection_costs_one_retry_and_no_event(
    kind: str, server: Redis, relay: Relay, settings: Any
) -> None:
    settings.CHANNEL_LAYERS = layers_at(relay.url, kind)
    publisher = Publisher()

    def push() -> None:
        for number in range(400):
            publisher.publish(f"group{number}", event(number))
        assert publisher.flush(PATIENCE)

    push()
    assert publisher.counters().retried == 0
    for restarts in (1, 2):
        server.restart()
        push()
        assert restarts <= publisher.counters().retried <= 8 * restarts
    assert publisher.counters().sent == 1200
    publisher.close()


async def test_after_a_restart_of_redis_who_joins_again_is_told(
    server: Redis, publisher: Publisher, member: Member
) -> None:
    publisher.publish("group", event("before"))
    assert await flushed(publisher)
    await asyncio.to_thread(server.restart)
    await member.join("group")
    publisher.publish("group", event("after"))
    assert await member.hear(1) == ["after"]
    assert await flushed(publisher)
    assert publisher.counters().sent == 2


def test_without_redis_publishing_costs_nothing_and_raises_nothing_and_afterwards_it_works(
    server: Redis, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    server.child.process.kill()
    server.child.process.wait()
    for number in range(100):
        publisher.publish(f"group{number}", event(number))
    assert publisher.flush(PATIENCE)
    assert publisher.counters().failed == 100
    assert len(caplog.records) == 1

    server.restart()
    publisher.publish("group", event("after"))
    assert publisher.flush(PATIENCE)
    assert publisher.counters().sent == 1
    assert "takes events again; 100 could not be sent" in caplog.text


def test_a_frozen_redis_delays_no_caller_and_flush_keeps_its_deadline(server: Redis, publisher: Publisher) -> None:
    publisher.publish("group", event("before"))
    assert publisher.flush(PATIENCE)
    server.freeze()

    slowest = 0.0
    for number in range(1000):
        before = time.monotonic()
        publisher.publish(f"group{number % 20}", event(number))
        slowest = max(slowest, time.monotonic() - before)
    assert slowest < 0.5

    before = time.monotonic()
    assert not publisher.flush(0.3)
    assert 0.3 <= time.monotonic() - before < 1.5

    # Each message is given up at its deadline, so the rest is over in a few times that.
    wait_until(lambda: publisher.counters().failed > 0, what="the deadline")
    server.thaw()
    assert publisher.flush(PATIENCE)
    publisher.publish("group", event("after"))
    assert publisher.flush(PATIENCE)
    counters = publisher.counters()
    assert counters.sent + counters.failed == 1002
    assert counters.sent >= 2


# --- load -----------------------------------------------------------------------------------------------------


def test_a_thousand_pushes_open_no_connection(server: Redis, publisher: Publisher) -> None:
    def push(count: int) -> None:
        for number in range(count):
            publisher.publish(f"group{number}", event(number))
        assert publisher.flush(PATIENCE)

    push(500)
    before = server.connections_so_far()
    push(1000)
    assert server.connections_so_far() - before == 0
    assert before <= 8 + 3  # eight messages at most are under way; the others are this test's own
    assert publisher.counters().sent == 1500


async def test_all_events_of_eight_threads_reach_the_member_in_the_order_of_each(
    publisher: Publisher, member: Member
) -> None:
    await member.join("group")

    def produce(producer: int) -> None:
        for number in range(125):
            publisher.publish("group", event(f"{producer}/{number}"))

    threads = [threading.Thread(target=produce, args=[producer]) for producer in range(8)]
    for thread in threads:
        thread.start()
    heard = await member.hear(1000)
    for thread in threads:
        thread.join()
    for producer in range(8):
        mine = [int(each.partition("/")[2]) for each in heard if each.startswith(f"{producer}/")]
        assert mine == list(range(125))


# --- processes ------------------------------------------------------------------------------------------------


@pytest.fixture
def env(clean_environ: dict[str, str], server: Redis, layers: dict[str, Any]) -> dict[str, str]:
    """The environment of a process with the same Redis and layer."""
    return clean_environ | {
        "DJANGO_SETTINGS_MODULE": "tests.channels.worker_settings",
        "PUBLISHER_REDIS": server.url,
        "PUBLISHER_LAYERS": json.dumps(layers),
    }


FORKING = """
import os, sys
import django
django.setup()
from tasks_celery.channels import publisher
from tasks_celery.channels.events import Envelope

def say(number):
    publisher.publish("group", Envelope(event="e", data={"id": number}))

say("parent, before")
assert publisher.flush(10)
children = []
for child in range(4):
    children.append(os.fork())
    if children[-1] == 0:
        say(f"child {child}")
        sys.exit()  # what it said is sent at its end
say("parent, after")
assert publisher.flush(10)
assert publisher.counters().sent == 2 and publisher.counters().retried == 0
assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
say("parent, at its end")
"""


async def test_a_process_and_those_it_forked_publish_side_by_side(env: dict[str, str], member: Member) -> None:
    await member.join("group")
    # Python 3.12 and later warn of any fork beside a thread.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKING]
    process = await asyncio.create_subprocess_exec(*command, env=env, cwd=ROOT, stderr=subprocess.PIPE)
    _, errors = await asyncio.wait_for(process.communicate(), DEADLINE)
    assert (process.returncode, errors.decode()) == (0, "")
    assert sorted(await member.hear(7)) == sorted(
        ["parent, before", "parent, after", "parent, at its end", *(f"child {number}" for number in range(4))]
    )


ENQUEUEING = """
import sys
import django
django.setup()
from tests.channels.jobs import tell_others
print(*[tell_others.enqueue(7).id for _ in range(int(sys.argv[1]))])
"""


@pytest.mark.timeout(240)
@pytest.mark.parametrize("layers", ["core"], indirect=True)
@pytest.mark.parametrize(
    ("pool", "count"),
    [
        pytest.param(["prefork", "-c", "2", "--max-tasks-per-child", "1"], 10, id="prefork, one task per child"),
        pytest.param(["threads", "-c", "8"], 200, id="threads"),
        pytest.param(["solo"], 100, id="solo"),
    ],
)
async def test_every_task_of_a_worker_is_heard(
    pool: list[str], count: int, server: Redis, env: dict[str, str], member: Member
) -> None:
    await member.join(group_name("7"))
    command = [sys.executable, "-m", "celery", "-A", "tasks_celery", "worker", "-P", *pool, "-l", "INFO"]
    worker = Child("worker", command, env=env, ready_line=" ready.")
    try:
        await asyncio.to_thread(wait_until, worker.said_ready.is_set, what="worker", watch=[worker])
        enqueue = partial(
            subprocess.run, env=env, cwd=ROOT, capture_output=True, text=True, check=False, timeout=DEADLINE
        )
        before = server.connections_so_far()
        enqueued = await asyncio.to_thread(enqueue, [sys.executable, "-c", ENQUEUEING, str(count)])
        assert enqueued.returncode == 0, enqueued.stderr
        heard = await member.hear(count)
    finally:
        stop([worker])
    assert sorted(heard) == sorted(enqueued.stdout.split()), worker.last_lines()
    assert not [line for line in worker.lines if "Traceback" in line], worker.last_lines(80)
    if pool[0] != "prefork":
        assert server.connections_so_far() - before < 40
