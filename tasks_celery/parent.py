"""Worker's main process. What the function of a task cannot tell: its child was killed, its time was up, and the like.

No hook of Celery sees every ending. The twin's `__call__` records what the function does (`worker`); the receivers here
record the rest. Both may report the same ending: the first to settle the record counts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, cast
from uuid import uuid4

from celery import signals
from celery.app.task import Context as CeleryRequest
from celery.exceptions import NotRegistered, Reject, TaskRevokedError
from celery.worker.request import Request as BaseRequest
from django.db import connections
from django.utils import timezone

from tasks_celery.compat import task_backends
from tasks_celery.discovery import discover
from tasks_celery.exceptions import TaskInterrupted
from tasks_celery.message import read_facts
from tasks_celery.results import error_of, jsonable
from tasks_celery.stores import Outcome, Record, Status
from tasks_celery.twin import Twin, TwinBackend, backend_of
from tasks_celery.worker import announce_finished, finished, seed_from, seed_of

logger = logging.getLogger("tasks_celery")


#: The request that the main process is ending, for the signal receivers below: the signal has only its id.
_ending: ContextVar[Any] = ContextVar("tasks_celery.parent.ending", default=None)


class Request(BaseRequest):
    """Celery's request, which also says which message a failure in the main process is about."""

    def on_failure(self, *args: Any, **kwargs: Any) -> Any:
        with _ends(self):
            return super().on_failure(*args, **kwargs)

    def on_timeout(self, *args: Any, **kwargs: Any) -> Any:
        with _ends(self):
            return super().on_timeout(*args, **kwargs)


@contextmanager
def _ends(request: BaseRequest) -> Iterator[None]:
    token = _ending.set(request)
    try:
        yield
    finally:
        _ending.reset(token)


def connect() -> None:
    """Connect to Celery's signals; connecting again changes nothing."""
    receivers: dict[Any, Callable[..., None]] = {
        signals.worker_init: _on_worker_init,
        signals.task_postrun: _on_postrun,
        signals.task_failure: _on_failure,
        signals.task_revoked: _on_revoked,
        signals.task_retry: _on_retry,
        signals.task_unknown: _on_unknown,
        signals.task_rejected: _on_rejected,
    }
    for signal, receiver in receivers.items():
        signal.connect(receiver, weak=False, dispatch_uid=f"tasks_celery.parent.{receiver.__name__}")


def _on_postrun(sender: Any, **kwargs: Any) -> None:
    # After Ignore and Reject, or where it could not store its own result, Celery calls neither on_success nor on_failure.
    if isinstance(sender, Twin):
        finished(backend_of(sender.django_task, sender.request.headers), sender)


def _on_failure(sender: Any, task_id: str, exception: BaseException, einfo: Any = None, **kwargs: Any) -> None:
    if not isinstance(sender, Twin) or ((run := sender.current_run) and run.settled):
        return
    ending = _ending.get()
    request: CeleryRequest = ending._context if ending is not None and ending.id == task_id else sender.request
    _report(sender, request, "FAILED", exception, getattr(einfo, "traceback", None))


def _on_revoked(sender: Any, request: CeleryRequest, terminated: bool, expired: bool, **kwargs: Any) -> None:
    if isinstance(sender, Twin):
        reason = "expired before it started" if expired else "was terminated" if terminated else "was revoked"
        _report(sender, request, "FAILED", TaskRevokedError(f"The task {reason}."))


def _on_retry(sender: Any, request: CeleryRequest, reason: Any = None, **kwargs: Any) -> None:
    # Without a reason it is a cold shutdown: the message is requeued only if it is acknowledged late.
    if isinstance(sender, Twin) and reason is None:
        lost = TaskInterrupted("The worker was shut down while the task ran.")
        _report(sender, request, "READY" if sender.acks_late else "FAILED", lost)


def _report(
    twin: Twin, request: CeleryRequest, status: Status, error: BaseException, traceback: str | None = None
) -> None:
    """Record an ending that was seen from outside the function, and announce it."""
    backend = backend_of(twin.django_task, request.headers)
    seed = seed_of(twin, request)
    _settle_outside(backend, seed, status, error, traceback, worker_id=request.hostname, retries=request.retries or 0)


def _settle_outside(
    backend: TwinBackend,
    seed: Record,
    status: Status,
    error: BaseException,
    traceback: str | None = None,
    *,
    worker_id: str | None = None,
    retries: int = 0,
) -> None:
    kept = error_of(error)
    outcome = Outcome(
        status=status,
        at=timezone.now(),
        token=uuid4().hex,
        worker_id=worker_id,
        retries=retries,
        error=replace(kept, traceback=traceback) if traceback else kept,
    )
    settled = backend.results.settle(seed, outcome)
    if settled is not None and settled.status == "FAILED":
        announce_finished(backend, settled)
        _hang_up()


def _hang_up() -> None:
    """Close the database connections that receivers have opened: the next child would be forked with them."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


def _on_unknown(message: Any, name: str, id: str, exc: BaseException | None = None, **kwargs: Any) -> None:
    hint = f"The worker knows no task {name!r}. Is its module imported there? CELERY_IMPORTS can name it."
    _refused(message, NotRegistered(hint))


def _on_rejected(message: Any, exc: BaseException | None = None, **kwargs: Any) -> None:
    _refused(message, exc or Reject("The worker could not read the message."))


def _refused(message: Any, error: BaseException) -> None:
    """Record that a message of ours cannot be run; the messages of others are theirs to watch."""
    headers = message.headers or {}
    alias = read_facts(headers).get("alias")
    if alias not in task_backends.settings or not hasattr(task_backends[alias], "results"):
        return
    backend = cast("TwinBackend", task_backends[alias])
    args, kwargs = _arguments(message)
    seed = seed_from(
        headers,
        result_id=str(headers.get("id")),
        name=str(headers.get("task")),
        routing_key=(message.delivery_info or {}).get("routing_key"),
    )
    seed = replace(seed, args=jsonable(args), kwargs=jsonable(kwargs))
    _settle_outside(backend, seed, "FAILED", error, retries=headers.get("retries") or 0)


def _arguments(message: Any) -> tuple[list[Any], dict[str, Any]]:
    try:
        args, kwargs, _ = message.payload
    except Exception:  # a body that cannot be read is what this message was refused for
        logger.debug("The arguments of a refused message cannot be read", exc_info=True)
        return [], {}
    return list(args), dict(kwargs)


def _on_worker_init(sender: Any, **kwargs: Any) -> None:
    """Make the worker know every Django Task of the project, and listen to the queues of its backends."""
    discover()
    backends = [backend for backend in task_backends.all() if hasattr(backend, "results")]
    _consume(sender.app, {queue for backend in backends for queue in backend.queues})


def _consume(app: Any, wanted: set[str]) -> None:
    """Add the queues in QUEUES to what a worker without -Q and -X consumes: nobody else would."""
    queues = app.amqp.queues
    if queues._consume_from is None:
        queues.select([*queues.consume_from, *sorted(wanted - set(queues.consume_from))])
