"""Beat process, and the web process for a run by hand. A tick becomes a task: ours through `publish`, Celery's own as Celery has it.

`send` says what became of a tick as a `Verdict`; it writes nothing but, for a tick whose message must not run any more, a
new id. A beat that sends a tick again looks first whether its task has begun.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from celery import Celery
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError
from kombu.exceptions import SerializationError
from kombu.utils.json import loads

from tasks_celery import context, publish
from tasks_celery.beat import ticks
from tasks_celery.beat.declare import refuse_wrong_call
from tasks_celery.beat.known import known_tasks
from tasks_celery.beat.models import ScheduleOptions, Tick
from tasks_celery.beat.options import schedule_settings
from tasks_celery.celery import find_app
from tasks_celery.celery_results import from_celery
from tasks_celery.compat import AnyTask, InvalidTask
from tasks_celery.exceptions import AlreadyEnqueued, EnqueueError, ScheduleError, StoreError, TasksCeleryError
from tasks_celery.moments import to_aware
from tasks_celery.publish import undo
from tasks_celery.publish.broker import RETRY_POLICY, sending
from tasks_celery.results import Results
from tasks_celery.stores import Record
from tasks_celery.twin import TwinBackend, backend_of, registered

Outcome = Literal["sent", "skipped", "refused", "later"]

#: Seconds that a broker, or a result backend, is given over what is no Django task of ours.
PATIENCE = 2.5

#: What says that a tick can never be sent as its row is; all else that is raised may pass.
_REFUSALS = (TypeError, ValueError, KeyError, InvalidTask, ImproperlyConfigured, SerializationError)

_FORBIDDEN = f"{EnqueueError.__module__}.{EnqueueError.__qualname__}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of a tick; "later" is to be tried again. `reason` is one line, `error` what was raised."""

    outcome: Outcome
    reason: str = ""
    result: Any = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a row says that its task is called with, and the headers of its message."""

    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, Any] = field(default_factory=dict)


def call_of(row: Any) -> Call:
    """Return what a row's task is called with. Raise ScheduleError for what cannot be read, naming the field."""
    return Call(
        args=_read(row, "args", list),
        kwargs=_read(row, "kwargs", dict),
        # A name of the row's own is that of no schedule.
        headers={**_read(row, "headers", dict), "periodic_task_name": row.name, "celery_beat_task": True},
    )


def _read(row: Any, name: str, kind: type) -> Any:
    text = getattr(row, name)
    if not text:
        return kind()
    try:
        value = loads(text)
    except Exception as error:  # what kombu makes of a marked value may raise what it likes
        raise ScheduleError(f"its {name} cannot be read as JSON ({error}): {text!r}") from error
    if not isinstance(value, kind):
        raise ScheduleError(f"its {name} have to be a JSON {'list' if kind is list else 'object'}: {text!r}.")
    return value


def send(tick: Tick, row: Any, app: Celery, *, again: bool = False) -> Verdict:
    """Send the task of a tick, unless its schedule has one that is active and waits for that; say what became of it.

    `again` is whether it may have been sent before. `app` is for a task that is not of an alias of ours. Raises what the
    database of the ticks raises, and nothing else.
    """
    try:
        return _send(tick, row, app, again=again)
    except DatabaseError:
        raise
    except Exception as error:  # noqa: BLE001  kombu, its transports and the project's routers raise what they like
        return Verdict(outcome=_outcome_of(error), reason=_line(error), error=error)


def _send(tick: Tick, row: Any, app: Celery, *, again: bool) -> Verdict:
    door = _door_of(row, app)
    if again and _has_begun(door, tick):
        return Verdict(outcome="sent", reason="It had been sent before.")
    active = _active(door, tick, row)
    if active is not None:
        return Verdict(outcome="skipped", reason=f"The last run, id={active}, has not finished.")
    return door.send(tick, row)


def _outcome_of(error: Exception) -> Outcome:
    if isinstance(error, AlreadyEnqueued):
        return "skipped"
    return "refused" if isinstance(error, _REFUSALS) else "later"


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())[:1_000]
    return text if isinstance(error, TasksCeleryError) else f"{type(error).__name__}: {text}"


def _has_begun(door: Djangos | Celerys, tick: Tick) -> bool:
    """Whether the task of a tick that may have been sent has begun, or will: then it needs no message."""
    record = door.look_up(tick.result_id)
    if record is None or (record.status == "READY" and not record.attempt):
        return False  # nobody has seen it: its message may not have left, and a second one is a duplicate
    return not (_is_forbidden(record) and ticks.rename(tick))


def _is_forbidden(record: Record) -> bool:
    """Whether a record is there to keep a message from being run that the broker may have taken without saying so."""
    errors = record.errors
    return (
        record.status == "FAILED"
        and not record.attempt
        and bool(errors)
        and (errors[-1].exception_class_path == _FORBIDDEN)
    )


