"""Web process. Stories of tasks with options on a real worker, told as JSON: ``python -m integration.asking.choosing.drive``."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import django

from integration.elsewhere.asking import until

Told = dict[str, Any]
STORIES: dict[str, Callable[[], Told]] = {}


def story(tell: Callable[[], Told]) -> Callable[[], Told]:
    STORIES[tell.__name__] = tell
    return tell


def main(*names: str) -> None:
    django.setup()
    json.dump({name: STORIES[name]() for name in names}, sys.stdout)


def ended(result: Any) -> Told:
    def ask() -> bool:
        result.refresh()
        return bool(result.is_finished)

    until(ask)
    return {
        "status": str(result.status),
        "errors": [error.exception_class_path.rpartition(".")[2] for error in result.errors],
        "attempts": result.attempts,
        "value": result._return_value,
        "path": result.task.module_path,
    }


@story
def retries() -> Told:
    from integration.asking.choosing import tasks

    results = {
        "meant": tasks.stumble.enqueue("passing"),
        "not meant": tasks.stumble.enqueue("for good"),
        "Celery's": tasks.stumble_as_celery_has_it.enqueue(),
        "no more": tasks.give_up.enqueue(),
        "asked": tasks.ask_again.enqueue(3),
        "asked by a coroutine": tasks.ask_again_later.enqueue(3),
        "asked too often": tasks.ask_again.enqueue(9),
        "backing off": tasks.back_off.enqueue(),
    }
    told = {name: ended(result) for name, result in results.items()}
    times = [float(line) for line in tasks.noted(f"runs-{results['backing off'].id}").read_text().split()]
    waits = [after - before for before, after in pairwise(times)]
    return told | {"waits": waits}


@story
def transactions() -> Told:
    from django.contrib.auth.models import Group

    from integration.asking.choosing import tasks

    waiting = tasks.add_and_wait.enqueue("seen")
    until(lambda: str(tasks.add_and_wait.get_result(waiting.id).status) == "RUNNING")
    before = Group.objects.filter(name="seen").exists()
    tasks.noted("go-seen").touch()
    told = {
        "waits": ended(waiting),
        "fails": ended(tasks.add_and_fail.enqueue("failed")),
        "again": ended(tasks.add_and_ask_again.enqueue("attempt")),
        "killed": ended(tasks.add_and_be_killed.using(time_limit=1).enqueue("killed")),
    }
    return told | {"seen before its end": before, "rows": sorted(Group.objects.values_list("name", flat=True))}


@story
def old_names() -> Told:
    from integration.asking.choosing import tasks
    from tasks_celery.compat import task_backends

    backend: Any = task_backends["default"]
    told: Told = {}
    for name in ("choosing.old", "choosing.older", "choosing.new"):
        sent = backend.app.send_task(name, ["hello"], queue="default")
        until(lambda sent=sent: backend.results.store.get(sent.id) is not None)
        result = tasks.rename.get_result(sent.id)
        told[name] = ended(result) | {"record": backend.results.store.get(sent.id).name, "got": sent.get(timeout=20)}
    return told


@story
def limits() -> Told:
    from integration.asking.choosing import tasks

    results = {
        "none": tasks.sleep.enqueue(0.1),
        "hard": tasks.sleep.using(time_limit=1).enqueue(30),
        "soft": tasks.sleep.using(soft_time_limit=1).enqueue(30),
        "within its own": tasks.sleep_within.enqueue(2),
        "shorter than its own": tasks.sleep_within.using(soft_time_limit=1).enqueue(15),
    }
    return {name: ended(result) for name, result in results.items()}


@story
def results_kept() -> Told:
    from integration.asking.choosing import tasks
    from tasks_celery.compat import task_backends

    backend: Any = task_backends["default"]

    def celerys(result: Any) -> str:
        return str(backend.app.backend.get_task_meta(result.id, cache=False)["status"])

    kept, ignored = tasks.sleep.enqueue(0), tasks.sleep.using(ignore_result=True).enqueue(0)
    told = {"kept": ended(kept), "ignored": ended(ignored)}
    until(lambda: celerys(kept) == "SUCCESS")
    return told | {"celerys": [celerys(kept), celerys(ignored)]}


@story
def enqueue_for_nobody() -> Told:
    """Enqueue to a queue that no worker listens to yet, and tell what lies there."""
    import redis

    from integration.asking.choosing import tasks
    from tasks_celery.compat import task_backends

    backend: Any = task_backends["default"]
    short, long = tasks.report.using(expires=1).enqueue(), tasks.report.using(expires=600).enqueue()
    small = tasks.report.using(compression="gzip").enqueue("x" * 10_000)
    url = backend.app.conf.broker_url.replace("redis+socket:", "unix:")
    with redis.Redis.from_url(url, decode_responses=True) as broker:
        lists = [key for key in broker.keys("reports*") if broker.type(key) == "list"]
        messages = [json.loads(message) for key in lists for message in broker.lrange(key, 0, -1)]
    headers = {message["headers"]["id"]: message["headers"] for message in messages}
    expires = time.monotonic() + 1.1
    until(lambda: time.monotonic() > expires)
    return {
        "ids": {"short": short.id, "long": long.id, "small": small.id},
        "compressed": {
            name: headers[each.id].get("compression") for name, each in {"long": long, "small": small}.items()
        },
        "expires": [headers[each.id]["expires"] is not None for each in (short, long, small)],
    }


def look(*ids: str) -> None:
    django.setup()
    from integration.asking.choosing import tasks

    json.dump([ended(tasks.report.get_result(each)) for each in ids], sys.stdout)


if __name__ == "__main__":
    (look if sys.argv[1] == "look" else main)(*[each for each in sys.argv[1:] if each != "look"])
