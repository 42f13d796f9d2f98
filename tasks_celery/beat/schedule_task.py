"""Both. Schedules by their names, one by one: in migrations, and in live code such as a reminder that a user asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.apps import apps as todays_apps
from django.db import transaction

from tasks_celery.beat.declare import CatchUp, declare
from tasks_celery.beat.rows import find, remove, write
from tasks_celery.beat.rows.tables import lock, mark, tables_of

if TYPE_CHECKING:
    from django.apps.registry import Apps
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import Group

    from tasks_celery.beat.when import SayWhen
    from tasks_celery.compat import AnyTask


def schedule_task(
    apps: Apps,
    task: AnyTask | str,
    when: SayWhen,
    *,
    name: str | None = None,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    queue: str | None = None,
    priority: int | None = None,
    expires: float | timedelta | datetime | None = None,
    start_time: datetime | None = None,
    one_off: bool = False,
    enabled: bool = True,
    description: str = "",
    catch_up: CatchUp = "once",
    skip_while_active: bool = False,
    notify_user: AbstractBaseUser | str | None = None,
    notify_group: Group | str | None = None,
    using: str = "default",
) -> Any:
    """Have a schedule of this name be so, and return its row of django-celery-beat's; running beats notice.

    `apps` is what a migration's function is given, or ``django.apps.apps`` in live code. `task` is a task or its name, which is
    also the schedule's name where none is given. The same again changes nothing; what ticks once and has done so stays
    done until its time is another. Raise ScheduleError, and write nothing, for what cannot be, for a schedule of that
    name that runs another task, and for models or users that are not there. In a migration, whose task may take something
    else by now, arguments and a queue that do not fit it are a warning in the log.
    """
    declaration = declare(
        task,
        when,
        name=name,
        args=args,
        kwargs=kwargs,
        queue=queue,
        priority=priority,
        expires=expires,
        start_time=start_time,
        one_off=one_off,
        description=description,
        catch_up=catch_up,
        skip_while_active=skip_while_active,
        notify_user=notify_user,
        notify_group=notify_group,
        is_of_today=apps is todays_apps,
    )
    return write(apps, declaration, using=using, enabled=enabled, options={"declared": False, "dropped": False})


def unschedule_task(apps: Apps, name: str, using: str = "default") -> bool:
    """Delete the schedule of this name, with what is known of its ticks; return whether there was one.

    `apps` is as for `schedule_task`. Running beats notice.
    """
    tables = tables_of(apps)
    if find(tables, name, using) is None:
        return False
    with transaction.atomic(using=using):
        lock(tables, using)
        remove(tables, [name], using)
        mark(tables, using)
    return True