def _active(door: Djangos | Celerys, tick: Tick, row: Any) -> str | None:
    """Return the id of a run before this tick that has not finished, where its schedule waits for that."""
    if tick.by_hand or not ticks.options_of(row).skip_while_active:
        return None
    for other in ticks.last_sent(tick):
        record = door.look_up(other.result_id)
        if record is not None and record.status in ("READY", "RUNNING"):
            return record.id
    return None


# --- the two ways out


def _door_of(row: Any, app: Celery) -> Djangos | Celerys:
    task = registered().get(row.task)
    return Celerys(app) if task is None else Djangos(task, backend_of(task))


@dataclass(frozen=True, slots=True)
class Djangos:
    """The way of a Django task: a record, and a message under the id of its tick, which runs once."""

    task: AnyTask
    backend: TwinBackend

    def look_up(self, result_id: str) -> Record | None:
        """Return what is known of an id, None for nothing. Raise StoreError."""
        results: Results = self.backend.results
        undo.settle_doubts(results.store)  # what is to be forbidden yet is not to be taken for sent
        return results.get(result_id)

    def send(self, tick: Tick, row: Any) -> Verdict:
        """Enqueue the task. Raise what `publish.enqueue` raises, ScheduleError for arguments that do not fit."""
        call, options = call_of(row), ticks.options_of(row)
        refuse_wrong_call(self.task, call.args, call.kwargs)
        asked = self.task.using(
            **_given(queue_name=row.queue or None, priority=options.priority, **self._expires_of(row))
        )
        more = _given(exchange=row.exchange or None, routing_key=row.routing_key or None, priority=row.priority)
        with _audience(options):
            result = publish.enqueue_as(
                self.backend,
                asked,
                call.args,
                call.kwargs,
                result_id=tick.result_id,
                sending={"headers": call.headers, **more},
            )
        if result.id != tick.result_id:
            return Verdict(
                outcome="skipped", reason=f"Its task is unique, and id={result.id} has its key.", result=result
            )
        return Verdict(outcome="sent", result=result)

    def _expires_of(self, row: Any) -> dict[str, Any]:
        # Of a task that takes Django's options alone there is nothing to ask.
        return {"expires": _expiry(row)} if hasattr(self.task, "asked") else {}


@dataclass(frozen=True, slots=True)
class Celerys:
    """The way of any other task, as django-celery-beat has it: one that is sent twice may run twice."""

    app: Celery

    def look_up(self, result_id: str) -> Record | None:
        """Return what Celery's result tells of an id, None for nothing. Raise StoreError."""
        return from_celery(self.app, result_id, timeout=PATIENCE)

    def send(self, tick: Tick, row: Any) -> Verdict:
        """Send the task, known here or not. Raise what Celery raises."""
        call, task = call_of(row), self.app.tasks.get(row.task)
        options = _given(
            queue=row.queue or None,
            exchange=row.exchange or None,
            routing_key=row.routing_key or None,
            priority=row.priority,
            expires=_expiry(row),
            headers=call.headers,
            task_id=tick.result_id,
            retry_policy=dict(RETRY_POLICY),
        )
        with sending(self.app, within=PATIENCE) as producer:
            if task is None:
                result = self.app.send_task(row.task, tuple(call.args), call.kwargs, producer=producer, **options)
            else:
                result = task.apply_async(tuple(call.args), call.kwargs, producer=producer, **options)
        return Verdict(outcome="sent", result=result)


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _expiry(row: Any) -> datetime | int | None:
    return to_aware(row.expires) or row.expire_seconds or None


def _audience(options: ScheduleOptions) -> AbstractContextManager[None]:
    """Have the user and the group that a schedule names stand for who asked; else who asks here, if anybody does."""
    user, group = options.notify_user_id, options.notify_group
    if user is None and group is None:
        return nullcontext()
    return context.restored(
        context.Context(user=None if user is None else str(user), group=None if group is None else group.name)
    )


# --- by hand


def run_now(row: Any) -> Any:
    """Send the task of a schedule now, whatever its times, and return its result; the schedule goes on as it would.

    Raise ScheduleError for what cannot be sent as the row is, EnqueueError or StoreError where broker or store are away:
    then nothing is sent later either.
    """
    app = find_app()
    known_tasks()
    tick = ticks.by_hand(row, until=datetime.now(UTC) + timedelta(seconds=schedule_settings().retake))
    verdict = send(tick, row, app)
    ticks.finish(tick, Tick.REFUSED if verdict.outcome == "later" else verdict.outcome, verdict.reason)
    if verdict.result is not None:
        return verdict.result
    if isinstance(verdict.error, EnqueueError | StoreError | ScheduleError):
        raise verdict.error
    kind = ScheduleError if verdict.outcome == "refused" else EnqueueError
    raise kind(f"The schedule {row.name!r} was not run: {verdict.reason}") from verdict.error
