"""Both. The record of one task, and what every store of records does with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, Protocol

from tasks_celery.exceptions import StoreError
from tasks_celery.moments import to_aware

Status = Literal["READY", "RUNNING", "FAILED", "SUCCESSFUL"]

#: Until when the unique key of a task keeps others out: until it begins, until it has ended, or just for its time.
Until = Literal["start", "finish", "time"]

FINISHED: frozenset[Status] = frozenset({"FAILED", "SUCCESSFUL"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """One failed attempt: the exception's class path, its traceback as text, and the attempt's number."""

    exception_class_path: str
    traceback: str
    attempt: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """All that is known of one task.

    `name` is the Celery task's, `path` the function's. `retries` counts Celery's own retries of the
    message and tells a retry from a duplicate. Arguments and return value are JSON values; times are
    as the project has them (aware where USE_TZ is on).

    What the sweeper goes by: `expires` is when the task need not be run any more, `due` from when on a READY
    task should have reached a worker, `resent` how often its message was sent again. `lease` is the name of
    what the worker of the last attempt renews while it lives, empty where nobody does. `sending` holds what of
    Celery's options (links, a chord) a repeated message has to carry.

    `held` is whether its message is still to be sent: when it is due, or as the transaction commits that it was
    enqueued in; `due` is that moment, and no worker has seen the task before. `cancelled` is whether somebody asked
    it to end while it ran: it does not run again. `unique` is the key that keeps others of its kind out `unique_until`
    then, and not beyond `unique_expires`; empty for a task that others may stand beside.
    """

    id: str
    name: str
    path: str
    alias: str
    queue_name: str
    args: list[Any]
    kwargs: dict[str, Any]
    priority: int = 0
    run_after: datetime | None = None
    enqueued_at: datetime | None = None
    expires: datetime | None = None
    context: Mapping[str, str] = field(default_factory=dict)
    sending: Mapping[str, Any] = field(default_factory=dict)
    status: Status = "READY"
    retries: int = 0
    due: datetime | None = None
    held: bool = False
    resent: int = 0
    lease: str = ""
    cancelled: bool = False
    unique: str = ""
    unique_until: Until = "finish"
    unique_expires: datetime | None = None
    started_at: datetime | None = None
    last_attempted_at: datetime | None = None
    finished_at: datetime | None = None
    worker_ids: tuple[str, ...] = ()
    errors: tuple[Error, ...] = ()
    return_value: Any = None

    @property
    def attempt(self) -> int:
        """The number of the last attempt, 0 before the first."""
        return len(self.worker_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A wish to run a task once.

    `token` is unique to this delivery, so that a call repeated after a lost answer is known again.
    `redelivered` and `retries` are what the broker and Celery say of the message: a task that is RUNNING
    is claimed anew only by a later retry, or by a redelivery once the worker that runs it has let its lease
    lapse; anything else is a duplicate. `lease` is the claiming worker's.
    """

    token: str
    worker_id: str
    at: datetime
    retries: int = 0
    redelivered: bool = False
    lease: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an attempt ended: FAILED with an error, SUCCESSFUL with a value, or READY to be run again.

    The worker that ran the attempt gives its number. A report from outside (the worker's main process
    that saw a child die, a revoke) has none: it gives `worker_id` and `retries` instead and is taken
    only while they still fit. `due` is when a READY task is to be run again, `at` if it is not given; `retry`
    whether the message of that run will have one more of Celery's retries.
    """

    status: Status
    at: datetime
    token: str
    attempt: int | None = None
    worker_id: str | None = None
    retries: int = 0
    error: Error | None = None
    return_value: Any = None
    due: datetime | None = None
    retry: bool = False


def may_claim(record: Record, attempt: Attempt, *, leased: bool) -> bool:
    """Whether a delivery may run the task: not when it is finished or cancelled, nor a duplicate of one that runs.

    `leased` is whether the worker of the record's last attempt still renews its lease. A broker delivers again what
    a living worker has held for too long, or whose connection it has lost (visibility timeout, consumer timeout).
    """
    if record.cancelled:
        return False
    if record.status == "RUNNING":
        return (attempt.redelivered and not leased) or attempt.retries > record.retries
    return record.status == "READY"


#: What is said of an attempt whose message was delivered again: its worker is gone, and told nobody.
TAKEN_OVER = Error(
    exception_class_path="billiard.exceptions.WorkerLostError",
    traceback="billiard.exceptions.WorkerLostError: The worker that ran the task is gone: its message was delivered again.\n",
)

#: What is said of a cancelled task that would else have been run again.
CANCELLED = Error(
    exception_class_path="tasks_celery.exceptions.TaskCancelled",
    traceback="tasks_celery.exceptions.TaskCancelled: The task was cancelled while it ran, and is not run again.\n",
)


def claimed(record: Record, attempt: Attempt) -> Record:
    """Return the record as it stands once `attempt` has begun."""
    takes_over = record.status == "RUNNING" and attempt.retries <= record.retries
    return replace(
        with_error(record, TAKEN_OVER, record.attempt) if takes_over else record,
        status="RUNNING",
        held=False,
        retries=attempt.retries,
        lease=attempt.lease,
        started_at=record.started_at or attempt.at,
        last_attempted_at=attempt.at,
        worker_ids=(*record.worker_ids, attempt.worker_id),
    )


def counts(record: Record, outcome: Outcome) -> bool:
    """Whether an outcome is about the attempt that the record is at."""
    if outcome.attempt is not None:
        return record.status == "RUNNING" and outcome.attempt == record.attempt
    if outcome.retries < record.retries:
        return False
    return record.status == "READY" or outcome.worker_id in (None, record.worker_ids[-1])


def with_error(record: Record, error: Error, attempt: int) -> Record:
    """Return the record with the error of an attempt; what was known of that attempt stays."""
    if any(known.attempt == attempt for known in record.errors):
        return record
    errors = sorted((*record.errors, replace(error, attempt=attempt)), key=lambda known: known.attempt)
    return replace(record, errors=tuple(errors))


def settled(record: Record, outcome: Outcome) -> Record:
    """Return the record as it stands once `outcome` has been taken; what was cancelled ends, and is not run again."""
    if record.cancelled and outcome.status == "READY":
        outcome = replace(outcome, status="FAILED", error=CANCELLED)
    # What ended a task that waited, a revoke say, belongs to the attempt that did not come.
    number = record.attempt + 1 if record.status == "READY" else record.attempt
    return replace(
        with_error(record, outcome.error, number) if outcome.error else record,
        status=outcome.status,
        held=False,
        retries=record.retries + 1 if outcome.status == "READY" and outcome.retry else record.retries,
        finished_at=outcome.at if outcome.status in FINISHED else None,
        return_value=outcome.return_value,
        due=(outcome.due or outcome.at) if outcome.status == "READY" else record.due,
    )


def cancelled(record: Record, outcome: Outcome) -> Record | None:
    """Return the record of a task that is cancelled: settled by `outcome` while it waits, marked while it runs.

    None where it has ended.
    """
    if record.status == "RUNNING":
        return replace(record, cancelled=True)
    return settled(record, outcome) if record.status == "READY" else None


def sent(record: Record, at: datetime) -> Record | None:
    """Return the record of a held task whose message has been sent; None where it is not held any more."""
    return replace(record, held=False, due=at, enqueued_at=record.enqueued_at or at) if record.held else None


def keeps_out(record: Record, *, now: datetime) -> bool:
    """Whether the unique key of a task still keeps others out, for all that its record tells; `now` is aware."""
    expires = to_aware(record.unique_expires)
    if not record.unique or (expires is not None and expires <= now):
        return False
    if record.unique_until == "start":
        return record.status == "READY" and not record.attempt
    return record.unique_until == "time" or record.status not in FINISHED


def sent_again(record: Record, due: datetime) -> Record:
    """Return the record of a task whose message is sent once more, and should reach a worker by `due`."""
    return replace(record, due=due, held=False, resent=record.resent + 1)


class AnswerMissing(StoreError):
    """The store of task results did not answer: what was asked may have been done, or not."""


class Store(Protocol):
    """Where records rest. Each call is one atomic change or one read, and raises only StoreError.

    `lifetime` is how many seconds a record is kept from this change on, None for ever.
    """

    def create(self, record: Record, *, lifetime: float | None) -> str | None:
        """Keep a new record; one that is there already stays as it is.

        Return None, or the id of the task that has its unique key: then nothing is kept.
        """

    def create_many(self, records: Sequence[Record], *, lifetimes: Sequence[float | None]) -> list[str | None]:
        """Keep new records at once, each as `create` does, and return what it would of each.

        Where StoreError is raised, some may have been kept.
        """

    def discard(self, result_id: str) -> None:
        """Forget a record that no worker has claimed."""

    def claim(self, seed: Record, attempt: Attempt, *, lifetime: float | None) -> Record | None:
        """Begin an attempt and return the record, now RUNNING; None for a duplicate or a finished task.

        `seed` is kept first where there is no record yet.
        """

    def settle(self, seed: Record, outcome: Outcome, *, lifetime: float | None) -> Record | None:
        """End the attempt and return the record; None where this outcome comes too late to count.

        `seed` is kept first where the record has been lost since.
        """

    def get(self, result_id: str) -> Record | None:
        """Return the record, None where there is none."""

    def holder(self, unique: str) -> str | None:
        """Return the id of the task that has a unique key just now, None where it is free."""

    def cancel(self, result_id: str, outcome: Outcome) -> Record | None:
        """Settle a READY task by `outcome`, or mark a RUNNING one as cancelled; return the record as it then is.

        None where there is no record, or the task has ended.
        """

    def enqueued(self, result_ids: Sequence[str], *, at: datetime) -> list[str]:
        """Note that held tasks were enqueued `at`, now that the transaction has committed that kept them; they stay held.

        Return the ids of those of which this is news: each is announced by who is told so. A store that takes no part
        in transactions knows from the beginning when a task was enqueued, and has nothing to note.
        """

    # What the mover asks.

    def next_due(self) -> datetime | None:
        """Return when the first of the held tasks is due, None where no task is held."""

    def take_due(self, *, before: datetime, until: datetime, limit: int) -> list[Record]:
        """Return held tasks that are due by a moment, the longest waiting first, for the caller to send.

        Until the moment `until`, which is their new `due`, nobody else gets them: who is killed before it calls `sent`
        delays them, and no more.
        """

    def sent(self, result_ids: Sequence[str], *, at: datetime) -> None:
        """Note that the messages of held tasks have been sent: they are due, and were enqueued `at` where not before."""

    # What the sweeper asks.

    def hold(self, lease: str, holder: str, *, seconds: float) -> bool:
        """Take or renew a lease for so long; False where somebody else holds it."""

    def release(self, lease: str, holder: str) -> None:
        """Give a lease back; one that somebody else holds stays theirs."""

    def waiting(self, *, before: datetime) -> Mapping[str, int]:
        """Return how many READY tasks of each queue were due before a moment."""

    def overdue(self, queue_name: str, *, before: datetime, limit: int) -> list[Record]:
        """Return the READY tasks of a queue that were due before a moment, the longest waiting first."""

    def expired(self, *, before: datetime, limit: int) -> list[Record]:
        """Return the READY tasks that expired before a moment."""

    def abandoned(self, *, limit: int) -> list[Record]:
        """Return RUNNING tasks whose worker has let its lease lapse; not those that run under no lease."""

    def resend(self, record: Record, *, due: datetime, lifetime: float | None) -> bool:
        """Note that a READY task is being sent again; False where it has begun or was sent again since."""

    def tidy(self) -> None:
        """Remove what is left of records whose lifetime is over."""
