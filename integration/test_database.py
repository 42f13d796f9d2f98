"""Test process. The contract of stores on a real PostgreSQL and on a file of SQLite, races of processes on both,
and a prefork worker whose records are rows."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from django.db import connections, transaction
from pytest_django.plugin import DjangoDbBlocker

from example.servers import ROOT, Child, plan_redis, redis_answers, stop, wait_until
from integration.conftest import require
from integration.database.racing import RACERS, ROUNDS, race
from integration.postgres import find_postgres, postgres
from tasks_celery.database.store import DatabaseStore
from tasks_celery.exceptions import StoreError
from tasks_celery.stores import Record, Store
from tests.database.places import known_as, migrated_as
from tests.shop.running import until
from tests.stores.cases import StoreContract
from tests.stores.making import HOUR, WHEN, a_record, an_attempt

# Eight processes, or a worker and what it is to run, take their time to start on a busy machine.
pytestmark = pytest.mark.timeout(300)

Database = dict[str, Any]


@pytest.fixture(scope="module")
def on_postgres() -> Iterator[Database]:
    """A PostgreSQL of these tests' own, as DATABASES has it."""
    require(find_postgres(), "There is no PostgreSQL server here; install postgresql.")
    with postgres() as directory:
        yield {"ENGINE": "django.db.backends.postgresql", "HOST": directory, "NAME": "postgres", "USER": "postgres"}


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Database:
    """A file of SQLite, with Django's defaults: no WAL, and five seconds of patience."""
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path_factory.mktemp("sqlite") / "db.sqlite3")}


@pytest.fixture(scope="module", params=["postgres", "sqlite"])
def database(request: pytest.FixtureRequest, django_db_blocker: DjangoDbBlocker) -> Iterator[Database]:
    """Each database, migrated, under the alias "tried" in this process."""
    database: Database = request.getfixturevalue(f"on_{request.param}")
    with django_db_blocker.unblock(), migrated_as("tried", **database):
        yield database


class TestRealDatabase(StoreContract):
    @pytest.fixture
    def store(self, database: Database) -> Store:
        return DatabaseStore("tried", timeout=5)


# --- races


@pytest.fixture(scope="module")
def raced(database: Database) -> tuple[dict[str, list[str]], Counter[str]]:
    """The ids of each kind, and how many of eight processes won each."""
    store = DatabaseStore("tried", timeout=30)
    kinds = ("recorded", "unknown", "forgotten", "running", "lost", "leases")
    ids = {kind: [a_record().id for _ in range(ROUNDS)] for kind in kinds}
    for each in ids["recorded"]:
        store.create(a_record(id=each), lifetime=HOUR)
    for each in ids["forgotten"]:
        store.create(a_record(id=each), lifetime=0)
    for each in ids["running"]:
        store.claim(a_record(id=each), an_attempt("one"), lifetime=HOUR)
    for each in ids["lost"]:
        store.create(a_record(id=each, due=WHEN), lifetime=HOUR)
    context = get_context("spawn")
    start, told = context.Barrier(RACERS), context.Queue()
    racers = [context.Process(target=race, args=(database, ids, number, start, told)) for number in range(RACERS)]
    for each in racers:
        each.start()
    try:
        answers = [told.get(timeout=200) for _ in range(RACERS * len(kinds) * ROUNDS)]
    finally:
        for each in racers:
            each.join(10)
            each.kill()
    return ids, Counter(each for each, won in answers if won)


@pytest.mark.parametrize("kind", ["recorded", "unknown", "forgotten", "running", "lost", "leases"])
def test_of_eight_processes_exactly_one_wins(raced: tuple[dict[str, list[str]], Counter[str]], kind: str) -> None:
    ids, wins = raced
    assert {each: wins[each] for each in ids[kind]} == dict.fromkeys(ids[kind], 1)


