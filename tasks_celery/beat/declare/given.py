"""Both. What is given for a schedule, each thing by itself: returned as a row keeps it, or refused. Nothing is looked up.

The errors say what is wrong with a value and what to give instead; `declare` says before it which schedule it is of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from tasks_celery.beat.when import MOST, moment_of
from tasks_celery.compat import TASK_MAX_PRIORITY, TASK_MIN_PRIORITY
from tasks_celery.exceptions import ScheduleError
from tasks_celery.message import refuse_marked
from tasks_celery.values import as_json

#: What django-celery-beat's columns for names hold.
LONGEST_NAME = 200


def a_name(what: str, value: object) -> str:
    """Return a name that a row can have, and that the form of the admin leaves as it is."""
    if not isinstance(value, str):
        raise TypeError(f"{what} is {value!r}; it has to be a text.")
    if not value.strip() or value != value.strip() or not value.isprintable():
        raise ScheduleError(f"{what} is {value!r}; give a text of one line, without blanks at its ends.")
    if len(value) > LONGEST_NAME:
        raise ScheduleError(f"{what} is {value!r}, {len(value)} characters long; {LONGEST_NAME} is the most.")
    return value


def a_priority(value: object) -> int | None:
    """Return a priority of Django's."""
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"priority is {value!r}; it has to be a whole number.")
    if not TASK_MIN_PRIORITY <= value <= TASK_MAX_PRIORITY:
        raise ScheduleError(f"priority is {value}; Django's go from {TASK_MIN_PRIORITY} to {TASK_MAX_PRIORITY}.")
    return value


def an_expiry(value: object) -> int | datetime | None:
    """Return for how many whole seconds a run may wait, or the moment that ends the schedule."""
    if value is None or isinstance(value, datetime):
        return value and moment_of(value, "expires")
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(
            f"expires is {value!r}; give seconds or a timedelta for how long a run may wait, or a datetime that ends the "
            "schedule."
        )
    if not 0 < value <= MOST:
        raise ScheduleError(f"expires is {value!r}; give a number of seconds above 0 and up to {MOST}.")
    return ceil(value)


def a_flag(what: str, value: object) -> bool:
    """Return True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{what} is {value!r}; it has to be True or False.")
    return value


def a_description(value: object) -> str:
    """Return a text of any length."""
    if not isinstance(value, str):
        raise TypeError(f"description is {value!r}; it has to be a text.")
    if "\0" in value:
        raise ScheduleError(f"description is {value!r}; PostgreSQL keeps no text with a NUL, so take it out.")
    return value


def a_username(value: Any) -> str | None:
    """Return a username; a user has one."""
    name = value.get_username() if hasattr(value, "get_username") else value
    return None if name is None else a_name("notify_user (a user, or a username)", name)


def a_group_name(value: Any) -> str | None:
    """Return the name of a Django group; a group has one."""
    is_group = getattr(getattr(value, "_meta", None), "label_lower", None) == "auth.group"
    name = value.name if is_group else value
    return None if name is None else a_name("notify_group (a Django group, or its name)", name)


def arguments(args: object, kwargs: object) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments as a row keeps them, in JSON."""
    if not isinstance(args, Sequence) or isinstance(args, str | bytes):
        raise TypeError(f"args is {args!r}; it has to be a list or a tuple, such as [7].")
    if not isinstance(kwargs, Mapping | None):
        raise TypeError(f"kwargs is {kwargs!r}; it has to be a dict, such as {{'colour': 'red'}}.")
    named = dict(kwargs or {})
    if wrong := [key for key in named if not isinstance(key, str)]:
        raise TypeError(f"kwargs has the key {wrong[0]!r}; the keys of kwargs are names of parameters, as texts.")
    refuse_unsendable([list(args), named])
    kept_args, kept_kwargs = as_json([list(args), named])
    return kept_args, kept_kwargs


def refuse_unsendable(arguments: Any) -> None:
    """Raise ScheduleError for arguments that JSON cannot hold, or that Celery's JSON takes for something else."""
    try:
        as_json(arguments)
        refuse_marked(arguments)
    except RecursionError as error:
        raise ScheduleError("The arguments hold themselves, which JSON cannot hold; give a copy.") from error
    except (TypeError, ValueError) as error:
        raise ScheduleError(
            f"The arguments {arguments!r} cannot be sent: {str(error).rstrip('.')}. Give what JSON holds: texts, numbers, lists "
            "and dicts; of a row, its primary key."
        ) from error
