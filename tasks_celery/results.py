"""Both. The one door to stored results: the record of a task, and Celery's own result where there is no record.

`Results` moves a record through its states; `to_result` is the one mapping to Django's TaskResult.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from traceback import format_exception
from typing import Any

from celery import Celery
from django.conf import settings

from tasks_celery import moments
from tasks_celery.celery_results import from_celery
from tasks_celery.compat import AnyResult, AnyTask, TaskError, TaskResult, TaskResultStatus, task_backends
from tasks_celery.exceptions import OptionsError, StoreError
from tasks_celery.message import schedule_in
from tasks_celery.options import CELERY_SCHEMES, Options
from tasks_celery.remembered import remembered
from tasks_celery.stores import Attempt, Error, Outcome, Record, Store, open_store
from tasks_celery.stores.base import claimed, settled
from tasks_celery.stores.nowhere import NOWHERE

logger = logging.getLogger("tasks_celery")


#: Seconds that a worker waits before it asks a store again, each time: a restart of Redis takes less than all of them.
PAUSES = (0.5, 1.0, 2.0, 4.0)

#: Seconds that a task is kept beyond its time at least, while its message is still to be sent: a week.
HELD_FOR = 7 * 24 * 3600.0


def store_url(app: Celery, options: Options) -> str | None:
    """Return where records are kept: the option, else the database, else Celery's result backend or broker.

    The database where the app ``tasks_celery.database`` is installed, Celery's where they are Redis. None where there is no
    place. Where the broker is in memory, or tasks are run eagerly, records are kept there too.
    """
    if options.results:
        return options.results
    if keeps_rows():
        return "database://"
    for setting in (app.conf.result_backend, app.conf.broker_write_url):
        url = first_url(setting)
        if url.partition("://")[0] in CELERY_SCHEMES:
            return url
    return "memory://" if app.conf.task_always_eager else None


def keeps_rows() -> bool:
    """Whether the project has installed the app that keeps records in its database.

    Read from the settings: tasks are defined, and their backend is asked, before the apps are ready.
    """
    name = "tasks_celery.database"
    return any(app == name or app.startswith(f"{name}.") for app in settings.INSTALLED_APPS)


def first_url(setting: Any) -> str:
    """Return the first of the URLs that a Celery setting may hold: a list of them, or several with ; between."""
    first = setting[0] if isinstance(setting, list | tuple) and setting else setting
    return first.partition(";")[0] if isinstance(first, str) else ""


def find_store(app: Celery, options: Options, *, owner: str = "") -> Store:
    """Return the store of records for these options; `Nowhere` where the project has no place for them.

    `owner` is for a thread that needs one apart, see `open_store`.
    """
    return remembered(app, ("store", options, owner), lambda: _open_store(app, options, owner))


def _open_store(app: Celery, options: Options, owner: str) -> Store:
    url = store_url(app, options)
    if url is None:
        return NOWHERE
    try:
        return open_store(url, key_prefix=options.key_prefix, timeout=options.timeout, owner=owner)
    except ValueError as error:
        raise OptionsError(f"The store of task results has a URL that cannot be read: {error}") from error


@dataclass(frozen=True, slots=True)
class Results:
    """Moves records through their states; each change happens at most once, whoever reports it.

    `ready` and `get` raise StoreError. What a worker reports never does: a store that stays away is logged and the task
    goes on, for a task that ran without a record is better than one that was dropped. `patient` is for a process that
    can wait for the store to come back: one that runs a task, and not the worker's main process.
    """

    app: Celery
    store: Store
    timeout: float = 5.0

    def ready(self, record: Record) -> str | None:
        """Keep the record of a task that is about to be sent; return who has its unique key, if another does."""
        return self.store.create(record, lifetime=self.lifetime(record))

    def undo(self, record: Record) -> None:
        """Forget the record of a task that could not be sent; one that a worker has claimed stays."""
        try:
            self.store.discard(record.id)
        except StoreError:
            logger.exception("Task id=%s was not sent, and its record could not be removed", record.id)

    def start(self, seed: Record, attempt: Attempt, *, patient: bool = False) -> Record | None:
        """Claim the task for an attempt: the record, now RUNNING; None for a duplicate."""
        lifetime = self.lifetime(seed)
        try:
            return _asked(lambda: self.store.claim(seed, attempt, lifetime=lifetime), PAUSES if patient else ())
        except StoreError:
            logger.exception("Task id=%s starts without its record", seed.id)
            return claimed(seed, attempt)

    def settle(self, record: Record, outcome: Outcome, *, patient: bool = False) -> Record | None:
        """Record how an attempt ended: the record as it now is; None where that was known already."""
        lifetime = self.lifetime(record)
        try:
            return _asked(lambda: self.store.settle(record, outcome, lifetime=lifetime), PAUSES if patient else ())
        except StoreError:
            logger.exception("Task id=%s ended %s, which could not be recorded", record.id, outcome.status)
            return settled(record, outcome)

    def get(self, result_id: str) -> Record | None:
        """Return what is known of an id: our record, else what Celery's result tells; None for nothing."""
        return self.store.get(result_id) or from_celery(self.app, result_id, timeout=self.timeout)

    def lifetime(self, record: Record) -> float | None:
        """Return how many seconds a record is kept: `result_expires` from its last change or its due time.

        A task that is held is nothing but its record, and is kept for longer: its broker may be away when it is due.
        """
        expires = remembered(self.app, "result_expires", lambda: self.app.conf.result_expires)
        seconds = expires.total_seconds() if isinstance(expires, timedelta) else expires
        due = moments.to_aware(record.run_after)
        wait = (due - datetime.now(UTC)).total_seconds() if due else 0
        if not seconds:
            return None
        return max(wait, 0) + (max(seconds, HELD_FOR) if record.held else seconds)


