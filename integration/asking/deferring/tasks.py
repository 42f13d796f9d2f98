"""Worker process. What the tests of `run_after` run: each run is noted outside of the records, with how late it is."""

from __future__ import annotations

import os
import time
from functools import cache
from typing import Any

import redis

from tasks_celery import task


@cache
def notes() -> redis.Redis:
    """Return the client of the Redis for notes; it connects anew in a forked process."""
    return redis.Redis.from_url(os.environ["DEFERRING_NOTES"])


@task(takes_context=True)
def note(context: Any, label: str, due: float) -> None:
    late = time.time() - due
    notes().rpush(f"runs:{label}", f"{context.task_result.id} {late}")
