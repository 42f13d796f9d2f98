"""Options of a task and of a call on a real prefork worker: what Celery does of them, and what we do.

Rows in a PostgreSQL; records in Redis, and then in the same database.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from example.servers import ROOT, Child, stop
from integration.conftest import eventually, require
from integration.elsewhere.running import a_redis, a_worker, celery, env_of, manage
from integration.postgres import find_postgres, postgres

pytestmark = pytest.mark.timeout(300)

STORIES = ("retries", "transactions", "old_names", "limits", "results_kept")
Env = dict[str, str]


@pytest.fixture(scope="module")
def database() -> Iterator[dict[str, Any]]:
    require(find_postgres(), "There is no PostgreSQL server here; install postgresql.")
    with postgres() as directory:
        yield {"ENGINE": "django.db.backends.postgresql", "HOST": directory, "NAME": "postgres", "USER": "postgres"}


@pytest.fixture(scope="module", params=["redis", "database"])
def env(
    request: pytest.FixtureRequest,
    database: dict[str, Any],
    clean_environ: Env,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Env]:
    with a_redis(clean_environ) as (url, _):
        results = f"{url}?virtual_host=15" if request.param == "redis" else "database://"
        ours = {"BACKEND": "tasks_celery.CeleryBackend", "QUEUES": ["default", "reports"]}
        tasks = {"default": ours | {"OPTIONS": {"RESULTS": results}}}
        beat = {"tick": {"task": "choosing.old", "schedule": 1.0, "args": ["by beat"], "options": {"queue": "default"}}}
        env = env_of(clean_environ, url, TASKS=tasks, CELERY_BEAT_SCHEDULE=beat) | {
            "DJANGO_SETTINGS_MODULE": "integration.asking.choosing.settings",
            "DATABASE_UNDER_TEST": json.dumps(database),
            "SCRATCH": str(tmp_path_factory.mktemp("scratch")),
        }
        manage("migrate", env=env)
        manage("flush", "--no-input", env=env)
        yield env


@pytest.fixture(scope="module")
def worker(env: Env) -> Iterator[Child]:
    with a_worker(env, "-P", "prefork", "-c", "4", "-Q", "default") as child:
        yield child


def drive(*args: str, env: Env, worker: Child | None = None) -> Any:
    command = [sys.executable, "-m", "integration.asking.choosing.drive", *args]
    driven = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert driven.returncode == 0, driven.stderr + (worker.last_lines(60) if worker else "")
    return json.loads(driven.stdout)


@pytest.fixture(scope="module")
def told(worker: Child, env: Env) -> dict[str, dict[str, Any]]:
    facts: dict[str, dict[str, Any]] = drive(*STORIES, env=env, worker=worker)
    return facts


def how(facts: dict[str, Any]) -> tuple[str, list[str], int]:
    return facts["status"], facts["errors"], facts["attempts"]


def test_a_function_tells_what_is_tried_again_as_celery_would(told: dict[str, Any]) -> None:
    retries = told["retries"]
    assert how(retries["meant"]) == ("FAILED", ["ValueError"] * 3, 3)
    assert how(retries["Celery's"]) == ("FAILED", ["KeyError"] * 3, 3)
    assert how(retries["not meant"]) == ("FAILED", ["ValueError"], 1)


def test_a_function_tells_how_long_to_wait_and_when_to_give_up(told: dict[str, Any]) -> None:
    retries = told["retries"]
    assert how(retries["backing off"]) == ("FAILED", ["Busy"] * 4, 4)
    assert [wait >= least for wait, least in zip(retries["waits"], (0.5, 2.0, 4.5), strict=True)] == [True] * 3
    assert sum(retries["waits"]) < 20
    assert how(retries["no more"]) == ("FAILED", ["ValueError"], 1)


@pytest.mark.parametrize("which", ["asked", "asked by a coroutine"])
def test_a_task_that_asks_for_it_is_run_again(told: dict[str, Any], which: str) -> None:
    assert how(told["retries"][which]) == ("SUCCESSFUL", ["Retry"] * 2, 3)
    assert told["retries"][which]["value"] == 3


def test_a_task_that_asks_too_often_has_failed(told: dict[str, Any]) -> None:
    assert how(told["retries"]["asked too often"]) == ("FAILED", ["Retry", "Retry", "MaxRetriesExceededError"], 3)


def test_what_did_not_succeed_in_a_transaction_leaves_its_record_alone(told: dict[str, Any]) -> None:
    facts = told["transactions"]
    assert facts["seen before its end"] is False
    assert how(facts["waits"]) == ("SUCCESSFUL", [], 1)
    assert how(facts["fails"]) == ("FAILED", ["ValueError"], 1)
    assert how(facts["again"]) == ("SUCCESSFUL", ["Retry"], 2)
    assert how(facts["killed"]) == ("FAILED", ["TimeLimitExceeded"], 1)
    assert facts["rows"] == ["attempt 2", "seen"]


@pytest.mark.parametrize("name", ["choosing.old", "choosing.older", "choosing.new"])
def test_a_message_of_an_old_name_runs_and_its_result_tells_the_new(told: dict[str, Any], name: str) -> None:
    facts = told["old_names"][name]
    assert (facts["status"], facts["value"], facts["got"]) == ("SUCCESSFUL", "hello", "hello")
    assert (facts["path"], facts["record"]) == ("integration.asking.choosing.tasks.rename", "choosing.new")


def test_a_worker_logs_a_task_by_its_name(told: dict[str, Any], worker: Child) -> None:
    assert told
    done = [line for line in worker.lines if "succeeded" in line and "Task choosing." in line]
    assert done
    assert all("Task choosing.new[" in line for line in done)


def test_beat_may_call_a_task_by_its_old_name(worker: Child, env: Env) -> None:
    schedule = f"{env['SCRATCH']}/schedule-{time.time_ns()}"
    beat = Child("beat", celery("beat", "-s", schedule), env=env)
    try:
        eventually(lambda: _said(worker, "Task choosing.new[", "succeeded", "'by beat'"))
    finally:
        stop([beat])


def _said(child: Child, *parts: str) -> None:
    assert any(all(part in line for part in parts) for line in child.lines)


def test_a_call_has_time_limits_of_its_own(told: dict[str, Any]) -> None:
    limits = told["limits"]
    assert how(limits["none"]) == how(limits["within its own"]) == ("SUCCESSFUL", [], 1)
    assert how(limits["hard"]) == ("FAILED", ["TimeLimitExceeded"], 1)
    assert how(limits["soft"]) == how(limits["shorter than its own"]) == ("FAILED", ["SoftTimeLimitExceeded"], 1)


def test_a_call_may_keep_celerys_result_out(told: dict[str, Any]) -> None:
    kept = told["results_kept"]
    assert how(kept["kept"]) == how(kept["ignored"]) == ("SUCCESSFUL", [], 1)
    assert kept["celerys"] == ["SUCCESS", "PENDING"]


def test_a_call_may_expire_and_be_compressed(env: Env, worker: Child) -> None:
    facts = drive("enqueue_for_nobody", env=env)["enqueue_for_nobody"]
    assert facts["compressed"] == {"long": None, "small": "application/x-gzip"}
    assert facts["expires"] == [True, True, False]
    with a_worker(env, "-P", "prefork", "-c", "1", "-Q", "reports", "-n", "late@options") as late:
        ids = facts["ids"]
        short, long, small = drive("look", ids["short"], ids["long"], ids["small"], env=env, worker=late)
    assert (short["status"], short["errors"], short["attempts"]) == ("FAILED", ["TaskRevokedError"], 0)
    assert (long["status"], long["value"]) == ("SUCCESSFUL", "0 letters")
    assert (small["status"], small["value"]) == ("SUCCESSFUL", "10000 letters")
