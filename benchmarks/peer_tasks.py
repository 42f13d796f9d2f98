"""Child process of the benchmarks. The task that the other backends enqueue."""

from __future__ import annotations

try:
    from django_tasks import task  # a backend that brings the backport along knows no other
except ImportError:
    from django.tasks import task


@task
def add(a: int, b: int = 0) -> int:
    return a + b
