"""Web process of one version: makes the calls that it is told to, one a line, and answers each with a line of JSON."""

from __future__ import annotations

import json
import sys
from typing import Any


def call(name: str, calls: list[str]) -> list[str]:
    from orders import calls as sites  # type: ignore[import-not-found]  # the version's own

    return [getattr(sites, name)(each) for each in calls]


def view(result_id: str) -> Any:
    from django.test import Client

    return Client().get(f"/orders/{result_id}/").json()


def celery(result_id: str) -> Any:
    from celery.result import AsyncResult

    result: Any = AsyncResult(result_id)
    return {"ready": result.ready(), "value": result.result if result.successful() else None}


def django_(result_id: str) -> Any:
    from tasks_celery.compat import task_backends

    result = task_backends["default"].get_result(result_id)
    return {"status": str(result.status), "task": result.task.module_path, "attempts": result.attempts}


def row(call: str, task: str) -> None:
    """Make the row of a schedule that ticks once, as soon as a beat sees it."""
    from django_celery_beat.models import IntervalSchedule, PeriodicTask

    every, _ = IntervalSchedule.objects.get_or_create(every=1, period="seconds")
    PeriodicTask.objects.create(name=call, task=task, interval=every, args=json.dumps([call]), one_off=True)


def main() -> None:
    import django

    django.setup()
    print("ready.", flush=True)
    for line in sys.stdin:
        name, *args = json.loads(line)
        answer = {"call": call, "view": view, "celery": celery, "django": django_, "row": row}[name](*args)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
