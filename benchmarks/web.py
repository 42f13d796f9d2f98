"""Child process of the benchmarks. A web process: what it enqueues and reads with us, with Celery and with neither.

Its broker is the one in BENCH_BROKER, the Redis in BENCH_REDIS if unset, where results and records are in either case.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from benchmarks.harness import Call, each, serve

#: How long the argument is.
SIZES = {"100B": 100, "1kB": 1_000, "10kB": 10_000, "100kB": 100_000}


def main() -> None:
    """Serve the calls by their names."""
    import django

    django.setup()
    from celery import shared_task
    from celery.result import AsyncResult

    from benchmarks.tasks import echo
    from tasks_celery.celery import find_app

    app = find_app()

    @shared_task(name="plain.echo")
    def plain(*args: Any, **kwargs: Any) -> None: ...

    task: Any = app.tasks["plain.echo"]
    known: list[str] = []
    calls: dict[str, Call] = {
        "apply_async": each(lambda: task.apply_async((1,), {"b": 2})),
        "enqueue": each(lambda: echo.enqueue(1, b=2)),
        "bulk": lambda count: echo.enqueue_many([((1,), {"b": 2})] * count),
        "keep": lambda _: known.append(echo.enqueue(1, b=2).id),
        "get_result.redis": each(lambda: echo.get_result(known[-1])),
        "AsyncResult.state": each(lambda: AsyncResult(known[-1], app=app).state),
        "kombu": each(_kombu(app)),
        "LPUSH": each(_lpush()),
    }
    for name, size in SIZES.items():
        calls |= {
            f"apply_async {name}": each(lambda text="x" * size: task.apply_async((text,))),
            f"enqueue {name}": each(lambda text="x" * size: echo.enqueue(text)),
        }
    serve(calls)


def _kombu(app: Any) -> Callable[[], object]:
    """Return what publishes a message of Celery's with kombu alone."""
    from kombu import Producer, Queue

    producer = Producer(app.connection_for_write(), auto_declare=False)
    Queue("raw", routing_key="raw")(producer.channel).declare()
    headers, properties, body, _ = app.amqp.as_task_v2("x" * 32, "plain.echo", (1,), {"b": 2})
    how = {"exchange": "", "routing_key": "raw", "serializer": "json", "priority": 5, "headers": headers}
    return lambda: producer.publish(body, **how, **properties)


def _lpush() -> Callable[[], object]:
    """Return what puts as many bytes into a list of Redis as a message has."""
    import redis

    client = redis.Redis.from_url(os.environ["BENCH_REDIS"])
    return lambda: client.lpush("raw", b"x" * 930)


if __name__ == "__main__":
    main()