@pytest.mark.parametrize("kind", ["recorded", "unknown", "forgotten"])
def test_a_task_that_eight_claimed_has_one_attempt(raced: tuple[dict[str, list[str]], Counter[str]], kind: str) -> None:
    store = DatabaseStore("tried", timeout=5)
    for each in raced[0][kind]:
        known = store.get(each)
        assert known is not None
        assert (known.status, known.attempt) == ("RUNNING", 1)


def test_a_task_that_eight_ended_has_one_end(raced: tuple[dict[str, list[str]], Counter[str]]) -> None:
    store = DatabaseStore("tried", timeout=5)
    for each in raced[0]["running"]:
        known = store.get(each)
        assert known is not None
        assert (known.status, len(known.errors)) in (("SUCCESSFUL", 0), ("FAILED", 1))
        assert (known.return_value is not None) is (known.status == "SUCCESSFUL")


# --- what SQLite cannot show


@pytest.fixture
def postgresql(on_postgres: Database, django_db_blocker: DjangoDbBlocker) -> Iterator[DatabaseStore]:
    """A store on PostgreSQL alone; a second connection to it is the alias "beside"."""
    with (
        django_db_blocker.unblock(),
        migrated_as("alone", **on_postgres),
        known_as("beside", **on_postgres),
    ):
        yield DatabaseStore("alone", timeout=5)


def ask_beside(sql: str, *values: Any) -> Any:
    with connections["beside"].cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchone()[0]


def test_a_connection_that_the_server_closed_while_idle_is_made_again(postgresql: DatabaseStore) -> None:
    record = a_record()
    postgresql.create(record, lifetime=HOUR)
    for call in (
        lambda: postgresql.get(record.id) == record,
        lambda: postgresql.claim(record, an_attempt(), lifetime=HOUR),
    ):
        backend = connections["alone"].connection.info.backend_pid
        assert ask_beside("SELECT pg_terminate_backend(%s, 10000)", backend)
        assert call()


def test_a_connection_that_is_lost_inside_a_transaction_is_a_store_error(postgresql: DatabaseStore) -> None:
    def lose_it() -> None:
        with transaction.atomic(using="alone"):
            postgresql.create(a_record(), lifetime=HOUR)
            backend = connections["alone"].connection.info.backend_pid
            assert ask_beside("SELECT pg_terminate_backend(%s, 10000)", backend)
            postgresql.get("x")

    with pytest.raises(StoreError):
        lose_it()
    assert postgresql.get("x") is None


@pytest.mark.parametrize("committed", [True, False])
def test_a_worker_that_is_faster_than_the_commit_waits_for_it(postgresql: DatabaseStore, committed: bool) -> None:
    record = a_record(args=["recorded"])
    seed = replace(record, args=["of the message"])
    claims: list[Record | None] = []

    def claim() -> None:
        claims.append(postgresql.claim(seed, an_attempt(), lifetime=HOUR))
        connections["alone"].close()

    worker = threading.Thread(target=claim)
    with transaction.atomic(using="alone"):
        postgresql.create(record, lifetime=HOUR)
        worker.start()
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        until(lambda: ask_beside(waiting) == 1)
        assert not claims
        transaction.set_rollback(not committed, using="alone")
    worker.join(20)
    assert [claimed.args if claimed else None for claimed in claims] == [record.args if committed else seed.args]
    assert postgresql.get(record.id) == claims[0]


def test_a_conflict_does_not_break_the_transaction_of_the_caller(postgresql: DatabaseStore) -> None:
    # PostgreSQL alone refuses all that follows an error, up to the savepoint.
    record = a_record()
    with transaction.atomic(using="alone"):
        postgresql.create(record, lifetime=HOUR)
        postgresql.create(record, lifetime=HOUR)
        assert postgresql.claim(record, an_attempt(), lifetime=HOUR)
        assert postgresql.hold(record.id, "one", seconds=HOUR)
        assert not postgresql.hold(record.id, "two", seconds=HOUR)
    known = postgresql.get(record.id)
    assert known is not None
    assert known.status == "RUNNING"


