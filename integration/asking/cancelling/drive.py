"""Web process. Stories of cancelled tasks on real workers, told as JSON: ``python -m integration.asking.cancelling.drive POOL``.

The environment is the endings', see `integration.settings`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import django

from example.servers import wait_until
from integration.endings.drive import begun, facts, refreshed, told, until
from integration.endings.workers import MAIN, Workers, workers

#: Seconds that a task takes which is to be ended, where the pool can, and where it cannot.
LONG, SHORT = 60, 5
ENDS = ("prefork", "gevent")

Results = dict[str, Any]
STORIES: dict[str, Callable[[Workers], Results]] = {}


def story(tell: Callable[[Workers], Results]) -> Callable[[Workers], Results]:
    STORIES[tell.__name__] = tell
    return tell


def main(pool: str, *names: str) -> None:
    django.setup()
    with workers(pool, f"cancel-{pool}") as running:
        ended = {name: STORIES[name](running) for name in names}
        running.stop()
        json.dump(
            {name: {which: seen(each, running) for which, each in results.items()} for name, results in ended.items()},
            sys.stdout,
        )


def to(queue: str, task: str, **using: Any) -> Any:
    from integration.asking.cancelling import tasks

    return getattr(tasks, task).using(queue_name=queue, **using)


def cancel(result: Any, *, terminate: bool = False) -> bool:
    from tasks_celery.compat import task_backends

    backend: Any = task_backends["default"]
    return bool(backend.cancel(result, terminate=terminate))


def seen(result: Any, running: Workers) -> Any:
    from integration.endings.apps import notes

    if not hasattr(result, "id"):
        return result
    client = notes()
    runs = int(client.hget("runs", result.id) or 0)
    client.close()
    return facts(refreshed(result), running) | {"runs": runs}


def start(running: Workers, name: str, queue: str) -> None:
    """Start a worker for a queue, unless it is there."""
    if name in running.children:
        return
    running.start(name, queue)
    child = running.children[name]
    wait_until(child.said_ready.is_set, what=name, watch=[child])


@story
def waiting(running: Workers) -> Results:
    """Cancel what waits for a worker, and for its time, before there is a worker."""
    queue, due = running.queue("waiting"), django.utils.timezone.now() + timedelta(seconds=2)
    queued, deferred = to(queue, "step").enqueue(), to(queue, "step", run_after=due).enqueue()
    others = [to(queue, "step").enqueue(), to(queue, "step", run_after=due + timedelta(seconds=2)).enqueue()]
    answers = [cancel(each) for each in (queued, deferred)]
    start(running, "waiting", "waiting")
    until(lambda: all(told(each) for each in others))
    return {
        "queued": queued,
        "deferred": deferred,
        "another": others[0],
        "another, deferred": others[1],
        "answers": [*answers, cancel(queued), cancel(others[0])],
    }


@story
def running_on(running: Workers) -> Results:
    """Cancel what runs: it may look, and is not run again."""
    queue = running.queue(MAIN)
    start(running, MAIN, MAIN)
    results = {name: to(queue, name).enqueue() for name in ("give_up", "end_well", "try_again")}
    later = to(queue, "try_later").enqueue()
    until(lambda: all(begun(each) for each in results.values()))
    until(lambda: (now := refreshed(later)).attempts == 1 and now.status == "READY")
    answers = [cancel(each) for each in (*results.values(), later)]
    until(lambda: all(told(each) for each in (*results.values(), later)))
    return {**results, "try_later": later, "answers": answers}


@story
def terminated(running: Workers) -> Results:
    """Have what runs ended, where the pool can."""
    queue = running.queue(MAIN)
    start(running, MAIN, MAIN)
    result = to(queue, "take").enqueue(LONG if running.pool in ENDS else SHORT)
    until(lambda: begun(result))
    answer = cancel(result, terminate=True)
    until(lambda: told(result))
    last = to(queue, "step").enqueue()
    until(lambda: told(last))
    return {"ended": result, "another": last, "answers": [answer]}


@story
def restarted(running: Workers) -> Results:
    """Cancel what a worker has fetched and not begun, restart that worker, and start one after it."""
    queue = running.queue("restarted")
    start(running, "restarted", "restarted")
    blocking = to(queue, "take").enqueue(SHORT)
    until(lambda: begun(blocking))
    queued = [to(queue, "step").enqueue() for _ in range(5)]
    cancel_answers = [cancel(each) for each in queued]
    running.children["restarted"].process.terminate()
    running.wait_gone("restarted")
    start(running, "after", "restarted")
    last = to(queue, "step").enqueue()
    until(lambda: told(last) and told(blocking))
    return {
        **{f"queued {number}": each for number, each in enumerate(queued)},
        "another": last,
        "answers": cancel_answers,
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
