"""Both. What a schedule is, and the decorator that declares one in code. Nothing is written: `sync` does that."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from tasks_celery.beat.declare import given
from tasks_celery.beat.declare.fitting import refuse_for, refuse_wrong_call
from tasks_celery.beat.when import Clocked, When, moment_of, when_of
from tasks_celery.compat import AnyTask, Task
from tasks_celery.exceptions import ScheduleError
from tasks_celery.task import name_of
from tasks_celery.twin import registered

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import Group

    from tasks_celery.beat.when import SayWhen

__all__ = ["CatchUp", "Declaration", "declare", "declared", "refuse_wrong_call", "schedule"]

logger = logging.getLogger("tasks_celery")

CatchUp = Literal["once", "skip"]
Scheduled = TypeVar("Scheduled", bound=AnyTask)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """One schedule: its name, the name of its task on the wire, when it ticks, and how it is sent.

    `expires` is for how many seconds each run may wait, or a moment after which the schedule has no more ticks. `priority` is
    Django's, -100 to 100; None leaves it, like `queue`, to the task. `notify_user` is a username, `notify_group` the name of a
    Django group. All moments are aware.
    """

    name: str
    task: str
    when: When
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    queue: str | None = None
    priority: int | None = None
    expires: int | datetime | None = None
    start_time: datetime | None = None
    one_off: bool = False
    description: str = ""
    catch_up: CatchUp = "once"
    skip_while_active: bool = False
    notify_user: str | None = None
    notify_group: str | None = None


def schedule(
    when: SayWhen,
    *,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    name: str | None = None,
    queue: str | None = None,
    priority: int | None = None,
    expires: float | timedelta | datetime | None = None,
    start_time: datetime | None = None,
    one_off: bool = False,
    description: str = "",
    catch_up: CatchUp = "once",
    skip_while_active: bool = False,
    notify_user: AbstractBaseUser | str | None = None,
    notify_group: Group | str | None = None,
) -> Callable[[Scheduled], Scheduled]:
    """Declare that a task is to run at the ticks of `when`: ``manage.py sync_schedules`` writes it into the database.

    Goes above ``@task``, and gives back the task. A task may have several schedules, each with a `name` of its own; without one
    it is the task's name on the wire. The rest is as `Declaration` has it; `expires` may be a timedelta too, and a schedule
    that ticks once (`clocked`) is `one_off` in any case.

    Raise ScheduleError or TypeError where something of it cannot be, or another task has a schedule of that name.
    """

    def decorate(task: Scheduled) -> Scheduled:
        if not isinstance(task, Task):
            raise TypeError(f"@schedule got {task!r}; it goes above @task of Django or of tasks_celery.")
        _add(
            task.func,
            declare(
                task,
                when,
                args=args,
                kwargs=kwargs,
                name=name,
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
            ),
        )
        return task

    return decorate


def declare(
    task: AnyTask | str,
    when: SayWhen,
    *,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    name: str | None = None,
    queue: str | None = None,
    priority: int | None = None,
    expires: float | timedelta | datetime | None = None,
    start_time: datetime | None = None,
    one_off: bool = False,
    description: str = "",
    catch_up: CatchUp = "once",
    skip_while_active: bool = False,
    notify_user: AbstractBaseUser | str | None = None,
    notify_group: Group | str | None = None,
    is_of_today: bool = True,
) -> Declaration:
    """Return the declaration of a schedule, of which nothing is noted; `task` may be its name on the wire.

    Of a task that this process knows, the arguments are held against its signature, and the queue against the QUEUES of its
    backend. Raise ScheduleError or TypeError, which names the schedule, the value and the cure. What is not `is_of_today`, as in
    a migration, which outlives the code it was written with, is only warned of where it does not fit its task.
    """
    wire = _wire_name(task)
    known = task if isinstance(task, Task) else registered().get(wire)
    try:
        ticks = when_of(when)
        kept_args, kept_kwargs = given.arguments(args, kwargs)
        found = Declaration(
            name=given.a_name("name", wire if name is None else name),
            task=wire,
            when=ticks,
            args=kept_args,
            kwargs=kept_kwargs,
            queue=None if queue is None else given.a_name("queue", queue),
            priority=given.a_priority(priority),
            expires=given.an_expiry(expires),
            start_time=None if start_time is None else moment_of(start_time, "start_time"),
            one_off=given.a_flag("one_off", one_off) or isinstance(ticks, Clocked),
            description=given.a_description(description),
            catch_up=_catch_up(catch_up),
            skip_while_active=given.a_flag("skip_while_active", skip_while_active),
            notify_user=given.a_username(notify_user),
            notify_group=given.a_group_name(notify_group),
        )
        _refuse_never(found)
        if known is not None and is_of_today:
            refuse_for(known, found)
    except (TypeError, ScheduleError) as error:
        raise type(error)(f"The schedule {wire if name is None else name!r} of {wire}: {error}") from error
    if known is not None and not is_of_today:
        _warn_of_misfit(known, found)
    return found


def _warn_of_misfit(task: AnyTask, found: Declaration) -> None:
    try:
        refuse_for(task, found)
    except ScheduleError as error:
        logger.warning(
            "The schedule %r of %s does not fit the code of today, which refuses its ticks unless a later migration changes it: %s",
            found.name,
            found.task,
            error,
        )


def declared() -> list[Declaration]:
    """Return what the modules that were imported so far declare, by the name."""
    return [found for _, (_, found) in sorted(_declared.items())]


def _wire_name(task: object) -> str:
    if isinstance(task, Task):
        return name_of(task)
    if isinstance(task, str):
        return given.a_name("The task's name", task)
    raise TypeError(f"A schedule cannot have {task!r} as its task; give a Django Task, or its name on the wire.")


def _catch_up(value: object) -> CatchUp:
    for known in get_args(CatchUp):
        if value == known:
            return known  # type: ignore[no-any-return]
    raise ScheduleError(
        f"catch_up is {value!r}; it has to be 'once' (the last missed tick is sent, late) or 'skip' (none is)."
    )


def _refuse_never(found: Declaration) -> None:
    """Raise ScheduleError for a schedule that is over before it begins."""
    at = found.when.at if isinstance(found.when, Clocked) else None
    ends = found.expires if isinstance(found.expires, datetime) else None
    if at and found.start_time and found.start_time > at:
        raise ScheduleError(f"start_time ({found.start_time}) is after the one tick ({at}); leave it out.")
    begins = at or found.start_time
    if begins and ends and ends <= begins:
        raise ScheduleError(f"it ends (expires, {ends}) before its first tick ({begins}); give a later moment.")


#: By the name of the schedule; with the function, which tells a module that is loaded anew from another task.
_declared: dict[str, tuple[Callable[..., Any], Declaration]] = {}


def _add(func: Callable[..., Any], found: Declaration) -> None:
    _forget_replaced(func)
    known_func, known = _declared.get(found.name, (func, found))
    if known_func is not func:
        raise ScheduleError(
            f"{_path_of(func)} and {_path_of(known_func)} both have a schedule named {found.name!r}. Give one of them "
            "another: @schedule(…, name='…')."
        )
    if known != found:
        raise ScheduleError(
            f"{_path_of(func)} has two schedules named {found.name!r}, {known.when} and {found.when}. Give each a name of its "
            "own: @schedule(…, name='…')."
        )
    _declared[found.name] = (func, found)


def _forget_replaced(func: Callable[..., Any]) -> None:
    # Another function of the same path is a module loaded anew: its schedules take the place of the old one's.
    for name, (known, _) in list(_declared.items()):
        if known is not func and _path_of(known) == _path_of(func):
            del _declared[name]


def _path_of(func: Callable[..., Any]) -> str:
    return f"{func.__module__}.{func.__qualname__}"
