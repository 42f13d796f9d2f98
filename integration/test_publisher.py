"""The publisher on a real Redis, which is restarted and frozen under it, and in real Celery workers.

The log of events is in that Redis too, unless a test says otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("channels_redis", reason="channels-redis is not installed; install the extra 'channels'")

import redis
from channels.layers import channel_layers
from django.db import connections, transaction
from pytest_django.plugin import DjangoDbBlocker

from example.servers import ROOT, Child, plan_redis, redis_answers, stop, wait_until
from integration.conftest import DEADLINE, eventually, require
from integration.postgres import find_postgres, postgres
from tasks_celery.channels.events import Envelope, heard_in
from tasks_celery.channels.groups import group_name
from tasks_celery.channels.log import Cursor, Position, find_log
from tasks_celery.channels.options import EventOptions, event_options
from tasks_celery.channels.push.publisher import Publisher
from tasks_celery.database.models import TaskEvent, TaskEventStream
from tests.database.places import migrated_as

LAYERS = {
    "core": "channels_redis.core.RedisChannelLayer",
    "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer",
}
PATIENCE = 30.0  # seconds that a test gives to what takes milliseconds


class Redis:
    """A Redis of one test's own, on a private socket; it can be killed, started again and frozen."""

    def __init__(self, directory: Path, environ: dict[str, str], *options: str) -> None:
        plan = plan_redis(environ, directory)
        require(plan.url, f"There is no Redis server here but {plan.label}; install redis-server.")
        self.url = str(plan.url)
        self._launch = partial(Child, "redis", [*plan.command, *options], env=environ)
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


@contextlib.contextmanager
def redis_of_its_own(environ: dict[str, str], *options: str) -> Iterator[Redis]:
    # Not tmp_path: the path of a socket has at most 107 characters.
    with tempfile.TemporaryDirectory() as directory:
        server = Redis(Path(directory), environ, *options)
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def server(clean_environ: dict[str, str]) -> Iterator[Redis]:
    with redis_of_its_own(clean_environ) as server:
        yield server


@pytest.fixture
def lasting(clean_environ: dict[str, str]) -> Iterator[Redis]:
    """A Redis that remembers what it has answered when it is killed."""
    with redis_of_its_own(clean_environ, "--appendonly", "yes") as server:
        yield server


@pytest.fixture
def relay(server: Redis) -> Iterator[Relay]:
    relay = Relay(server.url)
    yield relay
    relay.close()


@pytest.fixture(params=sorted(LAYERS))
def layers(request: pytest.FixtureRequest, server: Redis, settings: Any) -> dict[str, Any]:
    """CHANNEL_LAYERS on that Redis, in force in this process: the core layer, then the pub/sub layer."""
    settings.CHANNEL_LAYERS = layers_at(server.url, request.param)
    settings.TASK_EVENTS = {"LOG": server.url, "KEEP": 10_000}
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
                heard += [json.loads(text)["data"]["id"] for _, text in heard_in(message)]
        return heard


@pytest.fixture
async def member(layers: dict[str, Any]) -> AsyncIterator[Member]:
    yield Member()
    # Closed in the loop that they were opened in, as Channels has it.
    layer: Any = channel_layers["default"]
    await (layer.close_pools() if hasattr(layer, "close_pools") else layer.flush())


def event(number: object) -> Envelope:
    return Envelope(event="report.ready", data={"id": str(number), "payload": None})


def logged(stream: str) -> list[str]:
    """Return the ids of all that the log of this process has of a stream, in order."""
    log, ids = find_log(), []
    (begin,) = log.read([Cursor(stream)])
    assert begin.top is not None
    while len(ids) < begin.top.seq:
        (after,) = log.read([Cursor(stream, Position(begin.top.epoch, len(ids)))])
        assert after.bodies, f"{len(ids)} of {begin.top.seq} can be read"
        ids += [json.loads("{" + body)["data"]["id"] for body in after.bodies]
    return ids


async def flushed(publisher: Publisher, *, within: float = PATIENCE) -> bool:
    return await asyncio.to_thread(publisher.flush, within)


