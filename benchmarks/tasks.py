"""Worker process. What the worker of the benchmarks runs: nothing at all, ours and Celery's own way, between two clocks."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import redis
from celery import shared_task

from tasks_celery import task
from tasks_celery.channels import notify


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


@notify("report.ready", to=lambda result: result.args[0], payload=lambda result: {"done": result.return_value})
@task
def report(user: str) -> float:
    """Tell when it was done; that is announced."""
    return time.time()


@shared_task
def usual_report(user: str) -> None:
    """Do the same as projects do it by hand."""
    from asgiref.sync import async_to_sync
    from channels.layers import get_channel_layer

    message = {"type": "report.ready", "data": {"id": "x" * 32, "payload": {"done": time.time()}}}
    async_to_sync(get_channel_layer().group_send)(f"user_{user}", message)


@shared_task(ignore_result=True)
def tell(key: str) -> None:
    """Tell the time, and how much memory this process has, in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    client = redis.Redis.from_url(os.environ["BENCH_REDIS"])
    client.rpush(key, f"{time.perf_counter()} {pages * os.sysconf('SC_PAGE_SIZE')}")
    client.close()
