"""Worker process. What a twin does there: an attempt starts, the function is called, the outcome is recorded.

What the function cannot tell (its child was killed, say), `parent` reports.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from numbers import Real
from traceback import format_exception_only
from typing import Any
from uuid import uuid4

from celery.app.task import Context as CeleryRequest
from celery.exceptions import Ignore, Reject, Retry
from django.utils import timezone

from tasks_celery.adopt import kept_call, or_untold
from tasks_celery.compat import AnyResult, task_finished, task_started
from tasks_celery.context import Context, announce, restored
from tasks_celery.exceptions import TaskInterrupted
from tasks_celery.leases import current_lease
from tasks_celery.message import kept_of_request, read_facts
from tasks_celery.moments import from_celery, from_text
from tasks_celery.results import Results, error_of, to_result
from tasks_celery.stores import Attempt, Outcome, Record, Status
from tasks_celery.twin import Run, Twin, TwinBackend, task_at
from tasks_celery.values import jsonable

logger = logging.getLogger("tasks_celery")


class Duplicate(Ignore):
    """This delivery is a duplicate: the task runs elsewhere or has ended."""


def run(backend: TwinBackend, twin: Twin, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Run one attempt of a task and return what Celery is to keep of what it returned.

    What the function raises is raised again after it was recorded, for Celery to act on. A duplicate of a
    task that runs or has ended is ignored (Duplicate, which Celery takes for its Ignore).
    """
    results = backend.results  # once: what is looked up in Celery's configuration takes its time
    record = _start(results, twin)
    if record is None:
        raise Duplicate(Duplicate.__doc__)
    with restored(Context.from_dict(record.context)):
        run = twin.current_run = Run(result=to_result(record, twin.django_task), store=results.store, record=record)
        announce(task_started, type(backend), run.result)
        return _call(results, twin, record, args, kwargs)


def _start(results: Results, twin: Twin) -> Record | None:
    request = twin.request
    attempt = Attempt(
        token=uuid4().hex,
        worker_id=str(request.hostname),
        at=timezone.now(),
        retries=request.retries or 0,
        redelivered=bool((request.delivery_info or {}).get("redelivered")),
        lease=current_lease(),
    )
    return results.start(seed_of(twin, request), attempt, patient=not request.is_eager)


