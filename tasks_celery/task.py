"""Both. What a task is: Django's, with what it asks of Celery; and the decorator that makes one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Concatenate, Literal, Never, ParamSpec, Self, TypeVar, cast, overload

from celery import Task as BaseCeleryTask
from django.utils.module_loading import import_string

from tasks_celery.compat import (
    DEFAULT_TASK_BACKEND_ALIAS,
    DEFAULT_TASK_PRIORITY,
    DEFAULT_TASK_QUEUE_NAME,
    AnyResult,
    AnyTask,
    Task,
    task_backends,
)
from tasks_celery.plain import calls_of, note_left_out, plain_kind
from tasks_celery.task_options import CallOptions, TaskOptions
from tasks_celery.unique import Unique

P = ParamSpec("P")
T = TypeVar("T")

if TYPE_CHECKING:
    _Task = Task
    _CeleryTask = BaseCeleryTask[..., Any]
else:
    # Django's class takes no parameters at run time, the backport's does.
    _Task = {(P, T): Task}

_NOTHING = CallOptions()

__all__ = ["CallOptions", "CeleryTask", "TaskOptions", "name_of", "task"]


@dataclass(frozen=True, slots=True, kw_only=True, init=False)
class CeleryTask(_Task[P, T]):
    """A Django Task that also answers to Celery: `celery` is its twin.

    `options` is what the task asks for, `asked` what one call does (`using`). Neither makes two tasks different: a result
    that is read back equals the one that `enqueue` returned.
    """

    options: TaskOptions = field(default=TaskOptions(), repr=False, compare=False)
    asked: CallOptions = field(default=_NOTHING, repr=False, compare=False)

    def __init__(self, *, options: TaskOptions | None = None, asked: CallOptions | None = None, **given: Any) -> None:
        """Take what Django's Task takes, and `options`, which Django's own decorator gives one by one.

        Raise TypeError or ValueError for options that make no sense, InvalidTask for what the backend cannot do.
        """
        djangos = {each.name: given.pop(each.name) for each in fields(Task) if each.name in given}
        if options is None or given:
            options = TaskOptions.parse({**(options.asked_for() if options else {}), **given})
        asked = asked or _NOTHING
        if asked.unique is not None:
            options = replace(options, unique=asked.unique)
        options.refuse_for(djangos.get("func"))
        object.__setattr__(self, "options", options)
        object.__setattr__(self, "asked", asked)
        Task.__init__(self, **{**_DEFAULTS, **djangos})

    def __reduce__(self) -> tuple[Any, ...]:
        # By its path: what a function retries for, say, is a function, and need not be one that can be pickled.
        kept = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in ("func", "options")}
        return _found_again, (self.module_path, kept)

    @property
    def celery(self) -> _CeleryTask:
        """The Celery task of the same name, in the app of this task's backend."""
        return cast("Any", self.get_backend()).twin(self)  # type: ignore[no-any-return]

    def using(
        self,
        *,
        priority: int | None = None,
        queue_name: str | None = None,
        run_after: datetime | timedelta | None = None,
        backend: str | None = None,
        expires: float | timedelta | datetime | None = None,
        time_limit: float | None = None,
        soft_time_limit: float | None = None,
        compression: str | None = None,
        ignore_result: bool | None = None,
        unique: bool | Unique | None = None,
        **others: Never,
    ) -> Self:
        """Return a copy of the task that asks for something else; None leaves a thing as it is.

        `run_after` and `expires` may be a timedelta, which counts from `enqueue` on. The limits and `expires` are seconds.
        Raise TypeError or ValueError for what makes no sense, InvalidTask for what the backend cannot do.
        """
        asked = {
            "expires": expires,
            "time_limit": time_limit,
            "soft_time_limit": soft_time_limit,
            "compression": compression,
            "ignore_result": ignore_result,
            "unique": unique,
        }
        djangos = {"priority": priority, "queue_name": queue_name, "run_after": run_after, "backend": backend}
        changes: dict[str, Any] = {name: value for name, value in djangos.items() if value is not None}
        return replace(self, asked=self.asked.within(self.options, asked | others), **changes)

    def sending_options(self) -> dict[str, Any]:
        """Return what this call asks of its message, under the names of Celery's `apply_async`.

        All but `expires`, seconds from now on or an aware datetime, is as JSON can hold it.
        """
        if self.asked is _NOTHING:  # as nearly always, and each `enqueue` asks
            return {}
        return {name: value for name, value in self.asked.asked_for().items() if name != "unique"}

    def enqueue_many(self, calls: Iterable[tuple[Sequence[Any], Mapping[str, Any]]]) -> list[AnyResult]:
        """Enqueue the task once for each pair of arguments and keyword arguments; return the results in that order.

        Nothing is sent where one of them is refused. Raise TypeError for what is no such pair, else as `enqueue` does, and
        PartlyEnqueued where the broker took only some.
        """
        backend: Any = self.get_backend()
        if not hasattr(backend, "enqueue_many"):  # by `using`, it may be any
            return [backend.enqueue(self, args, kwargs) for args, kwargs in calls_of(calls)]
        return list(backend.enqueue_many([(self, *call) for call in calls_of(calls)]))

    async def aenqueue_many(self, calls: Iterable[tuple[Sequence[Any], Mapping[str, Any]]]) -> list[AnyResult]:
        """Enqueue the task once for each pair, as `enqueue_many` does."""
        backend: Any = self.get_backend()
        if not hasattr(backend, "aenqueue_many"):
            return [await backend.aenqueue(self, args, kwargs) for args, kwargs in calls_of(calls)]
        return list(await backend.aenqueue_many([(self, *call) for call in calls_of(calls)]))


