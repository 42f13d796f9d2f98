"""Worker process. Tasks that end in every way, some of them when the test says so; each run is noted outside of the records."""

from __future__ import annotations

import os
import signal
import time
from functools import cache
from typing import Any

import redis

from tasks_celery import task
from tasks_celery.unique import Unique


@cache
def notes() -> redis.Redis:
    """Return the client of the Redis for notes; it connects anew in a forked process."""
    url = os.environ["ENQUEUEING_NOTES"].replace("redis+socket:", "unix:")
    return redis.Redis.from_url(url, db=9, decode_responses=True)


def wait_for(label: str) -> None:
    deadline = time.monotonic() + 90
    while not notes().exists(f"go:{label}"):
        assert time.monotonic() < deadline, f"nobody opened the gate for {label}"
        time.sleep(0.05)


@task(takes_context=True, acks_late=True)
def note(context: Any, label: str) -> str:
    notes().rpush(f"runs:{label}", context.task_result.id)
    return label


@task(unique=True)
def succeed(label: str) -> str:
    return label


@task(unique=True)
def pass_gate(label: str) -> str:
    wait_for(label)
    return label


@task(unique=Unique(until="start"))
def pass_gate_until_start(label: str) -> str:
    wait_for(label)
    return label


@task(unique=Unique(until="time", seconds=600))
def succeed_within_time(label: str) -> str:
    return label


@task(unique=Unique(until="time", seconds=1))
def succeed_for_a_moment(label: str) -> str:
    return label


@task(unique=True)
def fail(label: str) -> None:
    raise ValueError(label)


@task(unique=True, autoretry_for=(KeyError,), max_retries=1, default_retry_delay=2, takes_context=True)
def fail_once(context: Any, label: str) -> int:
    if context.attempt == 1:
        raise KeyError(label)
    return int(context.attempt)


@task(unique=True, time_limit=1)
def overrun(label: str) -> None:
    time.sleep(60)


@task(unique=True)
def kill_self(label: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@task(unique=True)
def sleep(label: str) -> None:
    time.sleep(60)


@task(unique=True, expires=1)
def expire(label: str) -> None:
    raise AssertionError("ran though it had expired")


def runs(label: str) -> list[str]:
    """Return the ids of the tasks that have noted a label, one for each run."""
    found: Any = notes().lrange(f"runs:{label}", 0, -1)
    return list(found)
