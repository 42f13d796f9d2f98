"""Web process. Lets each ending come about once on one pool and broker, and prints what is then stored of it.

``python -m integration.endings.drive prefork Redis`` with the environment that `integration.settings` names.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import django
from django.conf import settings
from kombu import Producer

from integration.endings.matrix import ENDINGS
from integration.endings.workers import MAIN, NOBODY, SECOND, STOPS, Workers, slug, workers
from tasks_celery.celery import find_app

WITHIN = 90.0
# Seconds that a task runs which a revoke is to end, where the pool can and where it cannot.
LONG, SHORT = 60, 6

T = TypeVar("T")
Results = dict[str, Any]


def main(pool: str, broker: str) -> None:
    os.environ["ENDINGS_DRIVER"] = "yes"
    django.setup()
    with workers(pool, f"{pool}-{broker}") as running:
        running.start(MAIN)
        for ending in STOPS:
            running.start(slug(ending))
        running.wait_ready()
        stopped, killed = stop_workers(running), time.monotonic()
        results = enqueue_all(running) | stopped | lose_messages(running)
        # Only then does the broker give back what the killed worker held; an older kombu looks for it as it starts.
        until(lambda: time.monotonic() > killed + settings.VISIBILITY_TIMEOUT)
        running.start(SECOND, NOBODY, *[slug(ending) for ending in STOPS])
        wait_for(results)
        results["success, after all these"] = on(running, "succeed").enqueue()
        wait_for(results)
        # Whoever could tell of an end once more has ended too when this returns.
        running.stop()
        json.dump({name: facts(result, running) for name, result in results.items()}, sys.stdout)


def on(running: Workers, task: str, worker: str = MAIN, **using: Any) -> Any:
    """Return a task, to be enqueued for one of the workers."""
    from integration.endings import tasks

    return getattr(tasks, task).using(queue_name=running.queue(worker), **using)


def stop_workers(running: Workers) -> Results:
    """Start a task on each worker that is to end, and end it while it runs."""
    results = {
        ending: on(running, stop.task, slug(ending)).enqueue(seconds=long_enough(running, ending))
        for ending, stop in STOPS.items()
    }
    for ending, stop in STOPS.items():
        until(lambda ending=ending: begun(results[ending]))  # type: ignore[misc]
        running.end(slug(ending), stop)
    return results


def long_enough(running: Workers, ending: str) -> int:
    """Return how long a task runs: to its end where that is what is expected, else until it is ended, however late."""
    expected = ENDINGS[ending].seen[running.pool]
    return SHORT if (expected.status, expected.attempts) == ("SUCCESSFUL", 1) else LONG


#: The task of an ending, and its arguments, where enqueueing it is all there is to do.
PLAIN: dict[str, tuple[str, dict[str, Any]]] = {
    "success": ("succeed", {}),
    "success of an async task": ("succeed_later", {}),
    "success, though a receiver of task_finished raises": ("be_ignored_by_a_receiver", {}),
    "exception": ("fail", {}),
    "exception that cannot be made again": ("fail_strangely", {}),
    "exception that cannot be pickled": ("fail_unpicklably", {}),
    "wrong arguments": ("succeed", {"nonsense": 1}),
    "return value that is no JSON": ("give_lambda", {}),
    "SystemExit": ("leave", {}),
    "KeyboardInterrupt": ("interrupt", {}),
    "GeneratorExit": ("close_generator", {}),
    "BaseException of the project": ("raise_odd", {}),
    "MemoryError": ("run_out_of_memory", {}),
    "Retry, twice": ("recover", {"failures": 2}),
    "retries exhausted": ("recover", {"failures": 9}),
    "Reject": ("reject", {}),
    "Reject(requeue=True)": ("send_back", {}),
    "Reject(requeue=True), acks_late": ("send_back_once", {}),
    "Ignore": ("ignore", {}),
    "Ignore, raised in before_start": ("never_begins", {}),
    "soft time limit": ("overrun_softly", {}),
    "hard time limit": ("overrun", {}),
    "hard time limit, acks_late, acks_on_timeout=False": ("overrun_once", {}),
    "child killed (SIGKILL)": ("kill_self", {}),
    "child killed by another process, as for want of memory": ("be_killed", {}),
    "child killed, acks_late": ("kill_self_late", {}),
    "child killed, acks_late and reject_on_worker_lost": ("kill_self_once", {}),
    "child killed, retry_on_worker_lost": ("kill_self_retried", {}),
}


def enqueue_all(running: Workers) -> Results:
    results = {ending: enqueue_plain(running, ending) for ending in PLAIN if possible(ending)}
    return results | send_otherwise(running) | send_late(running) | terminate(running)


def possible(ending: str) -> bool:
    from celery import VERSION

    return ENDINGS[ending].needs <= (VERSION.major, VERSION.minor)


def enqueue_plain(running: Workers, ending: str) -> Any:
    task, kwargs = PLAIN[ending]
    if ENDINGS[ending].group == "A process is killed" and running.pool != "prefork":
        # What would be killed is the worker itself, and the task can tell.
        return on(running, "tell_process").enqueue()
    return on(running, task).enqueue(**kwargs)


def send_otherwise(running: Workers) -> Results:
    from integration.endings import broken, tasks

    app, queue = find_app(), running.queue(MAIN)
    by_name, unknown = f"by-name-{queue}", f"unknown-{queue}"
    app.send_task("integration.endings.tasks.succeed", kwargs={"value": 6}, task_id=by_name, queue=queue)
    path = "integration.endings.tasks.nowhere"
    facts = {"tasks_celery": {"alias": "default", "path": path}}
    app.send_task(path, task_id=unknown, queue=queue, headers=facts)
    called = tasks.succeed.celery.apply_async(kwargs={"value": 2}, queue=queue)
    return {
        "module that the worker cannot import": broken.never.using(queue_name=queue).enqueue(),
        "success, called by .delay()": tasks.succeed.get_result(str(called)),
        "success, sent by name": until(lambda: found(by_name)),
        "name that the worker does not know": until(lambda: found(unknown)),
    }


def send_late(running: Workers) -> Results:
    """Enqueue what is to wait in the worker for a while."""
    due = django.utils.timezone.now() + timedelta(seconds=4)
    revoked = on(running, "succeed", run_after=due).enqueue()
    find_app().control.revoke(revoked.id)
    return {
        "success, deferred by run_after": on(running, "succeed", run_after=due).enqueue(),
        "expired before it started": on(running, "expire", run_after=due).enqueue(),
        "revoked before it started": revoked,
    }


def terminate(running: Workers) -> Results:
    ending = "revoked with terminate while it ran"
    seconds = SHORT if ENDINGS[ending].seen[running.pool].instead else LONG
    result = on(running, "take").enqueue(seconds=seconds)
    until(lambda: begun(result))
    find_app().control.revoke(result.id, terminate=True)
    return {ending: result}


def lose_messages(running: Workers) -> Results:
    """Enqueue what no worker can get, or read, or gets in time."""
    lost, damaged, expired = (on(running, task, NOBODY) for task in ("succeed", "succeed", "expire"))
    results = {
        "lost by the broker": lost.enqueue(),
        "damaged, so that no worker can read it": damaged.enqueue(),
    }
    with find_app().connection_for_write() as connection:
        channel = connection.default_channel
        channel.basic_get(lost.queue_name, no_ack=True)
        damage(channel, damaged.queue_name)
    return results | {"expired in the broker, before a worker came": expired.enqueue()}


def damage(channel: Any, queue: str) -> None:
    """Put a message in the place of the first of a queue: the same, but for its body."""
    message = until(lambda: channel.basic_get(queue, no_ack=True))
    Producer(channel).publish(
        '[["cut off',
        routing_key=queue,
        headers=message.headers,
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        correlation_id=message.properties["correlation_id"],
    )


def found(result_id: str) -> Any:
    from tasks_celery.compat import TaskResultDoesNotExist, task_backends

    try:
        return task_backends["default"].get_result(result_id)
    except TaskResultDoesNotExist:
        return None


def refreshed(result: Any) -> Any:
    result.refresh()
    return result


def until(ask: Callable[[], T]) -> T:
    deadline = time.monotonic() + WITHIN
    while not (answer := ask()):
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.05)
    return answer


def wait_for(results: Results) -> None:
    deadline = time.monotonic() + WITHIN
    waiting = dict(results)
    while waiting := {name: result for name, result in waiting.items() if not told(result)}:
        if time.monotonic() > deadline:
            sys.stderr.write(f"never ended: {', '.join(waiting)}\n")
            return
        time.sleep(0.2)


def begun(result: Any) -> bool:
    """Whether a task runs and its start was announced."""
    return refreshed(result).status == "RUNNING" and bool(noted("started", result))


def told(result: Any) -> bool:
    """Whether a task has ended and its end was announced."""
    return refreshed(result).is_finished and bool(noted("finished", result))


def noted(signal: str, result: Any) -> list[dict[str, Any]]:
    from integration.endings.apps import notes

    client = notes()
    events = [json.loads(event) for event in client.lrange(f"{signal}:{result.id}", 0, -1)]
    client.close()
    return events


def facts(result: Any, running: Workers) -> dict[str, Any]:
    """Return what a test wants to know, as JSON can carry it."""
    times = ("enqueued_at", "started_at", "last_attempted_at", "finished_at")
    moments = {name: getattr(result, name) for name in times} | {"run_after": result.task.run_after}
    return {
        "id": result.id,
        "status": str(result.status),
        "value": result._return_value,
        "errors": [error.exception_class_path for error in result.errors],
        "tracebacks": [error.traceback for error in result.errors],
        "attempts": result.attempts,
        "worker_ids": result.worker_ids,
        "nodes": {name: running.node(name) for name in running.children},
        "main pid": running.pid(MAIN),
        "log": running.lines_about(result.id),
        **{name: moment.timestamp() if moment else None for name, moment in moments.items()},
        **{signal: noted(signal, result) for signal in ("enqueued", "started", "finished")},
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
