"""Worker process. All that happens there: an attempt starts, the function is called, the outcome is recorded.

No hook of Celery sees every ending. The twin's `__call__` sees what the function does; what it cannot see
(a child that was killed, a time limit, a revoke, an unknown name) the worker's main process reports through
Celery's signals. Both may report the same ending: the first to settle the record counts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

from billiard.process import current_process
from celery import signals
from celery.app.task import Context as CeleryRequest
from celery.exceptions import Ignore, NotRegistered, Reject, Retry, TaskRevokedError
from celery.worker.request import Request as BaseRequest
from django.utils import timezone

from tasks_celery.compat import AnyResult, normalize_json, task_backends, task_finished, task_started
from tasks_celery.context import Context, announce, restored
from tasks_celery.discovery import discover
from tasks_celery.exceptions import TaskInterrupted
from tasks_celery.message import read_facts
from tasks_celery.moments import from_text
from tasks_celery.results import error_of, jsonable, to_result
from tasks_celery.stores import Attempt, Outcome, Record, Status
from tasks_celery.task import Run, Twin, backend_of, name_of, registered, task_at

if TYPE_CHECKING:
    from tasks_celery.backend import CeleryBackend

logger = logging.getLogger("tasks_celery")


# --- what the function does -----------------------------------------------------------------------------------


def run(backend: CeleryBackend, twin: Twin, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Run one attempt of a task and return what it returned, as JSON has it.

    What the function raises is raised again after it was recorded, for Celery to act on. A duplicate of a
    task that runs or has ended is ignored (celery.exceptions.Ignore).
    """
    record = _start(backend, twin)
    if record is None:
        raise Ignore("This delivery is a duplicate: the task runs elsewhere or has ended.")
    with restored(Context.from_dict(record.context)):
        run = twin.current_run = Run(result=to_result(record, twin.django_task))
        announce(task_started, type(backend), run.result)
        return _call(backend, twin, record, args, kwargs)


def _start(backend: CeleryBackend, twin: Twin) -> Record | None:
    request = twin.request
    attempt = Attempt(
        token=uuid4().hex,
        worker_id=str(request.hostname),
        at=timezone.now(),
        retries=request.retries or 0,
        redelivered=bool((request.delivery_info or {}).get("redelivered")),
    )
    return backend.results.start(seed_of(twin, request), attempt)