#: What Django's decorator gives, or on later releases leaves to the class.
_DEFAULTS: Mapping[str, Any] = {
    "priority": DEFAULT_TASK_PRIORITY,
    "queue_name": DEFAULT_TASK_QUEUE_NAME,
    "backend": DEFAULT_TASK_BACKEND_ALIAS,
    "takes_context": False,
    "run_after": None,
}


def _found_again(path: str, kept: Mapping[str, Any]) -> AnyTask:
    try:
        found = import_string(path)
    except ImportError as error:
        raise ValueError(f"There is no task at {path!r}.") from error
    if not isinstance(found, CeleryTask):
        raise ValueError(f"Expected {path!r} to point to a task of CeleryBackend, not to {found!r}.")  # noqa: TRY004  as Django's
    return replace(found, **kept)


def name_of(task: AnyTask) -> str:
    """Return the name of a task's twin: the one it was given, else the function's path."""
    options = getattr(task, "options", None)
    return (options.name if isinstance(options, TaskOptions) else None) or task.module_path


def names_of(task: AnyTask) -> tuple[str, ...]:
    """Return the names that messages may call a task's twin by: the `aliases`, and at last its own."""
    options = getattr(task, "options", None)
    return (*(options.aliases if isinstance(options, TaskOptions) else ()), name_of(task))


@overload
def task(function: Callable[P, T], /) -> CeleryTask[P, T]: ...


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
) -> Callable[[Callable[Concatenate[Any, P], T]], CeleryTask[P, T]]: ...


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
) -> Callable[[Callable[P, T]], CeleryTask[P, T]]: ...


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

    Under another backend (Immediate, Dummy) the options are left out, so that the same code runs there; ``manage.py
    check`` names them. Raise TypeError or ValueError for options that make no sense, InvalidTask for what the backend
    cannot do.
    """
    extra = TaskOptions.parse(options)

    def wrap(func: Callable[..., Any]) -> AnyTask:
        kind = task_backends[backend].task_class
        djangos: dict[str, Any] = {
            "func": func,
            "priority": priority,
            "queue_name": queue_name,
            "backend": backend,
            "takes_context": takes_context,
            "run_after": None,
        }
        if issubclass(kind, CeleryTask):
            return kind(options=extra, **djangos)
        extra.refuse_for(func)
        made: AnyTask = plain_kind(kind)(**djangos)
        note_left_out(made, extra)
        return made

    return wrap(function) if function is not None else wrap
