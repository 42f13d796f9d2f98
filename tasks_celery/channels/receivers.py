"""Both. A task has finished: whom to tell what, and off it goes. A user has signed out: close what they hear with.

Worker process, as a rule; with Django's Immediate backend the web process, within the request. Whatever goes wrong
here is logged with the task's id and hurts neither the task nor the other receivers.
"""

from __future__ import annotations

import logging
from typing import Any

from django.contrib.auth.signals import user_logged_out

from tasks_celery import context
from tasks_celery.channels import access
from tasks_celery.channels.audience import listeners, tenant_for
from tasks_celery.channels.events import CONTROL, LARGEST, Envelope, Json, clean_payload, describe
from tasks_celery.channels.groups import group_name
from tasks_celery.channels.notify import Rule, rule_for
from tasks_celery.channels.options import event_options
from tasks_celery.channels.push import publisher
from tasks_celery.channels.push.old_groups import tell_old_groups
from tasks_celery.channels.tenants import tenant_of
from tasks_celery.compat import TaskResult, task_finished

logger = logging.getLogger("tasks_celery.channels")


def connect() -> None:
    """Announce every task that finishes in this process and has a rule, and every session that ends in it."""
    task_finished.connect(announce, dispatch_uid=f"{__name__}.announce")
    user_logged_out.connect(close_sockets, dispatch_uid=f"{__name__}.close_sockets")


def announce(*, task_result: TaskResult[Any, Any], **kwargs: Any) -> None:
    """Tell those whom the task's rule names that it has finished; without a rule, nobody."""
    rule = rule_for(task_result.task.func)
    event = rule and rule.event_for(task_result.status)
    if not rule or not event:
        return
    told, tenant = _listeners(rule, event, task_result)
    if not told:
        logger.debug("Task id=%s: nobody is told of %r", task_result.id, event)
        return
    envelope = _within_bounds(describe(task_result, event=event, payload=_payload(rule, event, task_result)))
    publisher.publish([group_name(user, tenant) for user in told], envelope)
    tell_old_groups(told, envelope)


def close_sockets(*, request: Any, user: Any, **kwargs: Any) -> None:
    """Tell the web processes to close the sockets of a session whose user signs out.

    Where it is not known which session that is, as with Channels' own ``logout``, they close at their next check.
    """
    # Django sends the signal before it flushes the session.
    key = getattr(getattr(request, "session", None), "session_key", None)
    if key is None or user is None:
        return
    try:
        stream = group_name(str(user.pk), tenant_of(request))
    except Exception:  # the project's function that tells the tenant
        logger.exception("The sockets of a session that ended close at their next check only: no tenant is known")
        return
    publisher.tell(stream, {"type": CONTROL, "stream": stream, "session": access.session_tag(key)})


def _listeners(rule: Rule, event: str, result: TaskResult[Any, Any]) -> tuple[list[str], str | None]:
    """Return the keys of those who are told, and the tenant in which they are."""
    try:
        to = rule.to(result) if callable(rule.to) else rule.to
        # Who asked is looked up last, and only if need be: in a request it may cost a query.
        asked = context.current() if to is None else context.Context()
        told = listeners(to, asker=asked.user, group=asked.group)
        return told, _tenant(rule, result)
    except Exception:  # the project's function, and what it returned
        logger.exception(
            "Task id=%s: %r is not sent, as `to` or `tenant` of its @notify does not work", result.id, event
        )
        return [], None


def _tenant(rule: Rule, result: TaskResult[Any, Any]) -> str | None:
    # Where a project keeps no tenants apart, nobody is looked up for one.
    is_asked = rule.tenant is not None or event_options().tenant is not None
    return tenant_for(rule.tenant, result) if is_asked else None


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