def _asked(ask: Callable[[], Record | None], pauses: Sequence[float]) -> Record | None:
    """Ask a store, again after each pause; a call that is repeated after a lost answer changes nothing more."""
    for pause in pauses:
        try:
            return ask()
        except StoreError as error:
            logger.warning("The store of task results is asked again in %g s: %s", pause, error)
            time.sleep(pause)
    return ask()


@dataclass(frozen=True, slots=True, kw_only=True)
class CeleryTaskResult(TaskResult):  # type: ignore[misc,type-arg]  # its stub does not know that it is frozen
    """Django's TaskResult, of a task that can be cancelled. Its arguments have to be JSON values already.

    `periodic_task_name` is the schedule that sent the task, None where it was enqueued otherwise.
    """

    periodic_task_name: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Leave the arguments as they are, which Django's own would normalise once more."""

    def cancel(self, *, terminate: bool = False) -> bool:
        """Cancel the task; see `CeleryBackend.cancel`. `refresh` tells what became of it."""
        return bool(_backend(self).cancel(self, terminate=terminate))

    async def acancel(self, *, terminate: bool = False) -> bool:
        """Cancel the task; see `CeleryBackend.cancel`."""
        return bool(await _backend(self).acancel(self, terminate=terminate))


def _backend(result: AnyResult) -> Any:
    return task_backends[result.backend]


def record_of(result: AnyResult, *, name: str, context: Mapping[str, str], expires: datetime | None = None) -> Record:
    """Return the record of a result that is about to be enqueued."""
    return Record(
        id=result.id,
        name=name,
        path=result.task.module_path,
        alias=result.backend,
        queue_name=result.task.queue_name,
        args=result.args,
        kwargs=result.kwargs,
        priority=result.task.priority,
        run_after=result.task.run_after,
        enqueued_at=result.enqueued_at,
        due=result.task.run_after or result.enqueued_at,
        expires=expires,
        context=context,
    )


def to_result(record: Record, task: AnyTask) -> AnyResult:
    """Return the TaskResult that a record stands for; its task is `task` as it was when enqueued."""
    result: AnyResult = CeleryTaskResult(
        task=as_enqueued(task, record),
        id=record.id,
        status=TaskResultStatus[record.status],
        enqueued_at=record.enqueued_at,
        started_at=record.started_at,
        last_attempted_at=record.last_attempted_at,
        finished_at=record.finished_at,
        args=record.args,
        kwargs=record.kwargs,
        backend=record.alias,
        errors=[TaskError(exception_class_path=e.exception_class_path, traceback=e.traceback) for e in record.errors],
        worker_ids=list(record.worker_ids),
        periodic_task_name=schedule_in(record.sending),
    )
    object.__setattr__(result, "_return_value", record.return_value)
    return result


def as_enqueued(task: AnyTask, record: Record) -> AnyTask:
    """Return `task` with the alias, queue, priority and time it was enqueued with.

    Not by `using`, which validates against today's settings: a result stays readable after its queue
    has been taken out of QUEUES.
    """
    changes = {
        "backend": record.alias,
        "queue_name": record.queue_name,
        "priority": record.priority,
        "run_after": record.run_after,
    }
    copy = object.__new__(type(task))
    for each in fields(task):
        object.__setattr__(copy, each.name, changes.get(each.name, getattr(task, each.name)))
    return copy


def error_of(exception: BaseException) -> Error:
    """Return what is kept of an exception: where its class lives, and its traceback."""
    kind = type(exception)
    return Error(
        exception_class_path=f"{kind.__module__}.{kind.__qualname__}",
        traceback="".join(format_exception(exception)),
    )
