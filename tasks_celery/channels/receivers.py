"""Both. A task has finished: whom to tell what, and off it goes.

Worker process, as a rule; with Django's Immediate backend the web process, within the request. Whatever goes wrong
here is logged with the task's id and hurts neither the task nor the other receivers.
"""

from __future__ import annotations

import logging
from typing import Any

from tasks_celery import context
from tasks_celery.channels import publisher
from tasks_celery.channels.audience import listeners
from tasks_celery.channels.events import LARGEST, Envelope, Json, clean_payload, describe
from tasks_celery.channels.groups import group_name
from tasks_celery.channels.notify import Rule, rule_for
from tasks_celery.compat import TaskResult, task_finished

logger = logging.getLogger("tasks_celery.channels")


def connect() -> None:
    """Announce every task that finishes in this process and has a rule."""
    task_finished.connect(announce, dispatch_uid=f"{__name__}.announce")


def announce(*, task_result: TaskResult[Any, Any], **kwargs: Any) -> None:
    """Tell those whom the task's rule names that it has finished; without a rule, nobody."""
    rule = rule_for(task_result.task.func)
    event = rule and rule.event_for(task_result.status)
    if not rule or not event:
        return
    told = _listeners(rule, event, task_result)
    if not told:
        logger.debug("Task id=%s: nobody is told of %r", task_result.id, event)
        return
    envelope = _within_bounds(describe(task_result, event=event, payload=_payload(rule, event, task_result)))
    for user in told:
        publisher.publish(group_name(user), envelope)


def _listeners(rule: Rule, event: str, result: TaskResult[Any, Any]) -> list[str]:
    try:
        to = rule.to(result) if callable(rule.to) else rule.to
        # Who asked is looked up last, and only if need be: in a request it may cost a query.
        return listeners(to, asker=context.current().user if to is None else None)
    except Exception:  # the project's function, and what it returned
        logger.exception("Task id=%s: %r is not sent, as `to` of its @notify does not work", result.id, event)
        return []


def _payload(rule: Rule, event: str, result: TaskResult[Any, Any]) -> Json | None:
    if rule.payload is None:
        return None
    try:
        return clean_payload(rule.payload(result))
    except Exception:  # the project's function, and what it returned
        logger.exception(
            "Task id=%s: %r goes out without payload, as `payload` of its @notify does not work", result.id, event
        )
        return None


def _within_bounds(envelope: Envelope) -> Envelope:
    size = envelope.size()
    if size <= LARGEST:
        return envelope
    logger.error(
        "Task id=%s: %r goes out without payload, as it has %s bytes and the limit is %s. Let the payload say where "
        "the page finds the result.",
        envelope.data["id"],
        envelope.event,
        size,
        LARGEST,
    )
    return Envelope(event=envelope.event, data={**envelope.data, "payload": None})
