"""Both. What ``TASK_SCHEDULES`` says, parsed once into one typed value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from tasks_celery.exceptions import OptionsError
from tasks_celery.options import is_duration, values_in

#: For how many seconds a tick that nobody has taken is still on time: each of those is sent, in order.
GRACE = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSettings:
    """How schedules are kept and sent.

    `sync_after_migrate` has what the code declares written after each ``migrate``. A tick is on time for `grace` seconds: later,
    it is a missed one. A beat that took a tick and did not send it within `retake` seconds loses it to another. Of each
    schedule's ticks the last `keep` stay to be looked at.
    """

    sync_after_migrate: bool = False
    grace: float = GRACE
    retake: float = 10.0
    keep: int = 20


def schedule_settings() -> ScheduleSettings:
    """Return what ``TASK_SCHEDULES`` says; raise OptionsError for what it may not say."""
    return parse_schedule_settings(getattr(settings, "TASK_SCHEDULES", {}))


def parse_schedule_settings(raw: Any) -> ScheduleSettings:
    """Return the settings that a dict says; keys are upper-case, as Django's are.

    Raise OptionsError for a key that is not known or a value of the wrong kind, naming it.
    """
    if not isinstance(raw, Mapping):
        raise OptionsError(f"TASK_SCHEDULES is {raw!r}; it has to be a dict, such as {{'SYNC_AFTER_MIGRATE': True}}.")
    found = ScheduleSettings(**values_in(raw, ScheduleSettings, setting="TASK_SCHEDULES"))
    _refuse_wrong_kinds(found)
    return found


def _refuse_wrong_kinds(found: ScheduleSettings) -> None:
    if not isinstance(found.sync_after_migrate, bool):
        raise _wrong("sync_after_migrate", found.sync_after_migrate, "True or False")
    if not isinstance(found.keep, int) or isinstance(found.keep, bool) or found.keep < 1:
        raise _wrong("keep", found.keep, "a whole number of ticks, 1 or more")
    for name in ("grace", "retake"):
        if not is_duration(getattr(found, name)):
            raise _wrong(name, getattr(found, name), "a number of seconds above 0")


def _wrong(name: str, value: object, wanted: str) -> OptionsError:
    return OptionsError(f"TASK_SCHEDULES[{name.upper()!r}] is {value!r}; it has to be {wanted}.")
