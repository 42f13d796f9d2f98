"""Both. Every way in which a task ends, and how that should look, by pool. Data alone.

What a pool cannot have is no gap: `instead` says why, and the rest what happens there in its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

POOLS = ("prefork", "threads", "solo", "gevent")
BROKERS = ("Redis", "RabbitMQ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is seen of a task once it has ended; `errors` are the class paths, one per failed attempt.

    `other` is what may be seen as well, where it depends on which of two is faster.
    """

    status: str
    attempts: int = 1
    errors: tuple[str, ...] = ()
    instead: str = ""
    other: Seen | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """One way to end: on each pool, and in which group of endings the documentation has it.

    `needs` is the first Celery that has it.
    """

    group: str
    seen: Mapping[str, Seen]
    needs: tuple[int, int] = (5, 5)


TASKS = "integration.endings.tasks"
LOST = "billiard.exceptions.WorkerLostError"
TIMED_OUT = "billiard.exceptions.TimeLimitExceeded"
INTERRUPTED = "tasks_celery.exceptions.TaskInterrupted"
REVOKED = "celery.exceptions.TaskRevokedError"

NO_CHILD = "there is no child process: who kills the task kills the worker"
NO_SOFT_LIMIT = "there is no soft time limit: the task runs on"
NO_LIMIT = "there is no time limit: the task runs on"
NO_TERMINATE = "a running task cannot be ended: it runs on"
NO_COLD = "a running task cannot be ended: the worker waits for it"


GOOD = Seen(status="SUCCESSFUL")


def good(*errors: str, attempts: int = 1) -> Seen:
    return Seen(status="SUCCESSFUL", attempts=attempts, errors=errors)


def failed(*errors: str, attempts: int = 1) -> Seen:
    return Seen(status="FAILED", attempts=attempts, errors=errors)


def instead(reason: str, seen: Seen = GOOD) -> Seen:
    return replace(seen, instead=reason)


def or_else(seen: Seen, other: Seen) -> Seen:
    return replace(seen, other=other)


def everywhere(group: str, seen: Seen, *, needs: tuple[int, int] = (5, 5), **but: Seen) -> Ending:
    return Ending(group=group, seen={pool: but.get(pool, seen) for pool in POOLS}, needs=needs)


def in_prefork(group: str, seen: Seen, *, needs: tuple[int, int] = (5, 5)) -> Ending:
    return everywhere(group, instead(NO_CHILD), prefork=seen, needs=needs)


CODE, CELERY, TIME, LOSS, STOP, CALL, GONE = (
    "What the function does",
    "What it asks of Celery",
    "Time and revocation",
    "A process is killed",
    "The worker is stopped",
    "Messages that cannot be run",
    "Messages that reach no worker",
)

