"""What it costs a web process to enqueue a task and to read a result, against Celery's own calls."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.harness import Measure, compare


def measure() -> Iterator[Measure]:
    from celery import shared_task
    from celery.result import AsyncResult

    from tasks_celery.celery import find_app
    from tests.shop.tasks import add

    app = find_app()

    @shared_task(name="plain.add")
    def plain(a: int, b: int) -> int:
        return a + b

    task = app.tasks["plain.add"]
    yield from compare(
        {"apply_async": lambda: task.apply_async((1,), {"b": 2}), "enqueue.redis": lambda: add.enqueue(1, b=2)},
        against="apply_async",
    )
    result = add.enqueue(1, b=2)
    yield from compare(
        {
            "AsyncResult.state": lambda: AsyncResult(result.id, app=app).state,
            "get_result.redis": lambda: add.get_result(result.id),
        },
        against="AsyncResult.state",
    )
