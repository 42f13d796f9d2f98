"""Both. Notes, outside of all brokers, what was handled and how each task ended."""

from __future__ import annotations

import json
import os
from typing import Any

from django.apps import AppConfig

from tasks_celery.compat import task_finished


class ChannelWorkersConfig(AppConfig):
    name = "integration.channel_workers"

    def ready(self) -> None:
        task_finished.connect(note_end)


def note(what: str, **facts: Any) -> None:
    """Append a line; short ones of several processes do not mix."""
    with open(os.environ["NOTES"], "a") as notes:  # noqa: PTH123
        notes.write(json.dumps({"what": what, "pid": os.getpid(), **facts}) + "\n")


def note_end(task_result: Any, **kwargs: Any) -> None:
    errors = [error.traceback.strip().splitlines()[-1] for error in task_result.errors]
    note(
        "ended",
        id=task_result.id,
        status=str(task_result.status),
        errors=errors,
        args=task_result.args,
        queue=task_result.task.queue_name,
        attempts=task_result.attempts,
    )
