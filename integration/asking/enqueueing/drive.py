"""Web process. Enqueues, asks and breaks things, and prints what came of it as JSON.

``python -m integration.asking.enqueueing.drive VERB ARGUMENT…``, an argument being JSON too.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import django

Told = dict[str, Any]
VERBS: dict[str, Callable[..., Any]] = {}

#: Those that wait at a gate come first: they keep both children of the worker busy.
KINDS = (
    "pass_gate",
    "pass_gate_until_start",
    "succeed",
    "fail",
    "fail_once",
    "overrun",
    "kill_self",
    "expire",
    "succeed_within_time",
)


def verb(does: Callable[..., Any]) -> Callable[..., Any]:
    VERBS[does.__name__] = does
    return does


def main(name: str, *arguments: str) -> None:
    django.setup()
    json.dump(VERBS[name](*map(json.loads, arguments)), sys.stdout)


def until(check: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 90
    while not check():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def the_task(kind: str) -> Any:
    from integration.asking.enqueueing import tasks

    return getattr(tasks, "succeed" if kind in ("lost", "revoked") else kind)


def result_of(result_id: str) -> Any:
    from tasks_celery.compat import task_backends

    return task_backends["default"].get_result(result_id)


def probe(kind: str) -> str:
    """Enqueue the same once more, and return whose id that gives; a new one does not run while the test does."""
    from django.utils import timezone

    later = timezone.now() + timedelta(hours=1)
    return str(the_task(kind).using(run_after=later).enqueue(kind).id)


def facts(result_id: str) -> Told:
    result = result_of(result_id)
    return {
        "status": str(result.status),
        "attempts": result.attempts,
        "errors": [error.exception_class_path.rpartition(".")[2] for error in result.errors],
    }


@verb
def enqueue_each_kind() -> dict[str, list[str]]:
    """Enqueue one of each kind twice: the ids."""
    return {kind: [str(the_task(kind).enqueue(kind).id) for _ in range(2)] for kind in KINDS}


@verb
def lose() -> list[str]:
    """Enqueue a task, lose its message, and enqueue it again: the ids."""
    from tasks_celery.celery import find_app

    lost = the_task("lost").using(queue_name="reports").enqueue("lost")
    with find_app().connection_for_write() as connection:
        assert connection.default_channel.queue_purge(queue="reports") == 1
    return [lost.id, the_task("lost").using(queue_name="reports").enqueue("lost").id]


@verb
def cancel() -> dict[str, Any]:
    """Cancel a task that waits: what it is then, and whose id the next one has."""
    first = the_task("sleep").enqueue("sleep")
    first.cancel()
    return facts(first.id) | {"free": probe("sleep") != first.id}


@verb
def pass_through(ids: dict[str, str]) -> dict[str, Told]:
    """Ask while tasks run, revoke one that waits, open the gates, and ask when all have ended."""
    from integration.asking.enqueueing import tasks
    from tasks_celery.celery import find_app

    gates = ("pass_gate", "pass_gate_until_start")
    until(lambda: all(facts(ids[kind])["status"] == "RUNNING" for kind in gates), "both children at a gate")
    told: dict[str, Told] = {kind: {"free while it ran": probe(kind) != ids[kind]} for kind in gates}
    revoked = the_task("revoked").enqueue("revoked").id
    find_app().control.revoke(revoked, reply=True, timeout=10)
    for kind in gates:
        tasks.notes().set(f"go:{kind}", 1)
    until(lambda: facts(ids["fail_once"])["attempts"] == 1, "the first attempt")
    told["fail_once"] = {"free while it waited": probe("fail_once") != ids["fail_once"]}
    ids |= {"revoked": revoked}
    for kind, result_id in ids.items():
        until(lambda result_id=result_id: result_of(result_id).is_finished, f"the end of {kind}")  # type: ignore[misc]
    return {
        kind: told.get(kind, {}) | facts(result_id) | {"free": probe(kind) != result_id}
        for kind, result_id in ids.items()
    }


@verb
def enqueue_again_and_again(kind: str, times: int) -> list[str]:
    """Enqueue a task until it was given so many ids: these."""
    ids: list[str] = []
    deadline = time.monotonic() + 60
    while len(ids) < times:
        result_id = str(the_task(kind).enqueue(kind).id)
        if result_id not in ids:
            ids.append(result_id)
        assert time.monotonic() < deadline, "the key was never free"
    return ids


@verb
def begin(kind: str, label: str) -> str:
    """Enqueue a task, and wait until it runs: its id."""
    result = the_task(kind).enqueue(label)
    until(lambda: str(facts(result.id)["status"]) == "RUNNING", "a worker")
    assert the_task(kind).enqueue(label).id == result.id
    return str(result.id)


@verb
def ended(kind: str, result_id: str) -> Told:
    """Wait for the end of a task: what it is then, and whether the next one has another id."""
    until(lambda: bool(result_of(result_id).is_finished), "the end")
    return facts(result_id) | {"free": probe(kind) != result_id}


# --- in a transaction


@verb
def in_a_transaction(label: str, how: str, after: float = 0) -> Told:
    """Enqueue a task in a transaction and end that somehow: what is seen before and after."""
    from django.db import transaction
    from django.utils import timezone

    task = the_task("note")
    if after:
        task = task.using(run_after=timezone.now() + timedelta(seconds=after))
    with transaction.atomic():
        result = task.enqueue(label)
        told: Told = {"id": result.id, "before": seen(result)}
        if how == "killed":
            _die_as_it_commits(told)
        transaction.set_rollback(how == "rolled back")
    return told | {"after": seen(result)}


def seen(result: Any) -> Told:
    from tasks_celery.compat import TaskResultDoesNotExist

    try:
        result.refresh()
    except TaskResultDoesNotExist:
        return {"known": False}
    return {"known": True, "status": str(result.status), "enqueued": result.enqueued_at is not None}


def _die_as_it_commits(told: Told) -> None:
    """Have the process killed with what it was about to do after the commit."""
    from django.db import connection

    def die() -> None:
        json.dump(told, sys.stdout)
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    connection.run_on_commit.insert(0, (set(), die, False))


@verb
def told_of_each(ids: dict[str, str]) -> dict[str, Told]:
    """Wait for the ends of tasks: what their results tell, and when they ran, in seconds after they were enqueued."""
    for kind, result_id in ids.items():
        until(lambda result_id=result_id: result_of(result_id).is_finished, f"the end of {kind}")  # type: ignore[misc]
    return {kind: facts(result_id) | {"waited": _waited(result_id)} for kind, result_id in ids.items()}


def _waited(result_id: str) -> float:
    result = result_of(result_id)
    return float((result.started_at - result.enqueued_at).total_seconds())


@verb
def runs_of_each(labels: list[str]) -> dict[str, list[str]]:
    """Return the ids of the tasks that have noted each label, one for each run."""
    from integration.asking.enqueueing import tasks

    return {label: tasks.runs(label) for label in labels}


@verb
def enqueue_beside(label: str, first_ends: str) -> Told:
    """Enqueue the same unique task in two transactions that are open at once: whose id each gives, and what runs."""
    from django.db import connection, transaction

    task, second, began = the_task("succeed"), [], threading.Event()

    def enqueue() -> None:
        began.set()
        with transaction.atomic():
            second.append(str(task.enqueue(label).id))
        connection.close()

    thread = threading.Thread(target=enqueue)
    with transaction.atomic():
        first = str(task.enqueue(label).id)
        thread.start()
        began.wait(10)
        until(lambda: not thread.is_alive() or _is_locked(), "the second to wait or to end")
        transaction.set_rollback(first_ends == "rolled back")
    thread.join(30)
    return {"first": first, "second": second[0], "known": [seen_by_id(first), seen_by_id(second[0])]}


def seen_by_id(result_id: str) -> Told:
    from tasks_celery.compat import TaskResultDoesNotExist

    try:
        return facts(result_id)
    except TaskResultDoesNotExist:
        return {"status": "unknown"}


def _is_locked() -> bool:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # else a transaction goes on seeing what it has seen
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        return bool(cursor.fetchone()[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
