"""Worker process. What the worker of the benchmarks runs: nothing at all, ours and Celery's own way, between two clocks."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import redis
from celery import shared_task

from tasks_celery import task


@task
def nothing() -> None:
    return None


@task
def echo(*args: Any, **kwargs: Any) -> None: ...


@task(ignore_result=True)
def nothing_ignored() -> None:
    return None


@shared_task(track_started=True)
def plain() -> None:
    return None


@shared_task(ignore_result=True)
def plain_ignored() -> None:
    return None


@shared_task(ignore_result=True)
def tell(key: str) -> None:
    """Tell the time, and how much memory this process has, in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    client = redis.Redis.from_url(os.environ["BENCH_REDIS"])
    client.rpush(key, f"{time.perf_counter()} {pages * os.sysconf('SC_PAGE_SIZE')}")
    client.close()