def test_an_error_of_the_server_does_not_tell_the_arguments(postgresql: DatabaseStore) -> None:
    with pytest.raises(StoreError, match="value too long") as caught:
        postgresql.create(a_record(name="n" * 300, args=["secret"]), lifetime=HOUR)
    assert "secret" not in str(caught.value)
    assert "secret" not in str(caught.value.__cause__)


# --- a worker


@pytest.fixture(scope="module")
def env(clean_environ: dict[str, str], on_postgres: Database) -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory() as directory:
        plan = plan_redis(clean_environ, Path(directory))
        require(plan.url, f"There is no Redis server here but {plan.label}; install redis-server.")
        url = str(plan.url)
        settings = {
            "DJANGO_SETTINGS_MODULE": "integration.database.settings",
            "DATABASE_UNDER_TEST": json.dumps(on_postgres),
            "ENDINGS_REDIS": url.replace("unix:", "redis+socket:"),
            "PYTHONUNBUFFERED": "1",
        }
        redis = Child("redis", plan.command, env=clean_environ)
        try:
            wait_until(lambda: redis_answers(url), what="Redis", watch=[redis])
            yield clean_environ | settings
        finally:
            stop([redis])


@pytest.fixture(scope="module")
def worker(env: dict[str, str]) -> Iterator[Child]:
    """A prefork worker with one child, on a database that has been migrated."""
    migrate = [sys.executable, "-m", "django", "migrate", "tasks_celery_database", "-v", "0"]
    subprocess.run(migrate, env=env, cwd=ROOT, check=True, timeout=60)
    command = [sys.executable, "-m", "celery", "-A", "tasks_celery", "worker", "-P", "prefork", "-c", "1", "-l", "INFO"]
    child = Child("worker", command, env=env, ready_line=" ready.")
    try:
        wait_until(child.said_ready.is_set, what="worker", watch=[child])
        yield child
    finally:
        stop([child])


@pytest.fixture(scope="module")
def driven(worker: Child, env: dict[str, str]) -> dict[str, Any]:
    """What the rows say of each task that was driven through the worker."""
    command = [sys.executable, "-m", "integration.database.drive"]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr + worker.last_lines(80)
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


@pytest.mark.parametrize(
    ("ending", "status", "value", "attempts", "errors"),
    [
        ("success", "SUCCESSFUL", 2, 1, []),
        ("failure", "FAILED", None, 1, ["builtins.ValueError"]),
        ("retried", "SUCCESSFUL", 3, 3, ["builtins.KeyError"] * 2),
        ("killed", "FAILED", None, 1, ["billiard.exceptions.WorkerLostError"]),
        ("killed, run again", "SUCCESSFUL", 2, 2, ["billiard.exceptions.WorkerLostError"]),
        ("killed again", "FAILED", None, 1, ["billiard.exceptions.WorkerLostError"]),
        # Django's rule is to send at once: what is rolled back is the row alone, and the message tells the rest.
        ("rolled back", "SUCCESSFUL", 6, 1, []),
    ],
)
def test_a_row_tells_how_the_task_ended(
    driven: dict[str, Any], ending: str, status: str, value: Any, attempts: int, errors: list[str]
) -> None:
    expected = {"status": status, "value": value, "attempts": attempts, "errors": errors, "in order": True}
    assert driven[ending] == expected


def test_a_child_that_was_forked_after_a_report_of_its_parent_has_a_connection_of_its_own(
    driven: dict[str, Any], worker: Child
) -> None:
    assert [each["status"] for each in driven["after it"]] == ["SUCCESSFUL"] * 20
    assert "StoreError" not in "\n".join(worker.lines)


def test_no_connection_but_the_movers_stays_open_between_tasks(
    driven: dict[str, Any], postgresql: DatabaseStore
) -> None:
    # With CONN_MAX_AGE too: nobody but the main process itself would close what it opened for a report.
    connections["alone"].close()
    others = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    until(lambda: ask_beside(others) == 1)