def _call(results: Results, twin: Twin, record: Record, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    token = uuid4().hex
    try:
        value, kept = twin.perform(args, kwargs)
    except BaseException as error:
        outcome = judge(error, record, token=token, requeued=bool(twin.acks_late))
        if outcome is not None:
            _settle(results, twin, record, outcome, announced=not _is_ctrl_c(error, twin.request))
        raised = _as_worker_survives(error, twin.request)
        if raised is error:
            raise
        raise raised from error
    _settle(
        results,
        twin,
        record,
        Outcome(status="SUCCESSFUL", at=timezone.now(), token=token, attempt=record.attempt, return_value=kept),
    )
    return value


def judge(error: BaseException, record: Record, *, token: str, requeued: bool) -> Outcome | None:
    """Return how an attempt ended that raised `error`; None where the worker's main process will say.

    `requeued` is whether a rejected message goes back to its queue, which it does only if it is
    acknowledged late.
    """
    status: Status = "FAILED"
    cause, due = error, None
    if isinstance(error, Retry):
        status, cause = "READY", error.exc if isinstance(error.exc, BaseException) else error
        due = _due(error)
    elif _runs_again(error, requeued=requeued):
        return Outcome(status="READY", at=timezone.now(), token=token, attempt=record.attempt)
    elif not isinstance(error, Exception) and _is_passed_on(error):
        return None
    return Outcome(
        status=status,
        at=timezone.now(),
        token=token,
        attempt=record.attempt,
        error=error_of(cause),
        due=due,
        retry=isinstance(error, Retry),
    )


def _due(retry: Retry) -> datetime | None:
    """Return when a retry is to run: `when` is its countdown in seconds, or its eta."""
    if isinstance(retry.when, Real):
        return timezone.now() + timedelta(seconds=float(retry.when))
    return from_celery(retry.when)


def _runs_again(error: BaseException, *, requeued: bool) -> bool:
    """Whether the same id will run again though this attempt did not fail."""
    rejected = isinstance(error, Reject) and bool(getattr(error, "requeue", False)) and requeued
    return rejected or (isinstance(error, Ignore) and "Replaced by new task" in str(error))


def _is_passed_on(error: BaseException) -> bool:
    """Whether an exception comes from above and is meant for above, rather than from the task's own code.

    The end of a greenlet; SystemExit from the signal that ends a prefork child (a time limit or a revoke). The worker's
    main process reports these.
    """
    from_green = type(error).__module__.partition(".")[0] in ("gevent", "greenlet", "eventlet")
    return from_green or _raised_in(error).partition(".")[0] == "billiard"


def _raised_in(error: BaseException) -> str:
    """Return the name of the module that raised an exception; for one from a signal, the handler's."""
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    return str(step.tb_frame.f_globals.get("__name__")) if step is not None else ""


def _as_worker_survives(error: BaseException, request: CeleryRequest) -> BaseException:
    """Return what to raise for `error`: itself, unless the worker, or the child, would end with it.

    A MemoryError ends the main process of any pool (celery/worker/request.py, on_failure). Ctrl-C in eager mode is the
    user's, and passes.
    """
    ends_worker = not isinstance(error, Exception) and not _is_passed_on(error) and not _is_ctrl_c(error, request)
    if ends_worker or isinstance(error, MemoryError):
        # Not by str(error), which is the task's code and may raise in its turn.
        return TaskInterrupted(f"The task raised {format_exception_only(error)[-1].strip()}")
    return error


def _is_ctrl_c(error: BaseException, request: CeleryRequest) -> bool:
    """Whether the user interrupts the process that runs a task eagerly: nothing the task did, and nothing to announce."""
    return bool(request.is_eager) and isinstance(error, KeyboardInterrupt)


def _settle(results: Results, twin: Twin, record: Record, outcome: Outcome, *, announced: bool = True) -> None:
    # Eagerly it is a request that would wait.
    settled = results.settle(record, outcome, patient=not twin.request.is_eager)
    if run := twin.current_run:
        run.settled = True
        # Announced by `finished`, once Celery has stored its own result.
        run.finished = settled if announced and settled is not None and settled.status != "READY" else None


def finished(backend: TwinBackend, twin: Twin) -> None:
    """Announce the end of the task that `twin` runs, if it is for this process to say."""
    run = twin.current_run
    if run is not None and run.finished is not None:
        record, run.finished = run.finished, None
        announce_finished(backend, record, run.result)


def announce_finished(backend: TwinBackend, record: Record, result: AnyResult | None = None) -> None:
    """Send `task_finished` in the context that the task was enqueued in."""
    told = to_result(record, result.task if result else task_at(record.name, record.path, importing=False))
    with restored(Context.from_dict(record.context)):
        announce(task_finished, type(backend), told)


def seed_of(twin: Twin, request: CeleryRequest) -> Record:
    """Return the record that a request stands for where none is stored: sent elsewhere, or lost since."""
    seed = seed_from(
        request.headers,
        result_id=str(request.id),
        name=str(twin.name),
        routing_key=(request.delivery_info or {}).get("routing_key"),
    )
    given, named, sending = _kept_of_call(twin, request)
    return replace(
        seed,
        args=given,
        kwargs=named,
        path=twin.django_task.module_path,
        alias=seed.alias or twin.django_task.backend,
        sending=sending,
    )


def _kept_of_call(twin: Twin, request: CeleryRequest) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    args, kwargs = list(request.args or []), dict(request.kwargs or {})
    if twin.is_adopted:
        given, named, is_plain = kept_call(args, kwargs)
        return given, named, or_untold(lambda: kept_of_request(request, is_plain=is_plain))
    given, named = jsonable(args), jsonable(kwargs)
    return given, named, kept_of_request(request, is_plain=given == args and named == kwargs)


def seed_from(headers: Mapping[str, Any] | None, *, result_id: str, name: str, routing_key: str | None) -> Record:
    """Return what the headers of a message tell of its record: all but the arguments."""
    facts = read_facts(headers)
    return Record(
        id=result_id,
        name=name,
        path=facts.get("path") or name,
        alias=facts.get("alias") or "",
        queue_name=facts.get("queue") or routing_key or "",
        args=[],
        kwargs={},
        priority=int(facts.get("priority") or 0),
        run_after=from_text(facts.get("run_after")),
        enqueued_at=from_text(facts.get("enqueued_at")),
        context=Context.from_dict(facts.get("context")).as_dict(),
    )