# --- faults ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(LAYERS))
def test_after_a_restart_of_redis_each_stale_connection_costs_one_retry_and_no_event(
    kind: str, server: Redis, relay: Relay, settings: Any
) -> None:
    settings.CHANNEL_LAYERS = layers_at(relay.url, kind)
    settings.TASK_EVENTS = {"LOG": relay.url}
    publisher = Publisher()

    def push() -> None:
        for number in range(400):
            publisher.publish([f"group{number}"], event(number))
        assert publisher.flush(PATIENCE)

    push()
    assert publisher.counters().retried == 0
    for restarts in (1, 2):
        server.restart()
        push()
        assert restarts <= publisher.counters().retried <= 8 * restarts
    counters = publisher.counters()
    assert (counters.sent, counters.logged, counters.lost) == (1200, 1200, 0)
    publisher.close()


async def test_after_a_restart_of_redis_who_joins_again_is_told(
    server: Redis, publisher: Publisher, member: Member
) -> None:
    publisher.publish(["group"], event("before"))
    assert await flushed(publisher)
    await asyncio.to_thread(server.restart)
    await member.join("group")
    publisher.publish(["group"], event("after"))
    assert await member.hear(1) == ["after"]
    assert await flushed(publisher)
    assert publisher.counters().sent == 2


