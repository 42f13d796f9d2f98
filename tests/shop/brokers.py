"""Helpers of the fast suite: what a broker was given, brokers that refuse, and a Redis that is broker and store in one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import redis
from django.test import override_settings
from fakeredis import TcpFakeServer

from tasks_celery.compat import task_backends
from tasks_celery.heartbeat import Heartbeat
from tasks_celery.publish import broker, sender
from tasks_celery.stores import Record
from tests.shop.running import configured, the_app

HOST = "127.0.0.1"
#: The databases of the one Redis: the broker's is another than the store's.
STORE, BROKER = 0, 1


def messages(queue: str = "default") -> list[Any]:
    """Take the messages out of a queue, the oldest first."""
    taken = []
    with the_app().connection_for_write() as connection, connection.SimpleQueue(queue) as waiting_there:
        while waiting_there.qsize():
            message = waiting_there.get(block=False)
            message.ack()
            taken.append(message)
    return taken


@contextmanager
def a_broker_that(answers: Callable[[Record], None]) -> Iterator[list[Record]]:
    """Ask `answers` for each record before its message is sent; what it raises, the broker is taken to have raised.

    Yield the records whose messages were tried, in order.
    """
    tried: list[Record] = []
    send = sender.send

    def ask(backend: Any, producer: Any, record: Record, **options: Any) -> None:
        tried.append(record)
        answers(record)
        send(backend, producer, record, **options)

    with mock.patch.object(sender, "send", ask):
        yield tried


@contextmanager
def a_broker_that_raises(error: BaseException, *, at: int = 0) -> Iterator[list[Record]]:
    """Let a broker take so many messages, and raise an error then."""
    with a_broker_that(lambda record: _raise(error) if len(tried) > at else None) as tried:
        yield tried


def _raise(error: BaseException) -> None:
    raise error


@contextmanager
def a_heartbeat() -> Iterator[None]:
    """Run mover and sweeper, which a worker of the tests has not, for this block."""
    heartbeat = Heartbeat(task_backends["default"])
    heartbeat.begin()
    try:
        yield
    finally:
        heartbeat.stop()


@dataclass(frozen=True, slots=True)
class OneRedis:
    """A Redis of this process, listening on a free port."""

    port: int

    def url(self, database: int) -> str:
        """Return the URL of one of its databases."""
        return f"redis://{HOST}:{self.port}/{database}"

    @contextmanager
    def database(self, number: int) -> Iterator[redis.Redis]:
        """Yield a client of a database, which is what another process sees."""
        with redis.Redis(host=HOST, port=self.port, db=number, decode_responses=True) as client:
            yield client

    def keys(self, number: int) -> set[str]:
        """Return the keys of a database, but for what kombu says of its queues."""
        with self.database(number) as client:
            return {key for key in client.scan_iter(count=1_000) if "_kombu." not in key}

    def sent(self, key: str = "default\x06\x163") -> list[dict[str, Any]]:
        """Return the messages in a list of the broker's, the oldest first."""
        with self.database(BROKER) as client:
            return [json.loads(text) for text in reversed(client.lrange(key, 0, -1))]


def _patient(handler: Any) -> type:
    """Return a handler that goes on after an error that it has answered, as a real Redis does."""

    class Patient(handler):  # type: ignore[misc]
        # Of an answer in several packets, all but the first would wait 40 ms each for the client's ACK.
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            read = self.current_client.read_response

            def answer(*args: Any, **options: Any) -> Any:
                try:
                    return read(*args, **options)
                except redis.ResponseError as error:
                    return error

            self.current_client.read_response = answer

    return Patient


@contextmanager
def one_redis(*, conf: Mapping[str, Any] | None = None, options: Mapping[str, Any] | None = None) -> Iterator[OneRedis]:
    """Let one Redis be the broker and the store, each in a database of its own, for this block."""
    with TcpFakeServer((HOST, 0)) as server:
        server.RequestHandlerClass = _patient(server.RequestHandlerClass)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        here = OneRedis(server.server_address[1])
        try:
            with used_for_all(here.url(STORE), here.url(BROKER), conf=conf, options=options):
                yield here
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def used_for_all(
    store: str, broker_url: str, *, conf: Mapping[str, Any] | None = None, options: Mapping[str, Any] | None = None
) -> Iterator[None]:
    """Keep records in one place and messages in another, for this block; no connection is left open."""
    tasks = {
        "default": {
            "BACKEND": "tasks_celery.CeleryBackend",
            "QUEUES": ["default", "reports"],
            "OPTIONS": {"RESULTS": store, "TIMEOUT": 5, **(options or {})},
        }
    }
    known = set(broker._pools.get(the_app(), {}))
    try:
        with configured(the_app(), broker_url=broker_url, **(conf or {})), override_settings(TASKS=tasks):
            try:
                yield
            finally:
                _close(task_backends["default"].results.store)
    finally:
        for key in set(broker._pools.get(the_app(), {})) - known:
            broker._pools[the_app()].pop(key).connections.force_close_all()


def _close(store: Any) -> None:
    while store._caller._idle:
        store._caller._idle.pop().disconnect()


@contextmanager
def round_trips() -> Iterator[list[str]]:
    """Yield what is sent to Redis in this block: one text for each time that somebody waits for an answer."""
    trips: list[str] = []
    send = redis.connection.AbstractConnection.send_packed_command

    def count(connection: Any, command: Any, *args: Any, **options: Any) -> Any:
        packed = b"".join([command] if isinstance(command, bytes) else command)
        trips.append(packed.split(b"\r\n", 3)[2].decode())
        return send(connection, command, *args, **options)

    with mock.patch.object(redis.connection.AbstractConnection, "send_packed_command", count):
        yield trips
