"""Worker's main process. What the function of a task cannot tell: its child was killed, its time was up, and the like.

No hook of Celery sees every ending. The twin's `__call__` records what the function does (`worker`); the receivers here
and the `Request` record the rest. Two may report the same ending: the first to settle the record counts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from celery import signals
from celery.app.task import Context as CeleryRequest
from celery.exceptions import NotRegistered, Reject, TaskRevokedError
from celery.states import IGNORED, REJECTED

from tasks_celery.compat import DEFAULT_TASK_QUEUE_NAME, task_backends
from tasks_celery.discovery import discover, why_missing
from tasks_celery.message import read_facts
from tasks_celery.request import Request as Request  # noqa: PLC0414  found here by the twin
from tasks_celery.request import ending, report, settle_outside
from tasks_celery.task import AS_ROUTED
from tasks_celery.twin import Twin, TwinBackend, backend_of, registered
from tasks_celery.values import jsonable
from tasks_celery.worker import Duplicate, finished, seed_from

logger = logging.getLogger("tasks_celery")


def connect() -> None:
    """Connect to Celery's signals; connecting again changes nothing."""
    receivers: dict[Any, Callable[..., None]] = {
        signals.worker_init: _on_worker_init,
        signals.task_postrun: _on_postrun,
        signals.task_failure: _on_failure,
        signals.task_revoked: _on_revoked,
        signals.task_unknown: _on_unknown,
        signals.task_rejected: _on_rejected,
    }
    for signal, receiver in receivers.items():
        signal.connect(receiver, weak=False, dispatch_uid=f"tasks_celery.parent.{receiver.__name__}")


def _on_postrun(sender: Any, state: str | None = None, retval: Any = None, **kwargs: Any) -> None:
    # After Ignore and Reject, or where it could not store its own result, Celery calls neither on_success nor on_failure.
    if not isinstance(sender, Twin):
        return
    if sender.current_run is None and state in (IGNORED, REJECTED) and not isinstance(retval, Duplicate):
        # Raised before the function was called, by a before_start of the project's.
        again = bool(getattr(retval, "requeue", False)) and bool(sender.acks_late)
        report(sender, sender.request, "READY" if again else "FAILED", None if again else retval)
    finished(backend_of(sender.django_task, sender.request.headers), sender)


def _on_failure(sender: Any, task_id: str, exception: BaseException, einfo: Any = None, **kwargs: Any) -> None:
    if not isinstance(sender, Twin) or ((run := sender.current_run) and run.settled):
        return
    ours = ending(task_id)  # the signal has only its id
    if ours is None or not ours.given_back:
        request = ours._context if ours is not None else sender.request
        report(sender, request, "FAILED", exception, getattr(einfo, "traceback", None))


def _on_revoked(sender: Any, request: CeleryRequest, terminated: bool, expired: bool, **kwargs: Any) -> None:
    if isinstance(sender, Twin):
        reason = "expired before it started" if expired else "was terminated" if terminated else "was revoked"
        report(sender, request, "FAILED", TaskRevokedError(f"The task {reason}."))


def _on_unknown(message: Any, name: str, id: str, exc: BaseException | None = None, **kwargs: Any) -> None:
    hint = f"The worker knows no task {name!r}. Is its module imported there? CELERY_IMPORTS can name it."
    path = str(read_facts(message.headers).get("path", name))
    _refused(message, why_missing(path) or NotRegistered(hint))


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
    settle_outside(backend, seed, "FAILED", error, retries=headers.get("retries") or 0)


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
    _consume(sender.app, {queue for backend in backends for queue in backend.queues or _named_queues(backend.alias)})


def _named_queues(alias: str) -> set[str]:
    """Return the queues that the tasks of an alias name, for one whose empty QUEUES lets any name go."""
    named = {task.queue_name for task in registered().values() if task.backend == alias}
    return named - {AS_ROUTED} | {DEFAULT_TASK_QUEUE_NAME}


def _consume(app: Any, wanted: set[str]) -> None:
    """Add the queues in QUEUES to what a worker without -Q and -X consumes: nobody else would."""
    queues = app.amqp.queues
    if queues._consume_from is None:
        queues.select([*queues.consume_from, *sorted(wanted - set(queues.consume_from))])
