"""How many tasks a worker gets through, against plain Celery tasks, and whether its memory grows.

One prefork worker with one child does both kinds, a queue of each in turn. The plain task has ``track_started`` and the
project ``result_extended``: the least that tells of it what a record does. The child takes the times.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from benchmarks.harness import Measure, Number, in_rounds

ROUNDS, TASKS = 9, 500
#: For the memory: after so many tasks the worker is warm, and so many more follow.
WARM, MORE = 10_000, 100_000


def measure() -> Iterator[Measure | Number]:
    from benchmarks import tasks

    with _worker() as run:
        send: dict[str, Callable[[str], object]] = {
            "worker.throughput": lambda queue: tasks.nothing.using(queue_name=queue).enqueue(),
            "worker.throughput.ignored": lambda queue: tasks.nothing_ignored.using(queue_name=queue).enqueue(),
            "track_started and result_extended": lambda queue: tasks.plain.apply_async(queue=queue),
            "ignore_result": lambda queue: tasks.plain_ignored.apply_async(queue=queue),
        }
        seconds = in_rounds({name: lambda each=each: run(each, TASKS)[0] for name, each in send.items()}, rounds=ROUNDS)
        for name in ("worker.throughput", "worker.throughput.ignored"):
            for against in ("track_started and result_extended", "ignore_result"):
                yield Measure.of(
                    name, against=against, ours=seconds[name], theirs=seconds[against], repeat=TASKS, speed=True
                )
        plain = send["worker.throughput"]
        before = run(plain, WARM)[1]
        grown = run(plain, MORE)[1] - before
        yield Number(measure="worker.memory", value=round(grown / 2**20, 2), unit=f"MiB more after {MORE} tasks")


@contextmanager
def _worker() -> Iterator[Callable[[Callable[[str], object], int], tuple[float, int]]]:
    """Run a worker; yield what runs so many tasks on it and gives the seconds they took, and the memory at their end."""
    from example.servers import Child, stop, wait_until

    command = [sys.executable, "-m", "celery", "-A", "tasks_celery", "worker", "-c", "1", "-Q", "none", "-n", "bench@x"]
    child = Child("worker", [*command, "-l", "WARNING"], env=dict(os.environ) | {"PYTHONUNBUFFERED": "1"})
    try:
        wait_until(_answers, what="the worker", watch=[child], limit=60)
        yield _run
    finally:
        stop([child])


def _answers() -> bool:
    from tasks_celery.celery import find_app

    return bool(find_app().control.ping(timeout=1))


def _run(send: Callable[[str], object], count: int) -> tuple[float, int]:
    import redis

    from benchmarks import tasks
    from tasks_celery.celery import find_app

    queue, told = uuid4().hex, f"told:{uuid4().hex}"
    tasks.tell.apply_async((told,), queue=queue)
    for _ in range(count):
        send(queue)
    tasks.tell.apply_async((told,), queue=queue)
    control: Any = find_app().control
    control.add_consumer(queue, reply=True)
    client = redis.Redis.from_url(os.environ["BENCH_REDIS"], socket_timeout=None)
    (begun, _), (ended, memory) = (_told(client, told) for _ in range(2))
    control.cancel_consumer(queue, reply=True)
    client.close()
    return ended - begun, int(memory)


def _told(client: Any, key: str) -> list[float]:
    _, text = client.blpop(key, timeout=600)
    return [float(part) for part in text.split()]
