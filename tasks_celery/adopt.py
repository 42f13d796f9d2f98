"""Both. A Celery task of the project's that becomes a Django Task too, and stays what it was.

The object that Celery has of it in each app is given a class of its own, between which and Celery's everything of the
project's stays: its base classes, its hooks, its options. Its function and its module are as they were.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from types import new_class
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast
from uuid import uuid4

from celery import Celery, _state
from celery import Task as BaseCeleryTask
from celery.app.trace import build_tracer
from celery.local import PromiseProxy, Proxy
from celery.utils.imports import gen_task_name, symbol_by_name
from django.utils import timezone

from tasks_celery.celery_results import from_celery
from tasks_celery.compat import DEFAULT_TASK_BACKEND_ALIAS, AnyTask, Task, task_backends
from tasks_celery.exceptions import TaskNameClash
from tasks_celery.moments import to_aware
from tasks_celery.plain import PlainTask, adopted_name, note_adopted
from tasks_celery.stores import Outcome, Record
from tasks_celery.stores.base import FINISHED
from tasks_celery.task import AS_ROUTED, CeleryTask, TaskOptions, make_task
from tasks_celery.twin import Recording, Twin, backend_of, registered
from tasks_celery.values import as_json, jsonable

logger = logging.getLogger("tasks_celery")

P = ParamSpec("P")
T = TypeVar("T")

if TYPE_CHECKING:
    _Task = CeleryTask
else:
    _Task = {(P, T): CeleryTask}

_GIVE = "adopt() takes what @shared_task or @app.task gives, or a task that app.register_task() has registered"


def adopt(celery_task: BaseCeleryTask[P, T], *, backend: str = DEFAULT_TASK_BACKEND_ALIAS) -> CeleryTask[P, T]:
    """Return the Django Task of a Celery task, which goes on being one; the same for the same task.

    The Celery task is what it was: its name, options, base classes and hooks, its `delay`, its result in Celery's result
    backend. It also has a record from now on, however it is sent. `enqueue` sends it where `delay` does, and its arguments have
    to be JSON; what it returns and JSON cannot hold, the record has as text. Under a backend without Celery (Immediate,
    Dummy) the Django Task calls the Celery task directly.

    Raise TypeError for what is no such task, InvalidTask for one that is defined inside a function, TaskNameClash where
    a Django Task has its name.
    """
    source = _read(celery_task)
    known = registered().get(source.name)
    if isinstance(known, AdoptedTask) and (known.backend, known.module_path) == (backend, source.path):
        return cast("CeleryTask[P, T]", known)
    if known is not None:
        raise TaskNameClash(
            f"The Celery task {source.name!r} cannot be adopted for TASKS[{backend!r}]: the Django task {known.module_path} of "
            f"TASKS[{known.backend!r}] has its name. Give one of them another, or use that one."
        )
    func = _direct_call(celery_task, source)
    kind = task_backends[backend].task_class
    if issubclass(kind, CeleryTask):
        return AdoptedTask(func=func, backend=backend, queue_name=AS_ROUTED, options=TaskOptions(name=source.name))
    made = make_task(AdoptedPlainTask if kind is Task else kind, func=func, backend=backend)
    _plain[source.name] = made
    return cast("CeleryTask[P, T]", made)


@dataclass(frozen=True, slots=True, kw_only=True, init=False)
class AdoptedTask(_Task[P, T]):
    """The Django Task of a Celery task.

    Its `queue_name` is empty, and its `priority` 0, for what Celery's own options and routes say; a result's task has the queue
    that it went to.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        _, (_, kept) = CeleryTask.__reduce__(self)
        return _found_again, (self.options.name, self.func.__module__, kept)

    def join(self, app: Celery) -> None:
        """Give the Celery task its records in an app: now, or as soon as the app has it."""
        if not _take_over(self, app):
            # Celery calls what is to be done as it finishes an app in no order; after this signal it has every task.
            app.on_after_finalize.connect(functools.partial(_on_finalized, self, app), weak=False)


def _on_finalized(task: AdoptedTask[..., Any], app: Celery, **kwargs: Any) -> None:
    _take_over(task, app)


