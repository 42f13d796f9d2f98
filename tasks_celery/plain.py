"""Both. Tasks under the backends of Django's own: the same code runs there, and what they cannot do is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from tasks_celery.compat import AnyResult, AnyTask, Task
from tasks_celery.moments import due_at
from tasks_celery.task_options import CallOptions, TaskOptions

if TYPE_CHECKING:
    _Task = Task[..., Any]
else:
    _Task = Task

#: Nobody misses these where no message is sent.
QUIET = frozenset({"name", "aliases", "compression", "ignore_result"})

#: The names of the Celery tasks that functions of adopted tasks call.
_adopted: WeakKeyDictionary[Callable[..., Any], str] = WeakKeyDictionary()

#: What was left out, by the alias and the path of the task.
_left_out: dict[tuple[str, str], tuple[str, ...]] = {}


#: What `CeleryTask` has of Celery's API.
CELERYS = frozenset({"celery", "delay", "apply_async", "apply", "s", "si", "signature"})


class PlainTask(_Task):
    """A Django Task that may be asked for what `CeleryTask` knows, and leaves it out.

    Celery's own API it has not: who asks for it gets an AttributeError that says why.
    """

    __slots__ = ()

    do_not_call_in_templates = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function here and now."""
        return self.call(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name in CELERYS:
            raise no_celery(self, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)

    def using(
        self,
        *,
        priority: int | None = None,
        queue_name: str | None = None,
        run_after: datetime | timedelta | None = None,
        backend: str | None = None,
        **asked: Any,
    ) -> AnyTask:
        """Return a copy as Django's `using` does; refuse what `CeleryTask.using` would, and leave the rest out."""
        CallOptions().within(TaskOptions(), asked)
        due = due_at(run_after) if isinstance(run_after, timedelta) else run_after
        return super().using(priority=priority, queue_name=queue_name, run_after=due, backend=backend)

    def enqueue_many(self, calls: Iterable[tuple[Sequence[Any], Mapping[str, Any]]]) -> list[AnyResult]:
        """Enqueue the task once for each pair of arguments and keyword arguments, one after the other."""
        return [self.enqueue(*args, **kwargs) for args, kwargs in calls_of(calls)]

    async def aenqueue_many(self, calls: Iterable[tuple[Sequence[Any], Mapping[str, Any]]]) -> list[AnyResult]:
        """Enqueue the task once for each pair, as `enqueue_many` does."""
        return [await self.aenqueue(*args, **kwargs) for args, kwargs in calls_of(calls)]


def no_celery(task: AnyTask, name: str) -> AttributeError:
    """Return what is raised for a word of Celery's that a task has not, being on another backend."""
    backend = type(task.get_backend())
    return AttributeError(
        f"The task {task.module_path} has no {name!r}: TASKS[{task.backend!r}] is {backend.__module__}.{backend.__qualname__}, "
        "and only tasks of tasks_celery.CeleryBackend answer to Celery's API. Use enqueue() or call it, or give that alias "
        "a CeleryBackend, for tests with CELERY_TASK_ALWAYS_EAGER = True.",
        name=name,
        obj=task,
    )


def note_adopted(function: Callable[..., Any], name: str) -> None:
    """Remember that a task's function calls the Celery task of that name."""
    _adopted[function] = name


def adopted_name(task: AnyTask) -> str | None:
    """Return the name of the Celery task that an adopted task calls, None for any other."""
    return _adopted.get(task.func)


def calls_of(calls: Iterable[Any]) -> list[tuple[list[Any], dict[str, Any]]]:
    """Return calls as pairs of arguments and keyword arguments; raise TypeError, naming it, for what is no such pair."""
    return [_call_of(call, number) for number, call in enumerate(calls)]


def _call_of(call: Any, number: int) -> tuple[list[Any], dict[str, Any]]:
    match call:
        case (list() | tuple() as args, Mapping() as kwargs):
            return list(args), dict(kwargs)
    raise TypeError(
        f"Call number {number} of enqueue_many is {call!r}; it has to be a pair of arguments and keyword arguments, as in "
        "([7], {'colour': 'red'})."
    )


def plain_kind(kind: type[AnyTask]) -> type[AnyTask]:
    """Return the class of a task for a backend whose `task_class` is `kind`; one of its own is left as it is."""
    return PlainTask if kind is Task else kind


def note_left_out(task: AnyTask, options: TaskOptions) -> None:
    """Remember, for `left_out`, what a task asks for and does not get."""
    missed = tuple(name for name in options.asked_for() if name not in QUIET)
    _left_out.pop((task.backend, task.module_path), None)
    if missed:
        _left_out[task.backend, task.module_path] = missed


def left_out() -> Mapping[tuple[str, str], tuple[str, ...]]:
    """Return the options that make a difference and were left out, by the alias and the path of the task."""
    return _left_out
