"""Cancelled tasks on real brokers, stores and workers: what waits never runs, what runs is told, and each ends once."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import connections
from django.test import override_settings
from pytest_django.plugin import DjangoDbBlocker

from example.servers import ROOT, Child, plan_redis, redis_answers, stop, wait_until
from integration.conftest import require
from integration.postgres import find_postgres, postgres
from integration.rabbitmq import find_rabbitmq, rabbitmq
from tasks_celery.cancel import cancel
from tasks_celery.compat import task_backends, task_finished
from tests.database.places import migrated_as
from tests.stores.making import HOUR, a_record, an_attempt

pytestmark = pytest.mark.timeout(300)

CANCELLED = "tasks_celery.exceptions.TaskCancelled"
BACKEND = "tasks_celery.CeleryBackend"
RACES = 200


@pytest.fixture(scope="module")
def redis_url(clean_environ: dict[str, str]) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        plan = plan_redis(clean_environ, Path(directory))
        require(plan.url, f"There is no Redis server here but {plan.label}; install redis-server.")
        server = Child("redis", plan.command, env=clean_environ)
        try:
            wait_until(lambda: redis_answers(str(plan.url)), what="Redis", watch=[server])
            yield str(plan.url)
        finally:
            stop([server])


@pytest.fixture(scope="module")
def rabbitmq_url() -> Iterator[str]:
    require(find_rabbitmq(), "There is no RabbitMQ here; install rabbitmq-server.")
    with rabbitmq() as url:
        yield url


@pytest.fixture(scope="module")
def postgres_database(django_db_blocker: DjangoDbBlocker) -> Iterator[dict[str, Any]]:
    """A PostgreSQL with the tables of the store, under the alias "a_server" in this process."""
    require(find_postgres(), "There is no PostgreSQL server here; install postgresql.")
    with postgres() as directory:
        database = {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": directory,
            "NAME": "postgres",
            "USER": "postgres",
        }
        with django_db_blocker.unblock(), migrated_as("a_server", **database):
            yield database


@pytest.fixture(scope="module")
def sqlite_database(
    django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path_factory.mktemp("sqlite") / "db.sqlite3")}
    with django_db_blocker.unblock(), migrated_as("a_file", **database):
        yield database


PLACES = ["Redis", "RabbitMQ", "RabbitMQ and PostgreSQL"]


@pytest.fixture(scope="module")
def driven(clean_environ: dict[str, str], redis_url: str, request: pytest.FixtureRequest) -> Callable[..., Any]:
    """A function that has stories told of a pool, with its broker and its records in a place."""

    def drive(place: str, pool: str, *stories: str) -> Any:
        celerys = redis_url.replace("unix:", "redis+socket:")
        env = clean_environ | {
            "DJANGO_SETTINGS_MODULE": "integration.asking.cancelling.settings",
            "PYTHONUNBUFFERED": "1",
            "ENDINGS_REDIS": celerys,
            "ENDINGS_NOTES": redis_url,
            "ENDINGS_BROKER": celerys if place == "Redis" else request.getfixturevalue("rabbitmq_url"),
        }
        if "PostgreSQL" in place:
            env["DATABASE_UNDER_TEST"] = json.dumps(request.getfixturevalue("postgres_database"))
        command = [sys.executable, "-m", "integration.asking.cancelling.drive", pool, *stories]
        told = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
        assert told.returncode == 0, told.stderr
        return json.loads(told.stdout)

    return drive


@pytest.fixture(scope="module", params=PLACES)
def stories(request: pytest.FixtureRequest, driven: Callable[..., Any]) -> dict[str, Any]:
    told: dict[str, Any] = driven(request.param, "prefork", "waiting", "running_on", "terminated", "restarted")
    return told


def assert_never_ran(facts: dict[str, Any]) -> None:
    assert (facts["status"], facts["errors"]) == ("FAILED", [CANCELLED])
    assert (facts["attempts"], facts["runs"], facts["worker_ids"], facts["started"]) == (0, 0, [], [])
    assert_told_once(facts)


def assert_told_once(facts: dict[str, Any]) -> None:
    (event,) = facts["finished"]
    assert event == {"status": facts["status"], "read": facts["status"], "same": True, "finished before": 0}


def test_what_waits_never_runs(stories: dict[str, Any]) -> None:
    assert_never_ran(stories["waiting"]["queued"])
    assert stories["waiting"]["another"]["runs"] == 1


def test_what_waits_for_its_time_never_runs(stories: dict[str, Any]) -> None:
    assert_never_ran(stories["waiting"]["deferred"])
    assert stories["waiting"]["another, deferred"]["runs"] == 1


def test_what_has_ended_is_not_cancelled_any_more(stories: dict[str, Any]) -> None:
    assert stories["waiting"]["answers"] == [True, True, False, False]
    assert stories["waiting"]["another"]["status"] == "SUCCESSFUL"


@pytest.mark.parametrize(
    ("name", "status", "errors"),
    [
        ("give_up", "FAILED", [CANCELLED]),
        ("end_well", "SUCCESSFUL", []),
        # What it raised asked for another attempt, which it does not get.
        ("try_again", "FAILED", [CANCELLED]),
        ("try_later", "FAILED", ["builtins.KeyError", CANCELLED]),
    ],
)
def test_what_runs_can_see_it_and_is_not_run_again(
    stories: dict[str, Any], name: str, status: str, errors: list[str]
) -> None:
    facts = stories["running_on"][name]
    assert (facts["status"], facts["errors"]) == (status, errors)
    assert (facts["attempts"], facts["runs"]) == (1, 1)
    assert_told_once(facts)
    assert stories["running_on"]["answers"] == [True] * 4


def test_terminate_ends_what_runs_within_seconds_and_once(stories: dict[str, Any]) -> None:
    facts = stories["terminated"]["ended"]
    assert (facts["status"], facts["errors"]) == ("FAILED", ["celery.exceptions.TaskRevokedError"])
    assert (facts["attempts"], facts["runs"]) == (1, 1)
    assert facts["finished_at"] - facts["started_at"] < 20
    assert_told_once(facts)
    assert stories["terminated"]["another"]["status"] == "SUCCESSFUL"


def test_what_was_cancelled_stays_so_though_its_worker_is_restarted(stories: dict[str, Any]) -> None:
    told = stories["restarted"]
    for number in range(5):
        assert_never_ran(told[f"queued {number}"])
    assert told["another"]["runs"] == 1


@pytest.mark.parametrize(("pool", "status"), [("gevent", "FAILED"), ("threads", "SUCCESSFUL"), ("solo", "SUCCESSFUL")])
def test_terminate_ends_what_runs_where_the_pool_can_and_else_it_runs_on(
    pool: str, status: str, driven: Callable[..., Any]
) -> None:
    told = driven("Redis", pool, "terminated")["terminated"]
    assert told["answers"] == [True]
    assert (told["ended"]["status"], told["ended"]["attempts"]) == (status, 1)
    assert_told_once(told["ended"])
    assert told["another"]["status"] == "SUCCESSFUL"


# --- races


@pytest.fixture(params=["Redis", "PostgreSQL", "SQLite"])
def records(request: pytest.FixtureRequest) -> str:
    """The URL of each kind of store."""
    if request.param == "Redis":
        return str(request.getfixturevalue("redis_url"))
    request.getfixturevalue("postgres_database" if request.param == "PostgreSQL" else "sqlite_database")
    return "database://a_server" if request.param == "PostgreSQL" else "database://a_file"


def test_of_a_cancel_and_a_claim_at_the_same_moment_one_comes_first(records: str) -> None:
    options = {"RESULTS": records, "KEY_PREFIX": f"{uuid4().hex}:"}
    ended: list[str] = []

    def note(task_result: Any, **kwargs: Any) -> None:
        ended.append(task_result.id)

    with override_settings(TASKS={"default": {"BACKEND": BACKEND, "QUEUES": [], "OPTIONS": options}}):
        store = task_backends["default"].results.store
        tried = [a_record(id=uuid4().hex, alias="default") for _ in range(RACES)]
        task_finished.connect(note)
        try:
            claims = race(store, tried)
        finally:
            task_finished.disconnect(note)
        never_ran = [record.id for record in tried if claims[record.id] is None]
        for record in tried:
            now = store.get(record.id)
            expected = ("FAILED", False, 0) if record.id in never_ran else ("RUNNING", True, 1)
            assert (now.status, now.cancelled, now.attempt) == expected
    assert sorted(ended) == sorted(never_ran)
    # Else nothing has raced.
    assert 0 < len(never_ran) < RACES


def race(store: Any, records: list[Any]) -> dict[str, Any]:
    """Cancel each task as a worker begins it, and return what the worker was told."""
    for record in records:
        store.create(record, lifetime=HOUR)
    # On your marks: both have a connection that is open.
    start, claims = threading.Barrier(2), {}

    def claim() -> None:
        store.get("nobody")
        for record in records:
            start.wait(60)
            claims[record.id] = store.claim(record, an_attempt("one"), lifetime=HOUR)
        connections.close_all()

    worker = threading.Thread(target=claim)
    worker.start()
    for record in records:
        start.wait(60)
        assert cancel(task_backends["default"], record.id) is True
    worker.join(60)
    return claims