def test_without_redis_events_wait_and_afterwards_are_logged_and_sent(
    server: Redis, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    server.child.process.kill()
    server.child.process.wait()
    for number in range(100):
        publisher.publish(["group"], event(number))
    assert not publisher.flush(0.1)
    assert publisher.counters().waiting == 100
    assert len(caplog.records) == 1
    assert "The event of task id=0 waits in memory" in caplog.text

    server.restart()
    publisher.publish(["group"], event("after"))
    assert publisher.flush(PATIENCE)
    counters = publisher.counters()
    assert (counters.logged, counters.sent, counters.failed) == (101, 101, 0)
    assert logged("group") == [*map(str, range(100)), "after"]


def test_without_redis_and_log_publishing_costs_nothing_and_raises_nothing_and_afterwards_it_works(
    server: Redis, publisher: Publisher, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.TASK_EVENTS = {"LOG": "none://"}
    server.child.process.kill()
    server.child.process.wait()
    for number in range(100):
        publisher.publish([f"group{number}"], event(number))
    assert publisher.flush(PATIENCE)
    assert publisher.counters().failed == 100
    assert len(caplog.records) == 1

    server.restart()
    publisher.publish(["group"], event("after"))
    assert publisher.flush(PATIENCE)
    assert publisher.counters().sent == 1
    assert "takes events again; 100 could not be sent" in caplog.text


async def test_a_frozen_redis_makes_one_caller_wait_and_afterwards_all_is_logged_once_and_heard(
    server: Redis, publisher: Publisher, member: Member
) -> None:
    await member.join("group")
    publisher.publish(["group"], event("before"))
    assert await flushed(publisher)
    server.freeze()
    try:
        waits = []
        for number in range(1000):
            before = time.monotonic()
            publisher.publish(["group"], event(number))
            waits.append(time.monotonic() - before)
        assert waits[0] < event_options().deadline + 0.5
        assert max(waits[1:]) < 0.5
        assert sum(waits[1:]) < 1

        before = time.monotonic()
        assert not await flushed(publisher, within=0.3)
        assert 0.3 <= time.monotonic() - before < 1.5
    finally:
        server.thaw()
    assert await flushed(publisher)
    expected = ["before", *map(str, range(1000))]
    assert await member.hear(1001) == expected
    assert logged("group") == expected
    counters = publisher.counters()
    assert (counters.logged, counters.sent, counters.lost) == (1001, 1001, 0)


@pytest.mark.parametrize("kind", sorted(LAYERS))
def test_a_redis_that_is_killed_and_restarted_again_and_again_has_every_event_once(
    kind: str, lasting: Redis, settings: Any
) -> None:
    settings.CHANNEL_LAYERS = layers_at(lasting.url, kind)
    settings.TASK_EVENTS = {"LOG": lasting.url, "KEEP": 10_000}
    publisher = Publisher()
    is_over = threading.Event()
    published: dict[str, list[str]] = {f"stream{producer}": [] for producer in range(3)}

    def produce(stream: str) -> None:
        while not is_over.is_set():
            published[stream].append(str(len(published[stream])))
            publisher.publish([stream], event(published[stream][-1]))
            time.sleep(0.001)

    producers = [threading.Thread(target=produce, args=[stream]) for stream in published]
    for each in producers:
        each.start()
    for kills in range(1, 4):
        eventually(lambda: _at_least(publisher.counters().logged, 200 * kills))  # noqa: B023 - called at once
        lasting.restart()
    is_over.set()
    for each in producers:
        each.join()
    assert publisher.flush(PATIENCE)
    assert {stream: logged(stream) for stream in published} == published
    assert publisher.counters().lost == 0
    assert publisher.close(PATIENCE)


def _at_least(number: int, bound: int) -> None:
    assert number >= bound


# --- the log in a database ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def on_postgres() -> Iterator[dict[str, Any]]:
    """A PostgreSQL of these tests' own, as DATABASES has it."""
    require(find_postgres(), "There is no PostgreSQL server here; install postgresql.")
    with postgres() as directory:
        yield {"ENGINE": "django.db.backends.postgresql", "HOST": directory, "NAME": "postgres", "USER": "postgres"}


@pytest.fixture
def _rows(
    on_postgres: dict[str, Any], layers: dict[str, Any], settings: Any, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    """Keep events in that PostgreSQL, which is "tried" in this process."""
    settings.TASK_EVENTS = {"LOG": "database://tried", "DEADLINE": 0.3}
    with django_db_blocker.unblock(), migrated_as("tried", **on_postgres):
        TaskEvent.objects.using("tried").delete()
        TaskEventStream.objects.using("tried").delete()
        yield


@pytest.mark.usefixtures("_rows")
async def test_an_event_in_a_database_is_pushed_as_its_transaction_commits_and_forgotten_as_it_is_rolled_back(
    publisher: Publisher, member: Member
) -> None:
    await member.join("group")

    def transactions() -> None:
        with transaction.atomic(using="tried"):
            publisher.publish(["group"], event("rolled back"))
            transaction.set_rollback(True, using="tried")
        with transaction.atomic(using="tried"):
            publisher.publish(["group"], event("committed"))
            assert publisher.counters().logged == 0
        publisher.publish(["group"], event("alone"))
        assert publisher.flush(PATIENCE)
        assert logged("group") == ["committed", "alone"]
        assert (publisher.counters().logged, publisher.counters().sent) == (2, 2)
        connections["tried"].close()

    await asyncio.to_thread(transactions)
    assert await member.hear(2) == ["committed", "alone"]


@pytest.mark.usefixtures("_rows")
def test_a_stream_that_another_transaction_has_locked_delays_one_caller_to_the_deadline_and_loses_nothing(
    publisher: Publisher,
) -> None:
    publisher.publish(["group"], event("before"))
    is_locked, may_commit = threading.Event(), threading.Event()

    def lock() -> None:
        with transaction.atomic(using="tried"):
            TaskEventStream.objects.using("tried").select_for_update().get(pk="group")
            is_locked.set()
            may_commit.wait(PATIENCE)
        connections["tried"].close()

    locking = threading.Thread(target=lock)
    locking.start()
    assert is_locked.wait(PATIENCE)
    waits = []
    for number in range(20):
        before = time.monotonic()
        publisher.publish(["group"], event(number))
        waits.append(time.monotonic() - before)
    may_commit.set()
    locking.join()
    assert 0.3 <= waits[0] < 1
    assert max(waits[1:]) < 0.2
    assert publisher.flush(PATIENCE)
    assert logged("group") == ["before", *map(str, range(20))]
    assert publisher.counters().sent == 21


@pytest.mark.usefixtures("_rows")
async def test_from_an_event_loop_events_reach_a_database_by_the_backlog(publisher: Publisher, member: Member) -> None:
    # Where Django's ORM refuses to work.
    await member.join("group")
    publisher.publish(["group"], event("first"))
    publisher.publish(["group"], event("second"))
    assert await member.hear(2) == ["first", "second"]
    assert await asyncio.to_thread(_logged_and_hung_up, "group") == ["first", "second"]


def _logged_and_hung_up(stream: str) -> list[str]:
    try:
        return logged(stream)
    finally:
        connections.close_all()


# --- load -----------------------------------------------------------------------------------------------------


def test_a_thousand_pushes_open_no_connection(server: Redis, publisher: Publisher) -> None:
    def push(count: int) -> None:
        for number in range(count):
            publisher.publish([f"group{number}"], event(number))
        assert publisher.flush(PATIENCE)

    push(500)
    before = server.connections_so_far()
    push(1000)
    assert server.connections_so_far() - before == 0
    assert before <= 8 + 1 + 3  # eight messages at most are under way, and the log's; the others are this test's own
    assert (publisher.counters().sent, publisher.counters().logged) == (1500, 1500)


async def test_all_events_of_eight_threads_reach_the_member_in_the_order_of_each(
    publisher: Publisher, member: Member
) -> None:
    await member.join("group")

    def produce(producer: int) -> None:
        for number in range(125):
            publisher.publish(["group"], event(f"{producer}/{number}"))

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
    """The environment of a process with the same Redis, layer and log."""
    return clean_environ | {
        "DJANGO_SETTINGS_MODULE": "tests.channels.worker_settings",
        "PUBLISHER_REDIS": server.url,
        "PUBLISHER_LAYERS": json.dumps(layers),
        "PUBLISHER_EVENTS": json.dumps({"LOG": server.url, "KEEP": 10_000}),
    }


FORKING = """
import os, sys
import django
django.setup()
from tasks_celery.channels.push import publisher
from tasks_celery.channels.events import Envelope

def say(number):
    publisher.publish(["group"], Envelope(event="e", data={"id": number}))

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
counters = publisher.counters()
assert (counters.sent, counters.logged, counters.retried, counters.waiting) == (2, 2, 0, 0)
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
    said = sorted(["parent, before", "parent, after", "parent, at its end", *(f"child {each}" for each in range(4))])
    assert sorted(await member.hear(7)) == said
    assert sorted(logged("group")) == said


ENQUEUEING = """
import sys
import django
django.setup()
from tests.channels.jobs import tell_others
for line in sys.stdin:
    print(*[tell_others.enqueue(7).id for _ in range(int(line))], flush=True)
"""


class Project:
    """A worker of some pool, and a process that enqueues tasks for it."""

    def __init__(self, pool: Sequence[str], env: dict[str, str]) -> None:
        command = [sys.executable, "-m", "celery", "-A", "tasks_celery", "worker", "-P", *pool, "-l", "INFO"]
        self.worker = Child("worker", command, env=env, ready_line=" ready.")
        self._asking = subprocess.Popen(
            [sys.executable, "-c", ENQUEUEING],
            env=env,
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def wait_until_ready(self) -> None:
        wait_until(self.worker.said_ready.is_set, what="worker", watch=[self.worker], limit=DEADLINE)

    def enqueue(self, count: int) -> list[str]:
        """Enqueue so many tasks and return their ids."""
        assert self._asking.stdin is not None
        assert self._asking.stdout is not None
        self._asking.stdin.write(f"{count}\n")
        self._asking.stdin.flush()
        return self._asking.stdout.readline().split()

    def run(self, count: int) -> list[float]:
        """Enqueue so many tasks and return for how many seconds the worker was busy with each, its event included."""
        ids = self.enqueue(count)
        return eventually(lambda: self._took(ids), within=DEADLINE)

    def _took(self, ids: list[str]) -> list[float]:
        lines = self.worker.lines
        begun, over = _moments(lines, r"Task id=(\w+) .*state=RUNNING"), _moments(lines, r"\[(\w+)\] succeeded in")
        assert set(ids) <= set(over), self.worker.last_lines(40)
        return [(over[each] - begun[each]).total_seconds() for each in ids]

    def stop(self) -> None:
        assert self._asking.stdin is not None
        assert self._asking.stdout is not None
        self._asking.stdin.close()
        self._asking.stdout.close()
        self._asking.wait(DEADLINE)
        stop([self.worker])


def _moments(lines: Sequence[str], pattern: str) -> dict[str, datetime]:
    """Return when a line of the worker's said that of each task."""
    found = (re.search(r"^\[([-\d]+ [:\d]+,\d+): .*" + pattern, line) for line in lines)
    return {said[2]: datetime.strptime(said[1], "%Y-%m-%d %H:%M:%S,%f") for said in found if said}  # noqa: DTZ007


@contextlib.asynccontextmanager
async def project(pool: Sequence[str], env: dict[str, str]) -> AsyncIterator[Project]:
    project = Project(pool, env)
    try:
        await asyncio.to_thread(project.wait_until_ready)
        yield project
    finally:
        await asyncio.to_thread(project.stop)


@pytest.fixture(params=["redis", "database"])
def env_of_log(request: pytest.FixtureRequest, env: dict[str, str]) -> dict[str, str]:
    """That environment, with the log in Redis and in a PostgreSQL, which is where this process looks for it too."""
    if request.param == "redis":
        return env
    request.getfixturevalue("_rows")
    database = request.getfixturevalue("on_postgres")
    return env | {"PUBLISHER_DATABASE": json.dumps(database), "PUBLISHER_EVENTS": json.dumps({"LOG": "database://"})}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("layers", ["core"], indirect=True)
async def test_each_task_of_a_worker_that_gives_a_child_but_one_is_logged_and_heard(
    env_of_log: dict[str, str], member: Member
) -> None:
    await member.join(group_name("7"))
    async with project(["prefork", "-c", "2", "--max-tasks-per-child", "1"], env_of_log) as running:
        ids = await asyncio.to_thread(running.enqueue, 10)
        heard = await member.hear(10)
    assert sorted(heard) == sorted(ids), running.worker.last_lines()
    assert sorted(await asyncio.to_thread(_logged_and_hung_up, group_name("7"))) == sorted(ids)
    assert not [line for line in running.worker.lines if "Traceback" in line], running.worker.last_lines(80)


#: Which workers are frozen out, and how many of their tasks may wait for that: the first of each process.
FROZEN_OUT = [
    pytest.param("core", ["prefork", "-c", "2"], 2, id="prefork-core"),
    pytest.param("pubsub", ["threads", "-c", "4"], 1, id="threads-pubsub"),
    pytest.param("core", ["solo"], 1, id="solo-core"),
    pytest.param("pubsub", ["gevent", "-c", "10"], 1, id="gevent-pubsub"),
]


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("layers", "pool", "may_wait"), FROZEN_OUT, indirect=["layers"])
async def test_a_frozen_redis_fails_no_task_and_delays_only_the_first_and_loses_no_event(
    pool: list[str], may_wait: int, server: Redis, env: dict[str, str], member: Member, clean_environ: dict[str, str]
) -> None:
    stream = group_name("7")
    await member.join(stream)
    # The broker goes on: else no task would run at all.
    with redis_of_its_own(clean_environ) as broker:
        async with project(pool, env | {"PUBLISHER_REDIS": broker.url}) as running:
            before = server.connections_so_far()
            usual = await asyncio.to_thread(running.enqueue, 100)
            assert sorted(await member.hear(100)) == sorted(usual), running.worker.last_lines()
            assert server.connections_so_far() - before < 40
            server.freeze()
            try:
                took = await asyncio.to_thread(running.run, 1)
                took += await asyncio.to_thread(running.run, 20)
            finally:
                server.thaw()
            heard = await member.hear(21)
    in_order = logged(stream)
    assert sorted(in_order[:100]) == sorted(usual)
    assert sorted(in_order[100:]) == sorted(heard), running.worker.last_lines(60)
    assert len(set(in_order)) == len(in_order) == 121
    # What was waited for is the deadline at most, and a busy machine.
    assert max(took) < EventOptions().deadline + 1
    assert len([each for each in took if each > 0.5]) <= may_wait, took
    assert not [line for line in running.worker.lines if "Traceback" in line], running.worker.last_lines(80)