# On gevent signal handlers run in the hub, where nothing can wait. Celery's cold shutdown does, for the broker: it gets
# as far as ending the tasks, or breaks off and leaves them to the sweeper.
ENDINGS: dict[str, Ending] = {
    "success": everywhere(CODE, GOOD),
    "success of an async task": everywhere(CODE, GOOD),
    "success, deferred by run_after": everywhere(CODE, GOOD),
    "success, called by .delay()": everywhere(CODE, GOOD),
    "success, sent by name": everywhere(CODE, GOOD),
    "success, though a receiver of task_finished raises": everywhere(CODE, GOOD),
    "exception": everywhere(CODE, failed("builtins.ValueError")),
    "exception that cannot be made again": everywhere(CODE, failed(f"{TASKS}.Strange")),
    "exception that cannot be pickled": everywhere(CODE, failed(f"{TASKS}.Unpicklable")),
    "wrong arguments": everywhere(CODE, failed("builtins.TypeError")),
    "return value that is no JSON": everywhere(CODE, failed("builtins.TypeError")),
    "SystemExit": everywhere(CODE, failed("builtins.SystemExit")),
    "KeyboardInterrupt": everywhere(CODE, failed("builtins.KeyboardInterrupt")),
    "GeneratorExit": everywhere(CODE, failed("builtins.GeneratorExit")),
    "BaseException of the project": everywhere(CODE, failed(f"{TASKS}.Odd")),
    "MemoryError": everywhere(CODE, failed("builtins.MemoryError")),
    "Retry, twice": everywhere(CELERY, good("builtins.KeyError", "builtins.KeyError", attempts=3)),
    "retries exhausted": everywhere(CELERY, failed(*["builtins.KeyError"] * 4, attempts=4)),
    "Reject": everywhere(CELERY, failed("celery.exceptions.Reject")),
    "Reject(requeue=True)": everywhere(CELERY, failed("celery.exceptions.Reject")),
    "Reject(requeue=True), acks_late": everywhere(CELERY, good(attempts=2)),
    "Ignore": everywhere(CELERY, failed("celery.exceptions.Ignore")),
    "Ignore, raised in before_start": everywhere(CELERY, failed("celery.exceptions.Ignore", attempts=0)),
    "soft time limit": everywhere(
        TIME, instead(NO_SOFT_LIMIT), prefork=failed("billiard.exceptions.SoftTimeLimitExceeded")
    ),
    "hard time limit": everywhere(TIME, instead(NO_LIMIT), prefork=failed(TIMED_OUT), gevent=failed(TIMED_OUT)),
    "hard time limit, acks_late, acks_on_timeout=False": everywhere(
        TIME, instead(NO_LIMIT), prefork=good(TIMED_OUT, attempts=2), gevent=good(TIMED_OUT, attempts=2)
    ),
    "expired before it started": everywhere(TIME, failed(REVOKED, attempts=0)),
    "revoked before it started": everywhere(TIME, failed(REVOKED, attempts=0)),
    "revoked with terminate while it ran": everywhere(
        TIME, instead(NO_TERMINATE), prefork=failed(REVOKED), gevent=failed(REVOKED)
    ),
    "child killed (SIGKILL)": in_prefork(LOSS, failed(LOST)),
    "child killed by another process, as for want of memory": in_prefork(LOSS, failed(LOST)),
    "child killed, acks_late": in_prefork(LOSS, failed(LOST)),
    "child killed, acks_late and reject_on_worker_lost": in_prefork(LOSS, good(LOST, attempts=2)),
    "child killed, retry_on_worker_lost": in_prefork(LOSS, good(LOST, attempts=2), needs=(5, 7)),
    # A broker that did not get to read the acknowledgement delivers the message again.
    "worker killed with all its processes": everywhere(LOSS, or_else(failed(LOST), good(LOST, attempts=2))),
    "worker killed with all its processes, acks_late": everywhere(LOSS, good(LOST, attempts=2)),
    "warm shutdown (SIGTERM)": everywhere(STOP, GOOD),
    "cold shutdown (SIGQUIT)": everywhere(
        STOP, instead(NO_COLD), prefork=failed(INTERRUPTED), gevent=or_else(failed(INTERRUPTED), failed(LOST))
    ),
    "cold shutdown (SIGQUIT), acks_late": everywhere(
        STOP,
        instead(NO_COLD),
        prefork=good(INTERRUPTED, attempts=2),
        gevent=or_else(good(INTERRUPTED, attempts=2), good(LOST, attempts=2)),
    ),
    "name that the worker does not know": everywhere(CALL, failed("celery.exceptions.NotRegistered", attempts=0)),
    "module that the worker cannot import": everywhere(CALL, failed("builtins.ImportError", attempts=0)),
    "lost by the broker": everywhere(GONE, GOOD),
    "damaged, so that no worker can read it": everywhere(GONE, GOOD),
    "expired in the broker, before a worker came": everywhere(GONE, failed(REVOKED, attempts=0)),
    "success, after all these": everywhere(CODE, GOOD),
}