class AdoptedPlainTask(PlainTask):
    """The Django Task of a Celery task, under a backend of Django's own."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        kept = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "func"}
        return _found_again, (adopted_name(self), self.func.__module__, kept)


#: The adopted tasks under backends of Django's own, by the names of their Celery tasks.
_plain: dict[str, AnyTask] = {}


def _found_again(name: str, module: str, kept: Mapping[str, Any]) -> AnyTask:
    if name not in registered() and name not in _plain:
        import_module(module)
    found = registered().get(name) or _plain.get(name)
    if not isinstance(found, AdoptedTask | AdoptedPlainTask):
        raise ValueError(f"There is no adopted task {name!r} in {module}.")  # noqa: TRY004  as Django's
    return replace(found, **kept)


# --- the Celery task


class AdoptedTwin(Twin):
    """What an adopted Celery task does before all that its own classes do."""

    abstract = True
    is_adopted = True
    #: Whether a class of the project's says what a call is, and what a worker calls.
    has_own_call = False

    def perform(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
        """Call the function as Celery does; return what it returned, and what the record can have of that."""
        if self.has_own_call:
            value = super(Twin, self).__call__(*args, **kwargs)
        else:
            self.request.__dict__["_protected"] = 1
            value = self.run(*args, **kwargs)
        return value, _kept(value)

    def on_replace(self, sig: Any) -> Any:
        """Leave the id, and so the record, to the task that replaces this one."""
        run = self.current_run
        if run is not None:
            # Before its message is sent, for it may be fast. Nobody but that task is to run under this id.
            outcome = Outcome(
                status="READY",
                at=timezone.now(),
                token=uuid4().hex,
                attempt=run.record.attempt,
                due=timezone.now() + NEVER,
            )
            backend_of(self.django_task, self.request.headers).results.settle(run.record, outcome)
        return super().on_replace(sig)


#: How long the sweeper is to wait for the message of a task that has replaced another.
NEVER = timedelta(days=36_500)


def with_replacement(app: Celery, record: Record, *, timeout: float) -> Record:
    """Return the record of a task, with the end of one that has replaced it and is not ours: Celery's result tells that.

    Raise StoreError where Celery's result backend does not answer.
    """
    due = to_aware(record.due) if record.status == "READY" and record.attempt else None
    is_replaced = due is not None and due > datetime.now(UTC) + NEVER / 2
    ended = from_celery(app, record.id, timeout=timeout) if is_replaced else None
    if ended is None or ended.status not in FINISHED:
        return record
    return replace(
        record,
        status=ended.status,
        finished_at=ended.finished_at,
        errors=(*record.errors, *ended.errors),
        return_value=ended.return_value,
    )


def _kept(value: Any) -> Any:
    try:
        return as_json(value)
    except Exception:  # noqa: BLE001  what the project returns may be anything, and raise anything
        return readable(value)


def readable(value: Any) -> Any:
    """Return `value` as a record can have it: what JSON cannot hold as its text, and what has none as the name of its class."""
    try:
        return as_json(jsonable(value))
    except Exception:  # noqa: BLE001  the project's objects say themselves what their text is
        return f"<{type(value).__module__}.{type(value).__qualname__}>"


def kept_call(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any], bool]:
    """Return arguments as a record can have them, and whether these are the arguments themselves."""
    given = [readable(each) for each in args]
    named = {str(name): readable(value) for name, value in kwargs.items()}
    try:
        is_plain = bool(given == list(args) and named == dict(kwargs))
    except Exception:  # noqa: BLE001  objects say themselves whether they are equal
        is_plain = False
    return given, named, is_plain


#: In `Record.sending`: its message cannot be made again, for JSON does not hold what it was made of.
UNTOLD = "untold"


def or_untold(keep: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what `keep` does for `Record.sending`; of what JSON cannot hold (arguments that are pickled), just that."""
    try:
        return keep()
    except Exception as error:  # what is to be made JSON may be anything
        logger.debug("What an adopted task was called with cannot be kept", exc_info=error)
        return {UNTOLD: True}


def _take_over(task: AdoptedTask[..., Any], app: Any) -> bool:
    """Give the Celery task of an app its class; return whether the app has the task."""
    found = app._tasks.get(task.options.name)
    if found is None or (isinstance(found, Twin) and not isinstance(found, AdoptedTwin)):
        return False  # whose name it is, `twin.register` has said
    if isinstance(found, AdoptedTwin):
        type(found).django_task = task
        return True
    kind = type(found)
    attributes = {
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        "__doc__": kind.__doc__,
        "django_task": task,
        "has_own_call": _overrides(kind, "__call__"),
        "has_own_apply_async": _overrides(kind, "apply_async"),
        "Request": _request_for(kind),
    }
    found.__class__ = new_class(
        kind.__name__, (AdoptedTwin, kind, Recording), exec_body=lambda body: body.update(attributes)
    )
    if found.__trace__ is not None:  # a worker runs already
        found.__trace__ = build_tracer(found.name, found, app=app)
    return True


