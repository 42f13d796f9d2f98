"""Worker's main process. Celery's request for one message: what it knows of an ending, and what nothing else tells.

A message that goes back to its queue while its worker lives makes its task READY first. The broker delivers it again,
and to the record a delivery of what still runs is a duplicate.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

from billiard.einfo import ExceptionWithTraceback  # type: ignore[attr-defined]  # its stub leaves it out
from billiard.exceptions import TimeLimitExceeded
from celery.app.task import Context as CeleryRequest
from celery.exceptions import Reject
from celery.worker.request import Request as BaseRequest
from django.db import connections
from django.utils import timezone

from tasks_celery.exceptions import TaskInterrupted
from tasks_celery.results import error_of
from tasks_celery.stores import Outcome, Record, Status
from tasks_celery.twin import Twin, TwinBackend, backend_of
from tasks_celery.worker import announce_finished, seed_of

logger = logging.getLogger("tasks_celery")

#: The request that the main process is ending, for the signal receivers below: the signal has only its id.
_ending: ContextVar[Any] = ContextVar("tasks_celery.request.ending", default=None)


class Request(BaseRequest):
    """Celery's request, which also reports what no hook of Celery sees, and says which message a failure is about."""

    _failure: Any = None
    _given_back = False
    _cancelling = False
    if TYPE_CHECKING:  # the stub leaves out
        _context: CeleryRequest
        _already_cancelled: bool

    def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
        self._failure = exc_info
        with _ends(self):
            return super().on_failure(exc_info, *args, **kwargs)

    def on_timeout(self, soft: bool, timeout: float) -> Any:
        if not soft and _comes_back_on_timeout(self.task):
            self._give_back(TimeLimitExceeded(timeout))
        with _ends(self):
            return super().on_timeout(soft, timeout)

    def reject(self, requeue: bool = False) -> None:
        error = getattr(self._failure, "exception", None)
        if isinstance(error, ExceptionWithTraceback):  # what a child wraps around it
            error = error.exc
        # After a Reject of its own the child has said how it goes on.
        if requeue and not self.acknowledged and not isinstance(error, Reject):
            self._give_back(error, getattr(self._failure, "traceback", None))
        super().reject(requeue)

    def acknowledge(self) -> None:
        # A green pool takes a greenlet that was killed for one that returned (celery/concurrency/gevent.py).
        if not (self._cancelling and self.task.acks_late):
            super().acknowledge()

    def cancel(self, pool: Any, *args: Any, **kwargs: Any) -> None:
        """End the task in a cold shutdown, or as the broker is lost, where the pool can."""
        if pool.is_green:
            # Signal handlers run in the hub there, where nothing can wait: neither Celery's result backend nor ours.
            pool.spawn_n(self._cancel, pool, *args, **kwargs)
        else:
            self._cancel(pool, *args, **kwargs)

    def _cancel(self, *args: Any, **kwargs: Any) -> None:
        self._cancelling = True
        try:
            super().cancel(*args, **kwargs)
        except NotImplementedError:
            self._cancelling = False
            # Raised on it would end the shutdown half way, or, on the solo pool, the task with an error not its own.
            logger.warning("Task id=%s runs on: its pool cannot end it, and the worker waits", self.id)
        if self._already_cancelled:
            ended = TaskInterrupted("The worker was shut down, or lost its broker, while the task ran.")
            if self.task.acks_late:
                self._give_back(ended)
            else:
                report(cast("Twin", self.task), self._context, "FAILED", ended)

    def _retry_worker_lost(self, exc: BaseException, exc_info: Any) -> bool:  # called from Celery 5.7 on
        self._give_back(exc, exc_info.traceback)
        self._given_back = bool(super()._retry_worker_lost(exc, exc_info))  # type: ignore[misc]
        return self._given_back

    @property
    def given_back(self) -> bool:
        """Whether this message, or a new one, will run the task again."""
        return self._given_back

    def _give_back(self, error: BaseException | None, traceback: str | None = None) -> None:
        """Record, once, that the task is about to be run again."""
        if not self._given_back:
            self._given_back = True
            report(cast("Twin", self.task), self._context, "READY", error, traceback)


def _comes_back_on_timeout(task: Any) -> bool:
    # Celery 5.7 has a setting for a time limit alone; before, it shares one with failures.
    acks = getattr(task, "acks_on_timeout", None)
    return bool(task.acks_late) and not (task.acks_on_failure_or_timeout if acks is None else acks)


@contextmanager
def _ends(request: Request) -> Iterator[None]:
    token = _ending.set(request)
    try:
        yield
    finally:
        _ending.reset(token)


def ending(task_id: str) -> Request | None:
    """Return the request that the main process is just ending, if it is the one of that id."""
    request: Request | None = _ending.get()
    return request if request is not None and request.id == task_id else None


def report(
    twin: Twin, request: CeleryRequest, status: Status, error: BaseException | None, traceback: str | None = None
) -> None:
    """Record an ending that was seen from outside the function, and announce it."""
    backend = backend_of(twin.django_task, request.headers)
    seed = seed_of(twin, request)
    settle_outside(backend, seed, status, error, traceback, worker_id=request.hostname, retries=request.retries or 0)


def settle_outside(
    backend: TwinBackend,
    seed: Record,
    status: Status,
    error: BaseException | None,
    traceback: str | None = None,
    *,
    worker_id: str | None = None,
    retries: int = 0,
) -> None:
    """Record how a task ended, or goes on, where no attempt of this process says it; announce it if it ended."""
    kept = error_of(error) if error is not None else None
    outcome = Outcome(
        status=status,
        at=timezone.now(),
        token=uuid4().hex,
        worker_id=worker_id,
        retries=retries,
        error=replace(kept, traceback=traceback) if kept is not None and traceback else kept,
    )
    settled = backend.results.settle(seed, outcome)
    if settled is not None and settled.status == "FAILED":
        announce_finished(backend, settled)
    _hang_up()


def _hang_up() -> None:
    """Close the database connections that the store and receivers have opened: the next child would be forked with them."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()
