"""Both. What of a record travels with its message, beside the arguments. Pure: nothing is read, nothing is sent.

The facts that the worker needs go in one header, so that starting needs no read and a record that was lost can be made again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from kombu.utils import json as kombu_json

from tasks_celery.moments import to_text
from tasks_celery.stores.base import Record

HEADER = "tasks_celery"


def facts_of(record: Record) -> dict[str, Any]:
    """Return what the worker is told about a task beside its arguments, as JSON can carry it."""
    facts = {
        "alias": record.alias,
        "path": record.path,
        "queue": record.queue_name,
        "priority": record.priority,
        "run_after": to_text(record.run_after),
        "enqueued_at": to_text(record.enqueued_at),
        "context": dict(record.context),
    }
    return {name: value for name, value in facts.items() if value is not None}


def read_facts(headers: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the facts in a message's headers; empty for a message that something else sent."""
    facts = (headers or {}).get(HEADER)
    return dict(facts) if isinstance(facts, Mapping) else {}


def refuse_marked(value: Any) -> None:
    """Raise ValueError for arguments that kombu would read as something else than they are.

    A dict of exactly the keys ``__type__`` and ``__value__`` is how kombu's JSON writes a date or bytes (kombu/utils/json.py):
    the worker would get another value, or drop the message unread.
    """
    if isinstance(value, Mapping):
        if set(value) == {"__type__", "__value__"}:
            raise ValueError(
                f"The argument {value!r} cannot be sent: a dict with just the keys '__type__' and '__value__' means "
                "something else to Celery's JSON. Give it another key, or rename one."
            )
        for item in value.values():
            refuse_marked(item)
    elif isinstance(value, list | tuple):
        for item in value:
            refuse_marked(item)


#: What of Celery's options for a call a message that is sent again, or later, has to carry.
_KEPT = (
    "link",
    "link_error",
    "chord",
    "group_id",
    "group_index",
    "root_id",
    "parent_id",
    "replaced_task_nesting",
    "reply_to",
    "shadow",
    "exchange",
    "routing_key",
    "time_limit",
    "soft_time_limit",
    "ignore_result",
    "compression",
    "headers",
)

#: The header that django-celery-beat names the schedule in, and django-celery-results reads it from.
SCHEDULE = "periodic_task_name"


def kept_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a call's options a message that is sent again has to carry, as JSON can hold it."""
    asked = {name: options[name] for name in _KEPT if options.get(name) not in (None, [], 0)}
    return in_json(asked) if asked else {}


def schedule_in(sending: Mapping[str, Any] | None) -> str | None:
    """Return the name of the schedule that a task was sent by, from `Record.sending`; None for any other task."""
    name = ((sending or {}).get("headers") or {}).get(SCHEDULE)
    return str(name) if name else None


def kept_of_request(request: Any, *, is_plain: bool) -> dict[str, Any]:
    """Return the same of a message that has arrived; `is_plain` is whether its arguments are as the record has them."""
    schedule = (request.headers or {}).get(SCHEDULE)
    options = {
        "headers": {SCHEDULE: schedule} if schedule else None,
        "link": request.callbacks,
        "link_error": request.errbacks,
        "chord": request.chord,
        "group_id": request.group,
        "group_index": request.group_index,
        "root_id": request.root_id if request.root_id != request.id else None,
        "parent_id": request.parent_id,
        "replaced_task_nesting": request.replaced_task_nesting,
        "shadow": request.shadow,
    }
    return kept_options(options) | ({} if is_plain else kept_arguments(request.args or (), request.kwargs or {}))


def kept_arguments(args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call where a record has them only as texts: dates, bytes and the like."""
    return {"args": in_json(list(args)), "kwargs": in_json(dict(kwargs))}


def in_json(value: Any) -> Any:
    """Return what a value looks like in the JSON of a message, where a date is a dict of kombu's."""
    return json.loads(kombu_json.dumps(value))
