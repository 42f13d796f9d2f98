"""Both. The Celery task beside a Django Task, its twin of the same name.

The twin is what Flower, routes, rate limits, ``celery inspect`` and django-celery-beat see, and what a
worker runs. It belongs to every Celery app of the process, as ``shared_task`` has it.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeAlias, cast

from celery import Celery, _state
from celery import Task as BaseCeleryTask
from celery.result import AsyncResult, EagerResult
from celery.utils.functional import head_from_fun
from django.utils.module_loading import import_string

from tasks_celery import attempt
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
from tasks_celery.exceptions import TaskNameClash
from tasks_celery.message import read_facts
from tasks_celery.options import Options
from tasks_celery.priority import Scale
from tasks_celery.results import Results
from tasks_celery.stores import Record, Store
from tasks_celery.task import CeleryTask, name_of, names_of
from tasks_celery.values import as_json

logger = logging.getLogger("tasks_celery")

if TYPE_CHECKING:
    _CeleryTask = BaseCeleryTask[..., Any]
    Sent: TypeAlias = AsyncResult[Any] | EagerResult[Any]
else:
    _CeleryTask, Sent = BaseCeleryTask, AsyncResult | EagerResult


class TwinBackend(Protocol):
    """What the modules below the backend ask of it; `CeleryBackend` is the one."""

    alias: str
    queues: set[str]

    @property
    def settings(self) -> Options: ...

    @property
    def app(self) -> Celery: ...

    @property
    def results(self) -> Results: ...

    def scale_of(self, queue_name: str | None) -> Scale: ...

    def validate_task(self, task: AnyTask) -> None: ...

    def run(self, twin: Twin, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any: ...

    def finished(self, twin: Twin) -> None: ...

    def send(
        self,
        twin: Twin,
        send: Callable[..., Sent],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        task_id: str | None,
        options: dict[str, Any],
    ) -> Sent: ...


@dataclass(slots=True)
class Run:
    """The attempt that a twin runs: its result, where its record rests and as it began, and that once it has ended."""

    result: AnyResult
    store: Store
    record: Record
    settled: bool = False
    finished: Record | None = None


class Twin(_CeleryTask):
    """The Celery task of a Django Task. What it does, the Django Task's backend says.

    It goes before whatever else the class of a Celery task has, and `Recording` after it.
    """

    abstract = True
    django_task: AnyTask
    Request = "tasks_celery.parent:Request"
    #: Whether it was a Celery task of the project's, and goes on being one; see `adopt`.
    is_adopted = False
    #: Whether a class of the project's says how it is sent.
    has_own_apply_async = False

    @property
    def current_run(self) -> Run | None:
        """The attempt that this process runs just now, None outside one."""
        return cast("Run | None", self.request.__dict__.get("current_run"))

    @current_run.setter
    def current_run(self, run: Run) -> None:
        self.request.__dict__["current_run"] = run

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task in a worker, with its record; called directly, by itself too, just the function."""
        if self.request.called_directly or self.current_run is not None:
            return super().__call__(*args, **kwargs)
        return backend_of(self.django_task, self.request.headers).run(self, args, kwargs)

    def perform(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
        """Call the function; return what Celery keeps of what it returned, and what the record does."""
        # What Celery's workers do where they replace `Task.__call__` (celery/app/trace.py): a call by the function itself is
        # another one.
        self.request.__dict__["_protected"] = 1
        value = as_json(self.run(*args, **kwargs))
        return value, value

    def on_success(self, *args: Any, **kwargs: Any) -> None:
        super().on_success(*args, **kwargs)
        backend_of(self.django_task, self.request.headers).finished(self)

    def on_failure(self, *args: Any, **kwargs: Any) -> None:
        super().on_failure(*args, **kwargs)
        backend_of(self.django_task, self.request.headers).finished(self)


class Recording(_CeleryTask):
    """What is sent by Celery's own API gets a record. Last before Celery's own class, so that it sees what is really sent."""

    abstract = True

    def apply_async(
        self, args: Any = None, kwargs: Any = None, task_id: str | None = None, *more: Any, **options: Any
    ) -> Sent:
        """Send a message as Celery does, with a record like any other task's."""
        send: Callable[..., Sent] = functools.partial(super().apply_async, args, kwargs)
        options |= dict(zip(("producer", "link", "link_error", "shadow"), more, strict=False))
        twin = cast("Twin", self)
        return backend_of(twin.django_task).send(twin, send, args or (), kwargs or {}, task_id, options)


class FunctionTwin(Twin, Recording):
    """The twin of a task that `@task` made."""

    abstract = True
    serializer = "json"


def backend_of(task: AnyTask, headers: Mapping[str, Any] | None = None) -> TwinBackend:
    """Return the backend of a task that has a twin: the alias it was enqueued on, where this process has it."""
    alias = str(read_facts(headers).get("alias"))
    known = alias in task_backends.settings and hasattr(task_backends[alias], "twin_class")
    return cast("TwinBackend", task_backends[alias] if known else task.get_backend())


def twin_of(task: AnyTask, app: Celery) -> Twin:
    """Return the twin of a task in an app; raise TaskNameClash where another Celery task has its name."""
    name = name_of(task)
    found = app.tasks.get(name)
    if found is None:
        raise InvalidTask(
            f"The Celery app {app.main!r} of TASKS[{task.backend!r}] has no task {name!r}. OPTIONS['APP'] can name another app."
        )
    if not isinstance(found, Twin):
        raise _clash(name, task, _kind_of(found))
    return found


def refuse_clashes(task: AnyTask, app: Celery) -> None:
    """Raise TaskNameClash where another Celery task of an app has the name of a task, or one of its aliases."""
    for name in names_of(task):
        found = app.tasks.get(name)
        if not isinstance(found, Twin | None):
            raise _clash(name, task, _kind_of(found))


def _kind_of(found: object) -> str:
    return f"{type(found).__module__}.{type(found).__qualname__}"


#: The Django Task behind each twin of this process, by each of its names; the first that was defined under a name.
_tasks: dict[str, AnyTask] = {}


def register(task: AnyTask) -> bool:
    """Give a task its twin in every Celery app, those of the future included; False if it has one.

    The twin is known by the task's aliases too. The copies that `using` makes share the twin of the first. Raise
    TaskNameClash where another function or another Celery task has one of the names.
    """
    name, names = name_of(task), names_of(task)
    known = _tasks.get(name)
    if known is not None and known.func is task.func:
        return False
    for each in names:
        _refuse_taken(each, task)
    if known is None:
        _state.connect_on_app_finalize(functools.partial(_add_twin, name))
    _tasks.update(dict.fromkeys(names, task))
    for app in list(_state._get_active_apps()):  # type: ignore[attr-defined]
        if app.finalized:
            with app._finalize_mutex:
                _add_twin(name, app)
            refuse_clashes(task, app)
    return True


def _refuse_taken(name: str, task: AnyTask) -> None:
    known = _tasks.get(name)
    if known is None:
        return
    if (known.module_path, name_of(known)) != (task.module_path, name_of(task)) or _joins(known) != _joins(task):
        raise _clash(name, task, known.module_path)


def _joins(task: AnyTask) -> bool:
    return hasattr(task, "join")


def _add_twin(name: str, app: Any) -> None:
    task: Any = _tasks[name]
    if _joins(task):
        task.join(app)
        return
    names = []
    for each in names_of(task):
        if isinstance(app._tasks.get(each), Twin | None):
            app._tasks.pop(each, None)  # a module that was loaded again brings its new function
            names.append(each)
        else:
            # Not an error yet: raised here, where Celery finishes an app, it would keep other tasks out of it.
            # `twin_of` says it to who uses the task, and the checks to everybody.
            logger.error("%s", _clash(each, task, f"of {app._tasks[each].__module__}"))
    if name in names:
        _make_twin(name, names, task, app)


def _make_twin(name: str, names: Sequence[str], task: AnyTask, app: Any) -> None:
    twin = app._task_from_fun(
        _body(task),
        name=name,
        base=FunctionTwin,
        bind=True,
        django_task=task,
        # The real function's arguments, so that `.delay()` refuses wrong ones as it always did.
        __header__=staticmethod(head_from_fun(task.func, bound=task.takes_context)),
        **(task.options.for_celery() if isinstance(task, CeleryTask) else {}),
    )
    for each in names:  # its own name last, for the last is what a worker logs (celery/app/trace.py, build_tracer)
        app._tasks.pop(each, None)
        app._tasks[each] = twin


def _body(task: AnyTask) -> Callable[..., Any]:
    @functools.wraps(task.func)
    def run(twin: Twin, /, *args: Any, **kwargs: Any) -> Any:
        current = twin.current_run
        if task.takes_context and current:
            retries = twin.request.retries or 0
            context = attempt.CeleryTaskContext(task_result=current.result, store=current.store, retries=retries)
            args = (context, *args)
        return attempt.run(twin, task, args, kwargs)

    return run


def _clash(name: str, task: AnyTask, other: str) -> TaskNameClash:
    advice = "give the Django task a name of its own: @task(name='…')"
    if name != name_of(task):
        advice = "take it out of its aliases"
    return TaskNameClash(
        f"The Django task {task.module_path} and the Celery task {other} both have the name {name!r}. "
        f"Remove one of them, or {advice}."
    )


def registered() -> Mapping[str, AnyTask]:
    """Return the Django Tasks of this process by the name of their twin."""
    return _tasks


def task_at(name: str, path: str, *, importing: bool = True) -> AnyTask:
    """Return the Django Task of that name, else the one at `path`; a stand-in where there is none any more.

    A result outlives the code that made it: the stand-in has the path and refuses to run. Without `importing`, only
    what is known here already is found: a message must not choose what a worker imports.
    """
    known = _tasks.get(name)
    if known is not None or not importing:
        return known or _stand_in(path)
    try:
        found = import_string(path)
    except Exception:  # the project's module, which may raise what it likes
        logger.debug("The task at %s cannot be imported; its result is read without it", path, exc_info=True)
        found = None
    return found if isinstance(found, Task) else _stand_in(path)


def _stand_in(path: str) -> AnyTask:
    def gone(*args: Any, **kwargs: Any) -> NoReturn:
        raise ImportError(f"There is no task at {path!r} any more.")

    gone.__module__, _, gone.__qualname__ = path.rpartition(".")
    gone.__name__ = gone.__qualname__
    task: AnyTask = object.__new__(Task)
    facts: dict[str, Any] = {
        "func": gone,
        "run_after": None,
        "takes_context": False,
        "priority": DEFAULT_TASK_PRIORITY,
        "backend": DEFAULT_TASK_BACKEND_ALIAS,
        "queue_name": DEFAULT_TASK_QUEUE_NAME,
    }
    for name, value in facts.items():
        object.__setattr__(task, name, value)
    return task
