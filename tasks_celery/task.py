"""Both. What a task is: Django's, with what it asks of Celery; and the decorator that makes one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar, cast, overload

from celery import Task as BaseCeleryTask

from tasks_celery.compat import (
    DEFAULT_TASK_BACKEND_ALIAS,
    DEFAULT_TASK_PRIORITY,
    DEFAULT_TASK_QUEUE_NAME,
    AnyTask,
    Task,
    task_backends,
)

P = ParamSpec("P")
T = TypeVar("T")

if TYPE_CHECKING:
    _Task = Task[..., Any]
    _CeleryTask = BaseCeleryTask[..., Any]
else:
    _Task = Task


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """What a task asks of Celery beyond Django's own options, under Celery's names.

    See https://docs.celeryq.dev/en/stable/userguide/tasks.html#list-of-options. None leaves a thing to
    the project's Celery configuration. `name` is the name on the wire, the function's path by default.
    """

    name: str | None = None
    autoretry_for: tuple[type[BaseException], ...] | None = None
    dont_autoretry_for: tuple[type[BaseException], ...] | None = None
    max_retries: int | None = None
    default_retry_delay: float | None = None
    retry_backoff: bool | int | None = None
    retry_backoff_max: int | None = None
    retry_jitter: bool | None = None
    rate_limit: str | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    expires: float | None = None
    acks_late: bool | None = None
    reject_on_worker_lost: bool | None = None
    ignore_result: bool | None = None
    compression: str | None = None

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> TaskOptions:
        """Return the options in `raw`; raise TypeError for an unknown one, naming those that are known."""
        known = {option.name for option in fields(cls)}
        unknown = sorted(set(raw) - known)
        if unknown:
            raise TypeError(f"task() has no options {', '.join(unknown)}. Known: {', '.join(sorted(known))}.")
        return cls(**raw)

    def for_celery(self) -> dict[str, Any]:
        """Return what was asked for, as keyword arguments of a Celery task."""
        asked = {option.name: getattr(self, option.name) for option in fields(self) if option.name != "name"}
        return {name: value for name, value in asked.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class CeleryTask(_Task):
    """A Django Task that also answers to Celery: `celery` is its twin."""

    options: TaskOptions = field(default_factory=TaskOptions, repr=False)

    @property
    def celery(self) -> _CeleryTask:
        """The Celery task of the same name, in the app of this task's backend."""
        return cast("Any", self.get_backend()).twin(self)  # type: ignore[no-any-return]


def name_of(task: AnyTask) -> str:
    """Return the name of a task's twin: the one it was given, else the function's path."""
    options = getattr(task, "options", None)
    return (options.name if isinstance(options, TaskOptions) else None) or task.module_path


@overload
def task(function: Callable[P, T], /) -> Task[P, T]: ...


@overload
def task(
    function: None = None,
    /,
    *,
    priority: int = ...,
    queue_name: str = ...,
    backend: str = ...,
    takes_context: Literal[True],
    **options: Any,
) -> Callable[[Callable[Concatenate[Any, P], T]], Task[P, T]]: ...


@overload
def task(
    function: None = None,
    /,
    *,
    priority: int = ...,
    queue_name: str = ...,
    backend: str = ...,
    takes_context: Literal[False] = ...,
    **options: Any,
) -> Callable[[Callable[P, T]], Task[P, T]]: ...


def task(
    function: Callable[..., Any] | None = None,
    /,
    *,
    priority: int = DEFAULT_TASK_PRIORITY,
    queue_name: str = DEFAULT_TASK_QUEUE_NAME,
    backend: str = DEFAULT_TASK_BACKEND_ALIAS,
    takes_context: bool = False,
    **options: Any,
) -> AnyTask | Callable[[Callable[..., Any]], AnyTask]:
    """Make a function a task: Django's decorator on every Django, with `TaskOptions` as keyword arguments.

    Under another backend (Immediate, Dummy) the options are left out, so that the same code runs there.
    Raise TypeError for an unknown option, InvalidTask for what the backend cannot do.
    """
    extra = TaskOptions.parse(options)

    def wrap(func: Callable[..., Any]) -> AnyTask:
        kind = task_backends[backend].task_class
        ours = {"options": extra} if issubclass(kind, CeleryTask) else {}
        return kind(
            func=func,
            priority=priority,
            queue_name=queue_name,
            backend=backend,
            takes_context=takes_context,
            run_after=None,
            **ours,
        )

    return wrap(function) if function is not None else wrap
