"""Both. What a task asks of Celery and of us: the options of ``@task(…)``, and those of one call, ``using(…)``.

What makes no sense is refused where it is said, so as the module with the task is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from asgiref.sync import iscoroutinefunction
from django.conf import settings

from tasks_celery.allowed import refuse
from tasks_celery.compat import InvalidTask
from tasks_celery.moments import to_aware
from tasks_celery.unique import Unique

#: What `autoretry_for` and `dont_autoretry_for` hold: exception classes, and functions that tell by the exception.
Selection = tuple[type[BaseException] | Callable[[Exception], bool], ...]
#: Seconds until the next attempt, by the exception and how many retries there were; None for no more.
Backoff = Callable[[BaseException, int], float | None]

OURS = ("name", "aliases", "enqueue_on_commit", "atomic", "unique")
_RETRIES = ("autoretry_for", "dont_autoretry_for", "retry_backoff", "retry_backoff_max", "retry_jitter")

Given = TypeVar("Given", "TaskOptions", "CallOptions")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """What a task asks for beyond Django's own options, under Celery's names where Celery has one.

    See https://docs.celeryq.dev/en/stable/userguide/tasks.html#list-of-options. None leaves a thing to the project's
    Celery configuration, but `max_retries`: there it is Celery's word for "without end".

    `name` is the name on the wire, the function's path by default, and `aliases` are others that messages may come under.
    `autoretry_for` and `dont_autoretry_for` hold exception classes, and functions that return whether an exception is meant;
    `retry_backoff` may be a function of the exception and the number of retries so far that returns seconds, or None to
    give up. `atomic` runs the function in a transaction of the default database, or of the one named. `unique`
    and `enqueue_on_commit` are about enqueueing.

    Raise TypeError for a value of the wrong kind, ValueError for one that cannot be used.
    """

    name: str | None = None
    autoretry_for: Selection | None = None
    dont_autoretry_for: Selection | None = None
    max_retries: int | None = 3  # as Celery has it
    default_retry_delay: float | None = None
    retry_backoff: bool | float | Backoff | None = None
    retry_backoff_max: float | None = None
    retry_jitter: bool | None = None
    rate_limit: str | float | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    expires: float | timedelta | None = None
    acks_late: bool | None = None
    reject_on_worker_lost: bool | None = None
    ignore_result: bool | None = None
    compression: str | None = None
    aliases: tuple[str, ...] = ()
    enqueue_on_commit: bool | str | None = None
    atomic: bool | str = False
    unique: bool | Unique = False

    def __post_init__(self) -> None:
        _make_plain(self)
        refuse("task", self)
        _refuse_limits("task", soft=self.soft_time_limit, hard=self.time_limit)
        if callable(self.retry_backoff) and not (self.retry_backoff_max is self.retry_jitter is None):
            raise ValueError(
                "task(retry_backoff=…) is a function, which says itself how long to wait: retry_backoff_max and "
                "retry_jitter have to be left out."
            )

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> TaskOptions:
        """Return the options in `raw`; raise TypeError for an unknown one, naming those that are known."""
        known = {option.name for option in fields(cls)}
        unknown = sorted(set(raw) - known)
        if unknown:
            raise TypeError(f"task() has no options {', '.join(unknown)}. Known: {', '.join(sorted(known))}.")
        return cls(**raw)

    def refuse_for(self, function: object) -> None:
        """Raise InvalidTask where a function cannot have what is asked for."""
        if self.atomic and iscoroutinefunction(function):
            raise InvalidTask(
                f"task(atomic={self.atomic!r}) cannot be had by the coroutine {function!r}: Django's transactions are "
                "synchronous. Put the queries into a function with transaction.atomic(), and await it with sync_to_async."
            )
        name = self.name or f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"
        if name in self.aliases:
            raise InvalidTask(f"task(aliases={self.aliases!r}): {name!r} is the name of the task itself. Leave it out.")

    def for_celery(self) -> dict[str, Any]:
        """Return what was asked for, as keyword arguments of a Celery task."""
        left_out = (*OURS, *(_RETRIES if self.retries_by_function else ()))
        return {name: value for name, value in self.asked_for().items() if name not in left_out}

    def asked_for(self) -> dict[str, Any]:
        """Return what is not as it is by default."""
        values = {option.name: (getattr(self, option.name), option.default) for option in fields(self)}
        return {name: value for name, (value, default) in values.items() if value != default}

    @property
    def retries_by_function(self) -> bool:
        """Whether a function tells what is retried, or when: Celery's own retries know only classes and numbers."""
        selected = (*(self.autoretry_for or ()), *(self.dont_autoretry_for or ()))
        return callable(self.retry_backoff) or not all(isinstance(each, type) for each in selected)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """What one call asks for (`using`); None leaves it to the task. `expires` is seconds from then on, or a moment.

    Raise TypeError for a value of the wrong kind, ValueError for one that cannot be used.
    """

    expires: float | timedelta | datetime | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    compression: str | None = None
    ignore_result: bool | None = None
    unique: bool | Unique | None = None

    def __post_init__(self) -> None:
        _make_plain(self)
        refuse("using", self)

    def asked_for(self) -> dict[str, Any]:
        """Return what was asked for."""
        values = {option.name: getattr(self, option.name) for option in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def within(self, options: TaskOptions, changes: Mapping[str, Any]) -> CallOptions:
        """Return these options with some changed, for a task with `options`.

        Raise TypeError for what is asked of a task and not of a call, or is not known.
        """
        _refuse_of_task(changes)
        asked = replace(self, **{name: value for name, value in changes.items() if value is not None})
        _refuse_limits(
            "using",
            soft=asked.soft_time_limit or options.soft_time_limit,
            hard=asked.time_limit or options.time_limit,
        )
        return asked


def _refuse_of_task(changes: Mapping[str, Any]) -> None:
    known = [option.name for option in fields(CallOptions)]
    for name in sorted(set(changes) - set(known)):
        if name in {option.name for option in fields(TaskOptions)}:
            raise TypeError(f"using() does not take {name}: it belongs to the task, as in @task({name}=…).")
        raise TypeError(f"using() takes no {name}. Known: {', '.join(known)}, and Django's own.")


def _make_plain(options: TaskOptions | CallOptions) -> None:
    """Bring what may be written in several ways into one: tuples, seconds, moments with their zone."""
    for option in fields(options):
        value = getattr(options, option.name)
        if isinstance(value, list) and option.name in ("autoretry_for", "dont_autoretry_for", "aliases"):
            object.__setattr__(options, option.name, tuple(value))
        elif isinstance(value, timedelta) and option.name == "expires":
            object.__setattr__(options, option.name, value.total_seconds())
        elif isinstance(value, datetime) and not settings.USE_TZ:
            # Here, for further on a naive time would be Celery's, which is UTC.
            object.__setattr__(options, option.name, to_aware(value))


def _refuse_limits(where: str, *, soft: float | None, hard: float | None) -> None:
    if soft and hard and soft > hard:
        raise ValueError(
            f"{where}(soft_time_limit={soft!r}) is above time_limit={hard!r}, which would end the task before it is "
            "told to hurry. Give a smaller soft_time_limit."
        )
