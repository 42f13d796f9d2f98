"""Both. Notes each task signal in Redis, with what a receiver could then read of the result."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import redis
from django.apps import AppConfig


class EndingsConfig(AppConfig):
    name = "integration.endings"

    def ready(self) -> None:
        from tasks_celery.compat import task_enqueued, task_finished, task_started

        task_finished.connect(_raise)  # first: those after it should hear all the same
        for name, signal in (("enqueued", task_enqueued), ("started", task_started), ("finished", task_finished)):
            signal.connect(_noter(name), weak=False)


def _raise(task_result: Any, **kwargs: Any) -> None:
    if task_result.task.module_path.endswith("be_ignored_by_a_receiver"):
        raise ValueError("deaf")


def _parts(result: Any, signal: str) -> dict[str, Any]:
    # Not the task itself: for a name that nobody knows there is a new stand-in each time.
    facts = {field.name: getattr(result, field.name) for field in fields(result) if field.name != "task"}
    if signal == "started":
        # Celery sends a retry before the attempt that asks for it has ended: its error may come a moment later.
        del facts["errors"]
    return facts | {"task": result.task.module_path, "run_after": result.task.run_after}


def notes() -> redis.Redis:
    return redis.Redis.from_url(os.environ["ENDINGS_NOTES"])


def _noter(name: str) -> Callable[..., None]:
    def note(sender: type, task_result: Any, **kwargs: Any) -> None:
        read = task_result.task.get_backend().get_result(task_result.id)
        client = notes()
        seen = {
            "status": str(task_result.status),
            "read": str(read.status),
            "same": _parts(read, name) == _parts(task_result, name),
            "finished before": client.llen(f"finished:{task_result.id}"),
        }
        client.rpush(f"{name}:{task_result.id}", json.dumps(seen))
        client.close()

    return note
