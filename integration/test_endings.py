"""Every ending on a real prefork worker and a real Redis: one record that tells the truth, one finished event.

The worker runs the ready app of a project without a celery.py: ``celery -A tasks_celery worker``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from example.servers import ROOT, Child, plan_redis, redis_answers, stop, wait_until
from integration.conftest import require

# ending: (status, last error, attempts, errors)
ENDINGS: dict[str, tuple[str, str | None, int, int]] = {
    "success": ("SUCCESSFUL", None, 1, 0),
    "async": ("SUCCESSFUL", None, 1, 0),
    "delay()": ("SUCCESSFUL", None, 1, 0),
    "by name": ("SUCCESSFUL", None, 1, 0),
    "deferred": ("SUCCESSFUL", None, 1, 0),
    "exception": ("FAILED", "builtins.ValueError", 1, 1),
    "strange exception": ("FAILED", "integration.endings.tasks.Strange", 1, 1),
    "wrong arguments": ("FAILED", "builtins.TypeError", 1, 1),
    "no JSON": ("FAILED", "builtins.TypeError", 1, 1),
    "MemoryError": ("FAILED", "builtins.MemoryError", 1, 1),
    "SystemExit": ("FAILED", "builtins.SystemExit", 1, 1),
    "KeyboardInterrupt": ("FAILED", "builtins.KeyboardInterrupt", 1, 1),
    "odd BaseException": ("FAILED", "integration.endings.tasks.Odd", 1, 1),
    "child killed": ("FAILED", "billiard.exceptions.WorkerLostError", 1, 1),
    "child killed, run again": ("SUCCESSFUL", None, 2, 0),
    "retried": ("SUCCESSFUL", "builtins.KeyError", 3, 2),
    "retries exhausted": ("FAILED", "builtins.KeyError", 4, 4),
    "hard time limit": ("FAILED", "billiard.exceptions.TimeLimitExceeded", 1, 1),
    "soft time limit": ("FAILED", "billiard.exceptions.SoftTimeLimitExceeded", 1, 1),
    "Reject": ("FAILED", "celery.exceptions.Reject", 1, 1),
    "Ignore": ("FAILED", "celery.exceptions.Ignore", 1, 1),
    "revoked": ("FAILED", "celery.exceptions.TaskRevokedError", 0, 1),
    "terminated": ("FAILED", "celery.exceptions.TaskRevokedError", 1, 1),
    "unknown name": ("FAILED", "celery.exceptions.NotRegistered", 0, 1),
}


@pytest.fixture(scope="module")
def env(clean_environ: dict[str, str]) -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory() as directory:
        plan = plan_redis(clean_environ, Path(directory))
        require(plan.url, f"There is no Redis server here but {plan.label}; install redis-server.")
        url = str(plan.url)
        settings = {"DJANGO_SETTINGS_MODULE": "integration.settings", "PYTHONUNBUFFERED": "1"}
        env = clean_environ | settings | {"ENDINGS_REDIS": url.replace("unix:", "redis+socket:")}
        redis = Child("redis", plan.command, env=env)
        try:
            wait_until(lambda: redis_answers(url), what="Redis", watch=[redis])
            yield env
        finally:
            stop([redis])


@pytest.fixture(scope="module")
def worker(env: dict[str, str]) -> Iterator[Child]:
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "tasks_celery",
        "worker",
        "-P",
        "prefork",
        "-c",
        "4",
        "-l",
        "INFO",
    ]
    child = Child("worker", command, env=env, ready_line=" ready.")
    try:
        wait_until(child.said_ready.is_set, what="worker", watch=[child])
        yield child
    finally:
        stop([child])


@pytest.fixture(scope="module")
def endings(worker: Child, env: dict[str, str]) -> dict[str, dict[str, Any]]:
    command = [sys.executable, "-m", "integration.endings.drive"]
    driven = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=150, check=False)
    assert driven.returncode == 0, driven.stderr + worker.last_lines(80)
    sys.stderr.write(driven.stderr)
    worker.check()
    facts: dict[str, dict[str, Any]] = json.loads(driven.stdout)
    return facts


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_record_tells_how_it_ended(endings: dict[str, dict[str, Any]], ending: str) -> None:
    status, error, attempts, errors = ENDINGS[ending]
    facts = endings[ending]
    assert (facts["status"], facts["attempts"], len(facts["errors"])) == (status, attempts, errors), facts
    assert (facts["errors"] or [None])[-1] == error, facts


@pytest.mark.parametrize("ending", ENDINGS)
def test_one_finished_event_whose_receiver_can_read_the_result(endings: dict[str, dict[str, Any]], ending: str) -> None:
    status = ENDINGS[ending][0]
    assert endings[ending]["finished"] == [[status, status]]


@pytest.mark.parametrize("ending", ENDINGS)
def test_times_are_in_order(endings: dict[str, dict[str, Any]], ending: str) -> None:
    facts = endings[ending]
    names = ["enqueued_at", "started_at", "last_attempted_at", "finished_at"]
    times = [facts[name] for name in names if facts[name] is not None]
    assert times == sorted(times)
    assert facts["finished_at"]
    assert bool(facts["started_at"]) == bool(facts["attempts"])


@pytest.mark.parametrize("ending", [name for name, row in ENDINGS.items() if row[0] == "FAILED"])
def test_a_traceback_ends_with_the_error(endings: dict[str, dict[str, Any]], ending: str) -> None:
    facts = endings[ending]
    name = facts["errors"][-1].rpartition(".")[2]
    assert name in facts["tracebacks"][-1].strip().splitlines()[-1], facts["tracebacks"][-1]


def test_started_is_announced_once_per_attempt(endings: dict[str, dict[str, Any]]) -> None:
    for ending, facts in endings.items():
        assert len(facts["started"]) == facts["attempts"], ending
        assert len(facts["enqueued"]) == (0 if ending in ("by name", "unknown name") else 1), ending


def test_the_worker_lists_the_django_tasks_by_name(worker: Child) -> None:
    banner = "\n".join(worker.lines)
    assert ". integration.endings.tasks.succeed" in banner


def test_inspect_registered_lists_the_django_tasks(worker: Child, env: dict[str, str]) -> None:
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "tasks_celery",
        "inspect",
        "registered",
        "--timeout",
        "10",
    ]
    said = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert "integration.endings.tasks.succeed" in said.stdout, said.stdout + said.stderr
