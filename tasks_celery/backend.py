"""Both. What ``TASKS`` points at: Django's backend interface, handed on to the modules that do the work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, TypeAlias

from asgiref.sync import sync_to_async
from celery import Celery
from django.core.checks import CheckMessage
from django.utils import timezone

from tasks_celery import cancel, checks, heartbeat, parent, publish, worker
from tasks_celery.adopt import AdoptedTask, with_replacement
from tasks_celery.celery import find_app
from tasks_celery.checks.priority import cure
from tasks_celery.compat import (
    DEFAULT_TASK_PRIORITY,
    DEFAULT_TASK_QUEUE_NAME,
    AnyResult,
    AnyTask,
    BaseTaskBackend,
    InvalidTask,
    TaskResultDoesNotExist,
)
from tasks_celery.exceptions import TasksCeleryError
from tasks_celery.options import Options, parse_options
from tasks_celery.priority import Scale, scale_in
from tasks_celery.publish import calls
from tasks_celery.remembered import remembered
from tasks_celery.results import Results, find_store, first_url, store_url, to_result
from tasks_celery.task import AS_ROUTED, CeleryTask
from tasks_celery.twin import Sent, Twin, register, task_at, twin_of

Call: TypeAlias = tuple[AnyTask, Sequence[Any], Mapping[str, Any]]


class _Flag:
    """A capability that depends on the project's Celery; a test may set another on the instance."""

    def __init__(self, ask: Callable[[Any], bool]) -> None:
        self.ask = ask

    def __get__(self, backend: CeleryBackend | None, owner: type | None = None) -> bool:
        try:
            return True if backend is None else self.ask(backend)
        except TasksCeleryError:
            # OPTIONS that cannot be used, or an app that is still being made: a module of tasks can be imported
            # all the same. What a task asks for is validated again when it is enqueued.
            return True


class CeleryBackend(BaseTaskBackend):
    """Runs Django's tasks on Celery (DEP-0014, https://docs.djangoproject.com/en/stable/ref/tasks/).

    Made at import time, once per thread: it looks nothing up and connects nowhere until it is used.
    """

    task_class = CeleryTask
    twin_class = Twin
    supports_defer = True
    supports_async_task = True
    supports_get_result = _Flag(lambda backend: store_url(backend.app, backend.settings) is not None)
    supports_priority = _Flag(lambda backend: backend.scale_of(None).order != "none")

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, dict(params))
        self._beside = params

    @cached_property
    def settings(self) -> Options:
        """The parsed OPTIONS. Raise OptionsError for what cannot be used."""
        return parse_options(self.alias, self.options, beside=self._beside)

    @cached_property
    def app(self) -> Celery:
        """The project's Celery app."""
        return find_app(self.settings.app)

    @property
    def results(self) -> Results:
        """The door to stored results; what the Celery configuration says may change in a test."""
        # Half of it, for the store has had the other half.
        return Results(app=self.app, store=find_store(self.app, self.settings), timeout=self.settings.timeout / 2)

    def scale_of(self, queue_name: str | None) -> Scale:
        """Return how the broker orders messages in a queue; for None, in all the queues of this alias."""
        return remembered(self.app, ("scale", self.alias, queue_name), lambda: self._find_scale(queue_name))

    def _find_scale(self, queue_name: str | None) -> Scale:
        conf = self.app.conf
        names = (queue_name,) if queue_name else tuple(sorted(self.queues))
        return scale_in(conf, names, broker=first_url(conf.broker_write_url))

    def validate_task(self, task: AnyTask) -> None:
        """Refuse what cannot run here (InvalidTask), and give the task its Celery twin."""
        if not isinstance(task.run_after, datetime | timedelta | None):
            raise InvalidTask(f"run_after must be a datetime or a timedelta, not {task.run_after!r}.")
        if task.priority != DEFAULT_TASK_PRIORITY and not self.supports_priority:
            raise InvalidTask(f"Backend does not support setting priority of tasks. {cure(self)}")
        super().validate_task(_as_django_knows_it(self, task))
        if register(task):
            parent.connect()
            heartbeat.connect()

    def enqueue(  # type: ignore[override]  # the stubs type it per task
        self, task: AnyTask, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> AnyResult:
        """Enqueue a task; see `publish.enqueue`."""
        self.validate_task(task)
        return publish.enqueue(self, task, args, kwargs)

    def enqueue_many(self, calls: Iterable[Call]) -> list[AnyResult]:
        """Enqueue a task for each call, ``(task, args, kwargs)``; see `publish.enqueue_many`."""
        return publish.enqueue_many(self, list(calls))

    async def aenqueue_many(self, calls: Iterable[Call]) -> list[AnyResult]:
        """Enqueue a task for each call, as `enqueue_many` does."""
        return await sync_to_async(self.enqueue_many)(calls)

    def cancel(self, result: AnyResult, *, terminate: bool = False) -> bool:
        """Cancel the task of a result; see `cancel.cancel`."""
        return cancel.cancel(self, result.id, terminate=terminate)

    async def acancel(self, result: AnyResult, *, terminate: bool = False) -> bool:
        """Cancel the task of a result, as `cancel` does."""
        return await sync_to_async(self.cancel)(result, terminate=terminate)

    def get_result(self, result_id: str) -> AnyResult:
        """Return the result with that id. Raise TaskResultDoesNotExist for an unknown one, StoreError on trouble."""
        if not self.supports_get_result:
            return super().get_result(result_id)
        record = self.results.get(str(result_id))
        if record is None:
            raise TaskResultDoesNotExist(f"There is no task result with the id {result_id!r}.")
        record = with_replacement(self.app, record, timeout=self.settings.timeout / 2)
        # What only Celery knows of was enqueued on no alias: it is read through this one.
        return to_result(replace(record, alias=record.alias or self.alias), task_at(record.name, record.path))

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        """Return what is wrong with this alias; connects nowhere and never raises."""
        return checks.check_backend(self)

    # What the twin asks for.

    def twin(self, task: AnyTask) -> Twin:
        """Return the Celery task of a Django Task, in this alias's app."""
        return twin_of(task, self.app)

    def run(self, twin: Twin, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Run an attempt in the worker; see `worker.run`."""
        return worker.run(self, twin, args, kwargs)

    def finished(self, twin: Twin) -> None:
        """Announce the end of the attempt that `twin` runs."""
        worker.finished(self, twin)

    def send(
        self,
        twin: Twin,
        send: Callable[..., Sent],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        task_id: str | None,
        options: dict[str, Any],
    ) -> Sent:
        """Send a message for a caller of Celery's own API; see `calls.send`."""
        return calls.send(self, twin, send, args, kwargs, task_id, options)


def _as_django_knows_it(backend: CeleryBackend, task: AnyTask) -> AnyTask:
    """Return what Django can validate: its documentation allows a timedelta, and its code breaks on one.

    Where an adopted task goes that has named no queue, Celery says as it is sent.
    """
    changes: dict[str, Any] = {}
    if isinstance(task.run_after, timedelta):
        changes["run_after"] = timezone.now()
    if task.queue_name == AS_ROUTED and isinstance(task, AdoptedTask):
        changes["queue_name"] = next(iter(backend.queues), DEFAULT_TASK_QUEUE_NAME)
    return _changed(task, changes) if changes else task


def _changed(task: AnyTask, changes: Mapping[str, Any]) -> AnyTask:
    copy: AnyTask = object.__new__(type(task))
    for field in fields(task):
        object.__setattr__(copy, field.name, changes.get(field.name, getattr(task, field.name)))
    return copy
