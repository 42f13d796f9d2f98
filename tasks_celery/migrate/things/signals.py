"""Receivers of Celery's signals. They go on for tasks that move: their twins are Celery tasks."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tasks_celery.migrate.finding import Finding, Verdict
from tasks_celery.migrate.source import Names, Place

#: The signal of Django's that says the same of a Django task, where there is one.
DJANGOS = {
    "before_task_publish": "task_enqueued",
    "after_task_publish": "task_enqueued",
    "task_prerun": "task_started",
    "task_postrun": "task_finished",
    "task_success": "task_finished",
    "task_failure": "task_finished",
}
_TASKS = {"task_received", "task_retry", "task_revoked", "task_rejected", "task_unknown", "task_internal_error"}


def find(names: Names) -> Iterator[Finding]:
    """Yield the receivers that a file connects to signals of Celery's."""
    if "celery" in names.text and "connect" in names.text:
        for place in names.places():
            signal = _connected(names, place)
            if signal:
                yield _finding(names, place, signal)


def _connected(names: Names, place: Place) -> str | None:
    """Return the signal that is connected at a place: ``signal.connect`` as a decorator, or called."""
    node = place.node
    if not (isinstance(node, ast.Attribute) and node.attr == "connect"):
        return None
    origin = names.origin(node, place) or ""
    prefix, _, _ = origin.rpartition(".")
    return prefix.removeprefix("celery.signals.") if prefix.startswith("celery.signals.") else None


def _finding(names: Names, place: Place, signal: str) -> Finding:
    verdict, reason = _verdict(signal, _sender_is_a_task(names, place))
    return Finding(
        path=names.path,
        anchor=names.anchor(place.node),
        kind="signal",
        name=signal,
        verdict=verdict,
        reason=reason,
        facts={"django": DJANGOS[signal]} if signal in DJANGOS else {},
    )


def _verdict(signal: str, of_a_task: bool) -> tuple[Verdict, str]:
    if of_a_task:
        return (
            Verdict.PERSON,
            "The sender of a task that moved is its twin: connect with sender=the_task.celery once it has moved.",
        )
    if signal in DJANGOS:
        django = DJANGOS[signal]
        return (
            Verdict.STAYS,
            f"It goes on for tasks that move; Django's own signal is {django}, with the result, in django.tasks.signals.",
        )
    if signal in _TASKS:
        return Verdict.STAYS, "It goes on for tasks that move; Django has no signal for it."
    return Verdict.STAYS, "It is about workers, beat or logging, and not about tasks."


def _sender_is_a_task(names: Names, place: Place) -> bool:
    call = place.parents[0] if place.parents else None
    if not (isinstance(call, ast.Call) and call.func is place.node):
        return False
    senders = [word.value for word in call.keywords if word.arg == "sender"]
    return any(names.origin(each, place) in names.project.tasks for each in senders)