def _call(backend: CeleryBackend, twin: Twin, record: Record, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    token = uuid4().hex
    try:
        value = normalize_json(twin.run(*args, **kwargs))
    except BaseException as error:
        outcome = judge(error, record, token=token, requeued=bool(twin.acks_late), request=twin.request)
        if outcome is not None:
            _settle(backend, twin, record, outcome)
        if isinstance(error, Ignore | Reject):
            finished(backend, twin)  # Celery stores nothing of these and calls no hook
        raised = _as_worker_survives(error, twin.request)
        if raised is error:
            raise
        raise raised from error
    _settle(
        backend,
        twin,
        record,
        Outcome(status="SUCCESSFUL", at=timezone.now(), token=token, attempt=record.attempt, return_value=value),
    )
    return value


def judge(
    error: BaseException, record: Record, *, token: str, requeued: bool, request: CeleryRequest
) -> Outcome | None:
    """Return how an attempt ended that raised `error`; None where the worker's main process will say.

    `requeued` is whether a rejected message goes back to its queue, which it does only if it is
    acknowledged late.
    """
    status: Status = "FAILED"
    cause = error
    if isinstance(error, Retry):
        status, cause = "READY", error.exc if isinstance(error.exc, BaseException) else error
    elif _runs_again(error, requeued=requeued):
        return Outcome(status="READY", at=timezone.now(), token=token, attempt=record.attempt)
    elif not isinstance(error, Exception) and (_in_prefork_child() or _is_passed_on(error, request)):
        return None
    return Outcome(status=status, at=timezone.now(), token=token, attempt=record.attempt, error=error_of(cause))


def _runs_again(error: BaseException, *, requeued: bool) -> bool:
    """Whether the same id will run again though this attempt did not fail."""
    rejected = isinstance(error, Reject) and bool(getattr(error, "requeue", False)) and requeued
    return rejected or (isinstance(error, Ignore) and "Replaced by new task" in str(error))


def _in_prefork_child() -> bool:
    return current_process().name != "MainProcess"


def _is_passed_on(error: BaseException, request: CeleryRequest) -> bool:
    """Whether an exception is meant for somebody above: the end of a greenlet, or Ctrl-C in eager mode."""
    green = type(error).__module__.partition(".")[0] in ("gevent", "greenlet", "eventlet")
    return green or (bool(request.is_eager) and isinstance(error, KeyboardInterrupt))


def _as_worker_survives(error: BaseException, request: CeleryRequest) -> BaseException:
    """Return what to raise for `error`: itself, unless it would take a worker of threads or one process along.

    A MemoryError ends the main process of any pool (celery/worker/request.py, on_failure).
    """
    ends_worker = not isinstance(error, Exception) and not _in_prefork_child() and not _is_passed_on(error, request)
    if ends_worker or isinstance(error, MemoryError):
        return TaskInterrupted(f"The task raised {type(error).__name__}: {error}")
    return error


def _settle(backend: CeleryBackend, twin: Twin, record: Record, outcome: Outcome) -> None:
    settled = backend.results.settle(record, outcome)
    if run := twin.current_run:
        run.settled = True
        # Announced by `finished`, once Celery has stored its own result.
        run.finished = settled if settled is not None and settled.status != "READY" else None


def finished(backend: CeleryBackend, twin: Twin) -> None:
    """Announce the end of the task that `twin` runs, if it is for this process to say."""
    run = twin.current_run
    if run is not None and run.finished is not None:
        record, run.finished = run.finished, None
        announce_finished(backend, record, run.result)


def announce_finished(backend: CeleryBackend, record: Record, result: AnyResult | None = None) -> None:
    """Send `task_finished` in the context that the task was enqueued in."""
    told = to_result(record, result.task if result is not None else task_at(record.name, record.path))
    with restored(Context.from_dict(record.context)):
        announce(task_finished, type(backend), told)


# --- what the message says ------------------------------------------------------------------------------------


def seed_of(twin: Twin, request: CeleryRequest) -> Record:
    """Return the record that a message stands for where none is stored: sent elsewhere, or lost since."""
    return _seed(
        result_id=str(request.id),
        name=str(twin.name),
        path=twin.django_task.module_path,
        alias=twin.django_task.backend,
        args=list(request.args or []),
        kwargs=dict(request.kwargs or {}),
        headers=request.headers,
        routing_key=(request.delivery_info or {}).get("routing_key"),
    )


def _seed(
    *,
    result_id: str,
    name: str,
    path: str,
    alias: str,
    args: list[Any],
    kwargs: dict[str, Any],
    headers: Mapping[str, Any] | None,
    routing_key: str | None,
) -> Record:
    facts = read_facts(headers)
    return Record(
        id=result_id,
        name=name,
        path=facts.get("path") or path,
        alias=facts.get("alias") or alias,
        queue_name=facts.get("queue") or routing_key or "",
        args=jsonable(args),
        kwargs=jsonable(kwargs),
        priority=int(facts.get("priority") or 0),
        run_after=from_text(facts.get("run_after")),
        enqueued_at=from_text(facts.get("enqueued_at")),
        context=Context.from_dict(facts.get("context")).as_dict(),
    )


# --- what only the main process sees --------------------------------------------------------------------------

#: The request that the main process is ending, for the signal receivers below: the signal has only its id.
_ending: ContextVar[Any] = ContextVar("tasks_celery.worker.ending", default=None)


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
        signal.connect(receiver, weak=False, dispatch_uid=f"tasks_celery.worker.{receiver.__name__}")


def _on_postrun(sender: Any, **kwargs: Any) -> None:
    # Celery could not store its own result, and so called neither on_success nor on_failure.
    if isinstance(sender, Twin):
        finished(cast("CeleryBackend", backend_of(sender.django_task, sender.request.headers)), sender)


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
    backend = cast("CeleryBackend", backend_of(twin.django_task, request.headers))
    seed = seed_of(twin, request)
    _settle_outside(backend, seed, status, error, traceback, worker_id=request.hostname, retries=request.retries or 0)


def _settle_outside(
    backend: CeleryBackend,
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
    backend = cast("CeleryBackend", task_backends[alias])
    args, kwargs = _arguments(message)
    seed = _seed(
        result_id=str(headers.get("id")),
        name=str(headers.get("task")),
        path=str(headers.get("task")),
        alias=alias,
        args=args,
        kwargs=kwargs,
        headers=headers,
        routing_key=(message.delivery_info or {}).get("routing_key"),
    )
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
    logger.debug("Django tasks of this worker: %s", ", ".join(sorted(map(name_of, registered().values()))))


def _consume(app: Any, wanted: set[str]) -> None:
    """Add the queues in QUEUES to what a worker without -Q and -X consumes: nobody else would."""
    queues = app.amqp.queues
    if queues._consume_from is None:
        queues.select([*queues.consume_from, *sorted(wanted - set(queues.consume_from))])
