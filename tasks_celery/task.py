"""Both. What a task is: Django's, with what it asks of Celery; and the decorator that makes one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Concatenate, Literal, Never, ParamSpec, Self, TypeAlias, TypeVar, cast, overload

from celery import Signature
from celery import Task as _CeleryTask
from celery.result import AsyncResult, EagerResult
from django.utils.module_loading import import_string

from tasks_celery.compat import (
    DEFAULT_TASK_BACKEND_ALIAS,
    DEFAULT_TASK_PRIORITY,
    DEFAULT_TASK_QUEUE_NAME,
    AnyResult,
    AnyTask,
    InvalidTask,
    Task,
    task_backends,
)
from tasks_celery.moments import to_aware
from tasks_celery.plain import calls_of, no_celery, note_left_out, plain_kind
from tasks_celery.task_options import CallOptions, TaskOptions
from tasks_celery.unique import Unique

P = ParamSpec("P")
T = TypeVar("T")

if TYPE_CHECKING:
    _Task = Task
    Sent: TypeAlias = AsyncResult[Any] | EagerResult[Any]
else:
    # Django's class takes no parameters at run time, the backport's does.
    _Task = {(P, T): Task}
    Sent = AsyncResult | EagerResult

_NOTHING = CallOptions()

#: The queue of an adopted task that no call has named: where Celery's own options and routes say.
AS_ROUTED = ""

#: What a context never is, and the first argument of a task often.
_JSON = (str, int, float, list, tuple, dict, None.__class__)

__all__ = ["CallOptions", "CeleryTask", "TaskOptions", "name_of", "task"]


@dataclass(frozen=True, slots=True, kw_only=True, init=False)
class CeleryTask(_Task[P, T]):
    """A Django Task that also answers to Celery: `celery` is its twin.

    `options` is what the task asks for, `asked` what one call does (`using`). Neither makes two tasks different: a result
    that is read back equals the one that `enqueue` returned.
    """

    options: TaskOptions = field(default=TaskOptions(), repr=False, compare=False)
    asked: CallOptions = field(default=_NOTHING, repr=False, compare=False)
    #: Whether a call has named its queue.
    pinned: bool = field(default=False, repr=False, compare=False)

    # Else a template that shows a result's task would run it.
    do_not_call_in_templates = True

    def __init__(
        self,
        *,
        options: TaskOptions | None = None,
        asked: CallOptions | None = None,
        pinned: bool = False,
        **given: Any,
    ) -> None:
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
        object.__setattr__(self, "pinned", pinned)
        Task.__init__(self, **{**_DEFAULTS, **djangos})

    def __reduce__(self) -> tuple[Any, ...]:
        # By its path: what a function retries for, say, is a function, and need not be one that can be pickled.
        kept = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in ("func", "options")}
        return _found_again, (self.module_path, kept)

    @property
    def celery(self) -> _CeleryTask[P, T]:
        """The Celery task of the same name, in the app of this task's backend."""
        backend: Any = self.get_backend()
        if not hasattr(backend, "twin"):  # by `using`, it may be any
            raise no_celery(self, "celery")
        return backend.twin(self)  # type: ignore[no-any-return]

    # What Celery's callers know. All of it is the twin's.

    def __call__(self, *args: Any, **kwargs: Any) -> T:
        """Call the function here and now, as Celery's tasks are called; nothing is recorded.

        A function that takes a context is given one by its caller.
        """
        if self.takes_context and args and isinstance(args[0], _JSON):
            raise TypeError(
                f"{self.module_path} takes a context, and {args[0]!r} is none: called directly it is just its function. Give "
                "it a context, or enqueue() it."
            )
        if not hasattr(self.get_backend(), "twin"):
            return self.call(*args, **kwargs)
        return self.celery(*args, **kwargs)

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> Sent:
        """Send the task as Celery's `delay` does, with what `using` asks for; its record is read by the id of what is returned."""
        return self.apply_async(args, kwargs)

    def apply_async(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **more: Any
    ) -> Sent:
        """Send the task as Celery's `apply_async` does; its options go before what `using` asks for.

        Raise InvalidTask for what `using` asks and Celery's API has no word for.
        """
        twin: Any = self.celery
        return twin.apply_async(args, kwargs, **self.celery_options() | more)  # type: ignore[no-any-return]

    def apply(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **more: Any
    ) -> EagerResult[T]:
        """Run the task here and now as Celery's `apply` does, as if in a worker: with a record, and its retries."""
        twin: Any = self.celery
        return twin.apply(args, kwargs, **self.celery_options() | more)  # type: ignore[no-any-return]

    def s(self, *args: Any, **kwargs: Any) -> Signature[T]:
        """Return the signature of a call, for Celery's canvas."""
        return self.signature(args, kwargs)

    def si(self, *args: Any, **kwargs: Any) -> Signature[T]:
        """Return the signature of a call that takes nothing from the task before it."""
        return self.signature(args, kwargs, immutable=True)

    def signature(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Signature[T]:
        """Return a signature as Celery's `signature` does; its options go before what `using` asks for.

        Raise InvalidTask as `apply_async` does.
        """
        twin: Any = self.celery
        return twin.signature(args, kwargs, self.celery_options() | dict(options or {}), **more)  # type: ignore[no-any-return]

    def celery_options(self) -> dict[str, Any]:
        """Return what `using` asks of a call, under the names of Celery's `apply_async`.

        Raise InvalidTask for what there is no such name for.
        """
        plain: Any = cast("Any", self.celery).django_task
        if plain is self:
            return {}
        if self.backend != plain.backend or getattr(plain, "options", self.options).unique != self.options.unique:
            what = "backend" if self.backend != plain.backend else "unique"
            raise InvalidTask(
                f"{self.module_path}: using({what}=…) cannot go along with delay(), apply_async() or a signature, which Celery "
                "sends. Use enqueue()."
            )
        options = self.sending_options() | ({"queue": self.queue_name} if self.pinned else {})
        if self.priority != plain.priority:
            backend: Any = self.get_backend()
            options["priority"] = backend.scale_of(self.queue_name or None).place(self.priority)
        if isinstance(self.run_after, timedelta):
            options["countdown"] = self.run_after.total_seconds()
        elif self.run_after is not None:
            options["eta"] = to_aware(self.run_after)
        return options

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
        if queue_name is not None:
            changes["pinned"] = True
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


def make_task(kind: type[AnyTask], **given: Any) -> AnyTask:
    """Return a task of a class that is not ours, which on some releases of Django has no defaults."""
    return kind(**{**_DEFAULTS, **given})


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
        }
        if issubclass(kind, CeleryTask):
            return kind(options=extra, **djangos)
        extra.refuse_for(func)
        made = make_task(plain_kind(kind), **djangos)
        note_left_out(made, extra)
        return made

    return wrap(function) if function is not None else wrap
