"""Worker process. What the schedules run: each run is noted, with its id and when it began."""

from __future__ import annotations

import json
import time
from typing import Any

from integration.endings.apps import notes
from tasks_celery import task


@task(takes_context=True)
def count(context: Any, name: str) -> None:
    client = notes()
    client.rpush("runs", json.dumps({"id": context.task_result.id, "name": name, "at": time.time()}))
    client.close()
