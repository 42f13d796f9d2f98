"""Web process. One story of priorities on real servers, told as JSON: ``python -m integration.asking.ordering.drive STORY …``.

The environment is the endings', see `integration.settings`, and ORDERING.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import django

from example.servers import Child, stop, wait_until
from integration.endings.drive import until

#: The five tasks by their number, from the highest priority on, in the order they are enqueued in.
ENQUEUED = (2, 4, 0, 1, 3, 2, 3, 0, 4, 1)


def in_turn(queue: str) -> list[str]:
    from integration.asking.ordering.tasks import FIVE

    return [FIVE[number].using(queue_name=queue).enqueue().id for number in ENQUEUED]


def by_using(queue: str) -> list[str]:
    from integration.asking.ordering.tasks import FIVE

    tasks = [FIVE[2].using(queue_name=queue, priority=task.priority) for task in FIVE]
    return [tasks[number].enqueue().id for number in ENQUEUED]


def at_once(queue: str) -> list[str]:
    from integration.asking.ordering.tasks import FIVE
    from tasks_celery.compat import task_backends

    backend: Any = task_backends["default"]
    results = backend.enqueue_many([(FIVE[number].using(queue_name=queue), (), {}) for number in ENQUEUED])
    return [result.id for result in results]


def by_delay(queue: str) -> list[str]:
    from integration.asking.ordering.tasks import FIVE

    return [str(FIVE[number].celery.apply_async(queue=queue).id) for number in ENQUEUED]


def by_sweeper(queue: str) -> list[str]:
    """Lose the messages, and have a sweeper send them again."""
    from tasks_celery.compat import task_backends
    from tasks_celery.sweeper import Sweeper

    waiting = in_turn(queue)
    backend: Any = task_backends["default"]
    with backend.app.connection_for_write() as connection:
        assert connection.default_channel.queue_purge(queue=queue) == len(waiting)
    sweeper = Sweeper(backend, backend.results)
    resent = 0

    def all_resent() -> bool:
        nonlocal resent
        resent += sweeper.look().resent
        return resent == len(waiting)

    until(all_resent)
    return waiting


WAYS: dict[str, Callable[[str], list[str]]] = {
    "enqueue": in_turn,
    "using": by_using,
    "enqueue_many": at_once,
    "delay": by_delay,
    "sweeper": by_sweeper,
}


@contextmanager
def worker(*queues: str, pool: str = "prefork", concurrency: int = 1, prefetch: int = 1) -> Iterator[Child]:
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "tasks_celery",
        "worker",
        "-l",
        "INFO",
        "-P",
        pool,
        "-O",
        "fair",
    ]
    command += ["-c", str(concurrency), f"--prefetch-multiplier={prefetch}", "-Q", ",".join(queues)]
    child = Child("worker", [*command, "-n", f"{queues[0]}@ordering"], env=dict(os.environ), ready_line=" ready.")
    try:
        wait_until(child.said_ready.is_set, what="the worker", watch=[child])
        yield child
    finally:
        stop([child])


def began() -> list[str]:
    from integration.endings.apps import notes

    client = notes()
    told = [one.decode() for one in client.lrange("began", 0, -1)]
    client.close()
    return told


def five(pool: str, *ways: str) -> dict[str, list[int]]:
    """Enqueue in each of these ways, to a queue for each, then start a worker; tell in which order their tasks were run.

    A task is named by its place in ENQUEUED.
    """
    queues = {way: f"{way}-{uuid4().hex}" for way in ways}
    sent = {way: WAYS[way](queue) for way, queue in queues.items()}
    with worker(*queues.values(), pool=pool):
        until(lambda: len(began()) >= len(ways) * len(ENQUEUED))
    order = began()
    return {
        way: sorted(range(len(ids)), key=[order.index(each) for each in ids].__getitem__) for way, ids in sent.items()
    }


def overtaken(concurrency: str, prefetch: str) -> int:
    """Let low tasks wait behind those that run, enqueue a high one, and tell how many low ones began before it did."""
    from integration.asking.ordering import tasks

    queue, waiting = f"overtaken-{uuid4().hex}", 60
    for _ in range(waiting):
        tasks.take.using(queue_name=queue).enqueue(0.2)
    with worker(queue, concurrency=int(concurrency), prefetch=int(prefetch)):
        until(lambda: len(began()) >= 5 * int(concurrency))
        tasks.overtake.using(queue_name=queue).enqueue()
        asked = len(began())
        until(lambda: "high" in began())
    return began().index("high") - asked


def refused() -> str:
    """Enqueue to a queue that RabbitMQ refuses to make, and tell the error."""
    from integration.endings.tasks import succeed
    from tasks_celery import EnqueueError

    try:
        succeed.using(queue_name=f"refused-{uuid4().hex}").enqueue()
    except EnqueueError as error:
        return str(error)
    return "nothing was refused"


STORIES: dict[str, Callable[..., Any]] = {"five": five, "overtaken": overtaken, "refused": refused}


def main(story: str, *args: str) -> None:
    django.setup()
    forget()
    json.dump(STORIES[story](*args), sys.stdout)


def forget() -> None:
    from integration.endings.apps import notes

    client = notes()
    client.delete("began")
    client.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
