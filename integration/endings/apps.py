"""Notes each finished event in Redis, with what a receiver could then read of the result."""

from __future__ import annotations

import json
import os
from typing import Any

import redis
from django.apps import AppConfig


class EndingsConfig(AppConfig):
    name = "integration.endings"

    def ready(self) -> None:
        from tasks_celery.compat import task_enqueued, task_finished, task_started

        for name, signal in (
            ("enqueued", task_enqueued),
            ("started", task_started),
            ("finished", task_finished),
        ):
            signal.connect(_noter(name), weak=False)


def _noter(name: str) -> Any:
    def note(sender: type, task_result: Any, **kwargs: Any) -> None:
        stored = sender_result(task_result) if name == "finished" else None
        client = redis.Redis.from_url(os.environ["ENDINGS_REDIS"].replace("redis+socket:", "unix:"))
        client.rpush(f"{name}:{task_result.id}", json.dumps([str(task_result.status), stored]))
        client.close()

    return note


def sender_result(task_result: Any) -> str:
    """What a receiver reads when it looks the result up, and what Celery's own result then says."""
    read = task_result.task.get_backend().get_result(task_result.id)
    return str(read.status)
