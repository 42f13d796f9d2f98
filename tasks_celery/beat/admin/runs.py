"""Web process. What became of a schedule's last ticks: each with the state of the task that it sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from tasks_celery.beat.known import django_task
from tasks_celery.beat.models import Tick
from tasks_celery.beat.options import schedule_settings
from tasks_celery.compat import AnyResult, TaskResultDoesNotExist, task_backends
from tasks_celery.exceptions import TasksCeleryError
from tasks_celery.twin import backend_of

GONE = "gone"
AWAY = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A tick, and what the result of its task tells without its arguments and what it returned.

    `status` is empty where nothing was sent, GONE where nothing is known of it (any more), AWAY where nobody could be asked:
    `trouble` says why.
    """

    tick: Tick
    status: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: str = ""
    trouble: str = ""


def last_runs(row: Any) -> list[Run]:
    """Return what became of a schedule's last ticks, the newest first: as many as are kept."""
    ticks = Tick.objects.filter(periodic_task=row).order_by("-at")[: schedule_settings().keep]
    return list(_looked_up(row, ticks))


def _looked_up(row: Any, ticks: Any) -> Iterator[Run]:
    """Yield the runs. Who did not answer once is not asked again, for each time is one to wait for."""
    trouble, backend = "", _backend(row)
    for tick in ticks:
        if tick.outcome != Tick.SENT:
            yield Run(tick=tick)
        elif trouble:
            yield Run(tick=tick, status=AWAY, trouble=trouble)
        else:
            run = _look_up(backend, tick)
            trouble = run.trouble
            yield run


def _backend(row: Any) -> Any:
    """Return the backend to ask: the task's own, else the first that reads Celery's results."""
    if task := django_task(row.task):
        return backend_of(task)
    every = (task_backends[alias] for alias in task_backends.settings)
    return next((each for each in every if hasattr(each, "twin_class")), None)


def _look_up(backend: Any, tick: Tick) -> Run:
    if backend is None or not backend.supports_get_result:
        return Run(tick=tick, status=AWAY, trouble="Results are not kept.")
    try:
        return _run(tick, backend.get_result(tick.result_id))
    except TaskResultDoesNotExist:
        return Run(tick=tick, status=GONE)
    except TasksCeleryError as error:
        return Run(tick=tick, status=AWAY, trouble=str(error))


def _run(tick: Tick, result: AnyResult) -> Run:
    run = Run(tick=tick, status=result.status.value, started_at=result.started_at, finished_at=result.finished_at)
    return replace(run, error=result.errors[-1].exception_class_path) if result.errors else run
