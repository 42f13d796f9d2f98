"""How long after a task is done its user's page hears of it, against the usual pattern, at three paces.

The usual pattern is a Celery task that ends with `async_to_sync(group_send)`, and an AsyncJsonWebsocketConsumer. Both are done by the same
worker and heard from the same server; in each round, each comes once. The event that the page hears tells when the task was done.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from statistics import quantiles

from benchmarks.harness import Measure
from benchmarks.pages import Pages

AGAINST = "async_to_sync(group_send)"
#: Tasks a second, and for how many seconds each way comes in a round, and how many rounds.
PACES = {1: (8.0, 3), 10: (4.0, 5), 100: (3.0, 5)}
#: The pace of the measures without a number in their name.
USUAL_PACE = 10
PEOPLE = 10
WORKER = ("celery", "-A", "tasks_celery", "worker", "-P", "prefork", "-c", "2", "-l", "INFO")


def measure() -> Iterator[Measure]:
    from benchmarks.people import make_people
    from example.servers import Child, stop, wait_until
    from integration.events.servers import Web

    with ExitStack() as stack:
        env = dict(os.environ) | {"PYTHONUNBUFFERED": "1"}
        worker = Child("worker", [sys.executable, "-m", *WORKER], env=env, ready_line=" ready.")
        stack.callback(stop, [worker])
        web = Web("daphne", env, application="benchmarks.asgi:application")
        stack.callback(web.stop)
        people = make_people(PEOPLE)
        web.wait()
        wait_until(worker.said_ready.is_set, what="the worker", watch=[worker])
        yield from asyncio.run(_measure(web.place, people))


async def _measure(place: str, people: list[tuple[str, str]]) -> list[Measure]:
    from benchmarks import tasks

    ways: dict[str, Callable[[str], object]] = {"ours": tasks.report.enqueue, "usual": tasks.usual_report.delay}
    late: list[float] = []

    def hear(text: bytes) -> None:
        late.append(time.time() - json.loads(text)["data"]["payload"]["done"])

    pages = {"ours": Pages(place, "/ws/tasks/", hear), "usual": Pages(place, "/ws/usual/", hear)}
    for each in pages.values():
        await each.open([session for _, session in people])

    async def latencies(way: str, pace: float, seconds: float) -> list[float]:
        late.clear()
        count = max(2, round(pace * seconds))
        due = pages[way].heard + count
        begun = time.monotonic()
        for number in range(count):
            await asyncio.sleep(begun + number / pace - time.monotonic())
            # In this thread: while it asks for a task, which takes less than a millisecond, nothing else comes.
            ways[way](people[number % len(people)][0])
        await pages[way].have_heard(due)
        return list(late)

    for way in ways:
        await latencies(way, 20, 2)  # warm
    measures = []
    for pace, (seconds, rounds) in PACES.items():
        told: dict[str, list[list[float]]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way in ways:
                told[way].append(await latencies(way, pace, seconds))
        measures += _measures(pace, told)
    for each in pages.values():
        each.close()
    return measures


def _measures(pace: int, told: Mapping[str, list[list[float]]]) -> Iterator[Measure]:
    for percent in (50, 99):
        ours, theirs = ([quantiles(each, n=100)[percent - 1] for each in told[way]] for way in ("ours", "usual"))
        name = f"latency.p{percent}" + (f".{pace}" if pace != USUAL_PACE else "")
        yield Measure.of(name, against=AGAINST, ours=ours, theirs=theirs, repeat=1)
