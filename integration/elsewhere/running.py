"""Test process. Servers and workers of the elsewhere project, and the drivers that ask it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from example.servers import ROOT, Child, plan_redis, redis_answers, stop, wait_until
from integration.conftest import require


@contextmanager
def a_redis(environ: Mapping[str, str]) -> Iterator[tuple[str, Child]]:
    """Run a Redis of these tests' own for this block; its URL is as Celery has it."""
    with tempfile.TemporaryDirectory() as directory:
        plan = plan_redis(environ, Path(directory))
        require(plan.url, f"There is no Redis server here but {plan.label}; install redis-server.")
        url = str(plan.url)
        server = Child("redis", plan.command, env=environ)
        try:
            wait_until(lambda: redis_answers(url), what="Redis", watch=[server])
            yield url.replace("unix:", "redis+socket:"), server
        finally:
            stop([server])


def env_of(environ: Mapping[str, str], redis_url: str, **settings: Any) -> dict[str, str]:
    """Return the environment of a process of the project, with these settings over its own."""
    return dict(environ) | {
        "DJANGO_SETTINGS_MODULE": "integration.elsewhere.settings",
        "PYTHONUNBUFFERED": "1",
        "ELSEWHERE_REDIS": redis_url,
        "ELSEWHERE_SETTINGS": json.dumps(settings),
    }


def celery(command: str, *options: str) -> list[str]:
    return [sys.executable, "-m", "celery", "-A", "tasks_celery", command, *options]


@contextmanager
def a_worker(env: Mapping[str, str], *options: str) -> Iterator[Child]:
    """Run a worker for this block; by default two threads, the cheapest pool that runs tasks side by side."""
    command = celery("worker", "-l", "INFO", *(options or ("-P", "threads", "-c", "2")))
    child = Child("worker", command, env=env, ready_line=" ready.")
    try:
        wait_until(child.said_ready.is_set, what="worker", watch=[child])
        yield child
    finally:
        stop([child])


def drive(module: str, *args: str, env: Mapping[str, str], worker: Child | None = None) -> Any:
    """Run a driver of the project, and return the JSON that it prints."""
    command = [sys.executable, "-m", f"integration.elsewhere.{module}", *args]
    driven = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert driven.returncode == 0, driven.stderr + (worker.last_lines(60) if worker else "")
    return json.loads(driven.stdout)


def manage(*args: str, env: Mapping[str, str]) -> str:
    """Run a management command, and return what it says."""
    command = [sys.executable, "-m", "django", *args]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr
