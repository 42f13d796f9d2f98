"""Web process. One story of a sweeper on real servers, told as JSON: ``python -m integration.sweeping.drive STORY``.

The environment is the endings', see `integration.settings`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import django

from example.servers import ROOT, Child, wait_until
from integration.endings.drive import begun, facts, noted, on, refreshed, until
from integration.endings.workers import MAIN, Workers, workers

KILLS = 4
LOAD = 150

Told = dict[str, Any]
STORIES: dict[str, Callable[[Workers], Told]] = {}


def story(tell: Callable[[Workers], Told]) -> Callable[[Workers], Told]:
    STORIES[tell.__name__] = tell
    return tell


def main(name: str) -> None:
    django.setup()
    with workers("prefork", f"sweep-{name}") as running:
        json.dump(STORIES[name](running), sys.stdout)


def all_told(results: list[Any]) -> bool:
    return all(refreshed(result).is_finished and noted("finished", result) for result in results)


def step(running: Workers, number: int) -> Any:
    from integration.sweeping import tasks

    return tasks.step.using(queue_name=running.queue("one")).enqueue(number)


def wait_ready(running: Workers, name: str) -> None:
    child = running.children[name]
    wait_until(child.said_ready.is_set, what=name, watch=[child])


def runs(result: Any) -> int:
    from integration.endings.apps import notes

    client = notes()
    count = int(client.hget("runs", result.id) or 0)
    client.close()
    return count


@story
def kills_under_load(running: Workers) -> Told:
    """Kill the worker again and again in the middle of many tasks, and start another."""
    results: list[Any] = []
    for kill in range(KILLS):
        running.start(f"worker-{kill}", "one")
        wait_ready(running, f"worker-{kill}")
        results += [step(running, number) for number in range(LOAD)]
        os.killpg(running.pid(f"worker-{kill}"), signal.SIGKILL)
        running.wait_gone(f"worker-{kill}")
    running.start("last", "one")
    until(lambda: all(refreshed(result).is_finished for result in results))
    running.stop()
    return {
        "statuses": Counter(str(refreshed(result).status) for result in results),
        "events": Counter(len(noted("finished", result)) for result in results),
        "resent": sum("waited without a message" in line for line in running.children["last"].lines),
    }


@story
def frozen_worker(running: Workers) -> Told:
    """Freeze a worker for longer than its lease while it runs a task, and let it go on."""
    from integration.sweeping import tasks

    running.start(MAIN, "one")
    wait_ready(running, MAIN)
    result = tasks.first_slow.using(queue_name=running.queue("one")).enqueue(3)
    until(lambda: begun(result))
    os.killpg(running.pid(MAIN), signal.SIGSTOP)
    running.start("other", "one")
    until(lambda: all_told([result]))
    os.killpg(running.pid(MAIN), signal.SIGCONT)
    until(lambda: any(result.id in line and "succeeded" in line for line in running.children[MAIN].lines))
    return facts(refreshed(result), running) | {"runs": runs(result)}


@story
def slow_but_alive(running: Workers) -> Told:
    """Let a task run for several leases on a worker that lives."""
    from integration.sweeping import tasks

    running.start(MAIN, "one")
    running.start("other", "one")
    running.wait_ready()
    result = tasks.first_slow.using(queue_name=running.queue("one")).enqueue(8)
    until(lambda: all_told([result]))
    return facts(result, running) | {"runs": runs(result)}


@story
def command(running: Workers) -> Told:
    """Without a sweeper in any worker, have ``manage.py sweep_tasks`` look."""
    result = on(running, "be_stopped", "one").enqueue(seconds=60)
    running.start(MAIN, "one")
    until(lambda: begun(result))
    os.killpg(running.pid(MAIN), signal.SIGKILL)
    until(lambda: not lease_is_held())
    said = subprocess.run(
        [sys.executable, "-m", "django", "sweep_tasks", "--wait", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return facts(refreshed(result), running) | {"said": said.stdout, "error": said.stderr}


def lease_is_held() -> bool:
    from tasks_celery.compat import task_backends

    backend: Any = task_backends["default"]
    return not backend.results.store.abandoned(limit=1)


@story
def beat(running: Workers) -> Told:
    """Lose a message while no worker runs, and let beat send it again."""
    from tasks_celery.celery import find_app

    result = on(running, "succeed", "one").enqueue()
    with find_app().connection_for_write() as connection:
        lost = connection.default_channel.queue_purge(queue=running.queue("one"))
    scheduler = Child(
        "beat", [sys.executable, "-m", "celery", "-A", "tasks_celery", "beat", "-s", schedule()], env=dict(os.environ)
    )
    running.children["beat"] = scheduler
    until(lambda: any("sent again" in line for line in scheduler.lines))
    running.start(MAIN, "one")
    until(lambda: all_told([result]))
    return facts(result, running) | {"lost": lost}


def schedule() -> str:
    return os.path.join(os.environ["SCRATCH"], f"schedule-{time.time_ns()}")  # noqa: PTH118


if __name__ == "__main__":
    main(sys.argv[1])
