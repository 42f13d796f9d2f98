"""Both. What ``manage.py check`` says of schedules: one function per message, with its fix.

What is said of the settings and of the code connects nowhere. What is said of the rows is for who asks for it, with
``check --database default``, and for ``migrate``; it is a warning always, for an error would keep ``migrate`` from
mending them. None of it ever raises.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.core import checks
from django.core.checks import CheckMessage, Tags

from tasks_celery.beat.checks import declared, rows, setup, zones
from tasks_celery.beat.checks.reading import Messages


def register() -> None:
    """Register the checks with Django."""
    checks.register(check_schedules)
    checks.register(check_rows, Tags.database)


def check_schedules(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Return what is wrong with TASK_SCHEDULES, Celery's scheduler, the time zones and what the code declares."""
    each: tuple[Callable[[], Messages], ...] = (
        setup.settings_are_wrong,
        setup.app_is_missing,
        setup.scheduler_is_another,
        setup.scheduler_sends_twice,
        zones.zone_is_unknown,
        zones.zones_disagree,
        zones.machine_decides,
        zones.zones_are_left_out,
        declared.queues_are_refused,
    )
    return [message for check in each for message in check()]


def check_rows(app_configs: Any = None, databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Return which schedules in these databases cannot be sent, and whether they are as the code declares them."""
    return [message for alias in databases or () for message in rows.found_in(alias)]