def _overrides(kind: type, name: str) -> bool:
    return getattr(kind, name) is not getattr(BaseCeleryTask, name)


def _request_for(kind: Any) -> Any:
    """Return the class of a task's requests in a worker: ours, with what the project's own does."""
    if kind.Request == BaseCeleryTask.Request:
        return Twin.Request
    ours, own = symbol_by_name(Twin.Request), symbol_by_name(kind.Request)
    return type(own.__name__, (ours, own), {"__module__": own.__module__})


# --- what is given to adopt()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """What a Celery task is made of: its name, its function, and whether that is given the task itself.

    `owner` is what the project calls it by: the function, or the class of a task.
    """

    name: str
    function: Callable[..., Any]
    owner: Any
    bound: bool

    @property
    def path(self) -> str:
        return f"{self.owner.__module__}.{self.owner.__qualname__}"


def _read(given: Any) -> _Source:
    """Return what a Celery task is made of; as far as can be without having Celery finish its app, for it is too early."""
    if isinstance(given, Proxy):
        pending = _pending(given)
        if pending is not None:
            return pending
        given = given._get_current_object()
    if isinstance(given, Task):
        raise TypeError(f"{given.module_path} is a Django task already. {_GIVE}.")
    if inspect.isclass(given) and issubclass(given, BaseCeleryTask):
        raise TypeError(f"{given.__qualname__} is a class. {_GIVE}, and gives back.")
    if not isinstance(given, BaseCeleryTask):
        raise TypeError(f"{given!r} is no Celery task. {_GIVE}.")
    return _read_task(given)


def _read_task(task: Any) -> _Source:
    if isinstance(task, Twin) and not isinstance(task, AdoptedTwin):
        raise TypeError(f"{task.name} is the Celery side of the Django task {task.django_task.module_path}: use that.")
    app = task._app
    if app is None or not task.name or app._tasks.get(task.name) is not task:
        raise TypeError(f"{type(task).__qualname__} is in no app. {_GIVE}.")
    run = inspect.getattr_static(type(task), "run")
    bound = not isinstance(run, staticmethod)
    function = run if bound else run.__func__
    owner = function if getattr(type(task), "_decorated", False) else type(task)
    return _Source(name=task.name, function=function, owner=owner, bound=bound)


def _pending(proxy: Any) -> _Source | None:
    """Return what a proxy will make its task of, from where Celery keeps it; None where it is not there."""
    if type(proxy) is PromiseProxy:
        if proxy.__evaluated__():
            return None
        make = object.__getattribute__(proxy, "_Proxy__local")
        (function,) = object.__getattribute__(proxy, "_Proxy__args")
        return _source_of(function, object.__getattribute__(proxy, "_Proxy__kwargs"), make.__self__)
    asked = _closure(object.__getattribute__(proxy, "_Proxy__local"))
    function, name = asked.get("fun"), asked.get("name")
    state: Any = _state  # its stub leaves out what it keeps
    for callback in list(state._on_app_finalizers):
        kept = _closure(callback)
        options = kept.get("options")
        # By its name too: one function may be shared under several.
        if function is not None and kept.get("fun") is function and options is not None and options.get("name") == name:
            return _source_of(function, options, state._tls.current_app or state.default_app)
    return None


def _closure(function: Any) -> dict[str, Any]:
    cells = getattr(function, "__closure__", None) or ()
    return (
        dict(zip(function.__code__.co_freevars, (cell.cell_contents for cell in cells), strict=True)) if cells else {}
    )


def _source_of(function: Any, options: Mapping[str, Any], app: Any) -> _Source:
    make_name = app.gen_task_name if app is not None else functools.partial(gen_task_name, None)
    return _Source(
        name=options.get("name") or make_name(function.__name__, function.__module__),
        function=function,
        owner=function,
        bound=bool(options.get("bind")),
    )


def _direct_call(celery_task: Any, source: _Source) -> Callable[..., Any]:
    """Return a function that calls the task directly, and looks like the task's own without the task itself."""

    @functools.wraps(source.function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return celery_task(*args, **kwargs)

    call.__module__, call.__qualname__ = source.owner.__module__, source.owner.__qualname__
    if source.bound:
        own = inspect.signature(source.function)
        cast("Any", call).__signature__ = own.replace(parameters=list(own.parameters.values())[1:])
    note_adopted(call, source.name)
    return call
