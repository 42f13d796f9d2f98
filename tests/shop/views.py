"""A task outside a tasks module: a worker has to find it all the same."""

from __future__ import annotations

from tasks_celery import task


@task
def from_a_view() -> str:
    return "found"
