"""Both. What a schedule says, as texts that can be compared and printed: as declared, and as its row has it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model

from tasks_celery.beat.declare import Declaration
from tasks_celery.beat.when import Clocked, Crontab, Every, Kind, Solar
from tasks_celery.moments import to_text

Texts = dict[str, str | None]

#: In django-celery-beat's own order: of several the first counts.
KINDS: tuple[Kind, ...] = ("interval", "crontab", "solar", "clocked")

_BROKERS_OWN = "the broker's own priority"


def differences(row: Any, declaration: Declaration) -> list[str]:
    """Return how a row differs from what is declared, one ``field: old -> new`` each; none where there is no row."""
    changed = changed_texts(row, declaration) if row is not None else {}
    return [f"{name}: {_shown(old)} -> {_shown(new)}" for name, (old, new) in changed.items()]


def changed_texts(row: Any, declaration: Declaration) -> dict[str, tuple[str | None, str | None]]:
    """Return what a row says otherwise than is declared: of each field the old text and the new."""
    found, wanted = texts_of_row(row), texts_of(declaration)
    if declaration.priority is not None:
        # A row's own number is the broker's, set by a person, and would win over the declared one.
        found[_BROKERS_OWN], wanted[_BROKERS_OWN] = _number(row.priority), None
    return {name: (found[name], wanted[name]) for name in wanted if found[name] != wanted[name]}


def texts_of(declaration: Declaration) -> Texts:
    """Return what is declared; None for what is not."""
    return {
        "task": declaration.task,
        "when": when_text(declaration.when.kind, declaration.when.fields()),
        "args": _canonical(declaration.args),
        "kwargs": _canonical(declaration.kwargs),
        "queue": declaration.queue,
        "expires": _expires(declaration.expires),
        "start_time": to_text(declaration.start_time),
        "one_off": _yes(is_one_off(declaration)),
        "description": declaration.description or None,
        "priority": _number(declaration.priority),
        "catch_up": declaration.catch_up,
        "skip_while_active": _yes(declaration.skip_while_active),
        "notify_user": declaration.notify_user,
        "notify_group": declaration.notify_group,
    }


def is_one_off(declaration: Declaration) -> bool:
    """Return whether a schedule ticks once; a moment does in any case, and its row has to say so."""
    return declaration.one_off or declaration.when.kind == "clocked"


def texts_of_row(row: Any) -> Texts:
    """Return what a row says, and its options."""
    return {
        "task": row.task,
        "when": " and ".join(when_text(kind, fields_of(getattr(row, kind))) for kind in kinds_of(row)) or None,
        "args": _canonical_of(row.args, "[]"),
        "kwargs": _canonical_of(row.kwargs, "{}"),
        "queue": row.queue or None,
        "expires": _expires(row.expires if row.expires is not None else row.expire_seconds),
        "start_time": to_text(row.start_time),
        "one_off": _yes(row.one_off),
        "description": row.description or None,
        **_texts_of_options(options_of(row)),
    }


def options_of(row: Any) -> Any:
    """Return what tasks_celery knows of a row; None where it knows nothing."""
    return getattr(row, "tasks_celery_options", None)


def _texts_of_options(options: Any) -> Texts:
    if options is None:
        return {
            "priority": None,
            "catch_up": "once",
            "skip_while_active": "no",
            "notify_user": None,
            "notify_group": None,
        }
    user, group = options.notify_user, options.notify_group
    return {
        "priority": _number(options.priority),
        "catch_up": options.catch_up,
        "skip_while_active": _yes(options.skip_while_active),
        "notify_user": str(getattr(user, get_user_model().USERNAME_FIELD)) if user else None,
        "notify_group": group.name if group else None,
    }


def kinds_of(row: Any) -> list[Kind]:
    """Return which kinds of time a row has: one, unless somebody wrote it past every form."""
    return [kind for kind in KINDS if getattr(row, f"{kind}_id") is not None]


def fields_of(times: Any) -> dict[str, Any]:
    """Return what a row of times has, but for its key."""
    names = [field.attname for field in times._meta.concrete_fields if not field.primary_key]
    return {name: getattr(times, name) for name in names}


def when_text(kind: Kind, fields: Mapping[str, Any]) -> str:
    """Return when a row of times ticks, as a person reads it."""
    match kind:
        case "crontab":
            return str(Crontab(**{**fields, "timezone": str(fields["timezone"])}))
        case "interval":
            return str(Every(**fields))
        case "solar":
            return str(Solar(**fields))
        case "clocked":
            return str(Clocked(at=fields["clocked_time"]))


def _canonical_of(text: str | None, empty: str) -> str:
    try:
        return _canonical(json.loads(text or empty))
    except ValueError:
        return str(text)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _expires(value: datetime | int | None) -> str | None:
    if value is None or isinstance(value, datetime):
        return to_text(value)
    return f"after {value} s"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _number(value: int | None) -> str | None:
    return None if value is None else str(value)


def _shown(value: str | None) -> str:
    return "nothing" if value is None else value
