"""Worker process. One call of a task's function: its context, its transaction, and whether a failure is tried again."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import isfinite
from typing import TYPE_CHECKING, Any, NoReturn, cast

from asgiref.sync import sync_to_async
from celery import Task as BaseCeleryTask
from celery.exceptions import Retry, TaskPredicate
from celery.utils.time import get_exponential_backoff_interval
from django.db import transaction

from tasks_celery import coroutines
from tasks_celery.compat import AnyTask, TaskContext
from tasks_celery.exceptions import StoreError
from tasks_celery.moments import to_aware
from tasks_celery.stores import Store
from tasks_celery.task_options import Backoff, Selection, TaskOptions

logger = logging.getLogger("tasks_celery")

if TYPE_CHECKING:
    _Context = TaskContext[..., Any]
    _CeleryTask = BaseCeleryTask[..., Any]
else:
    _Context, _CeleryTask = TaskContext, BaseCeleryTask


class RetryAsked(Retry):
    """The task asks to be run again. Its message is sent once the function, and its transaction, have ended."""

    def __init__(self, *, exc: BaseException | None, countdown: float | None, eta: datetime | None) -> None:
        super().__init__(exc=cast("Any", exc), when=cast("Any", eta or countdown))
        self.countdown, self.eta = countdown, eta


@dataclass(frozen=True, slots=True, kw_only=True)
class CeleryTaskContext(_Context):  # type: ignore[misc]  # its stub does not say that it is frozen
    """What a task with ``takes_context=True`` is given in a worker: Django's context, and what only Celery can do."""

    store: Store = field(repr=False, compare=False)
    #: How often the task asked to be run again before this attempt: Celery's ``request.retries``, which a redelivery leaves alone.
    retries: int = 0

    def retry(
        self,
        *,
        countdown: float | timedelta | None = None,
        eta: datetime | None = None,
        exc: BaseException | None = None,
    ) -> NoReturn:
        """End this attempt and have the task run again, `countdown` seconds from now or at `eta`.

        Without either, after its `default_retry_delay`. The attempt failed with `exc`, by default the exception that is being
        handled; where `max_retries` are used up, so has the task. Never returns: it raises what Celery retries by,
        and what the function catches of it does not happen. Raise TypeError or ValueError for a time that makes no sense.
        """
        if countdown is not None and eta is not None:
            raise ValueError("context.retry() takes a countdown or an eta, not both.")
        wait = countdown.total_seconds() if isinstance(countdown, timedelta) else countdown
        if wait is not None:
            _refuse_wait("context.retry(countdown=…)", wait)
        if not isinstance(eta, datetime | None):
            raise TypeError(f"context.retry(eta={eta!r}): it has to be a datetime.")
        raise RetryAsked(exc=exc or sys.exception(), countdown=wait, eta=to_aware(eta))

    def is_cancelled(self) -> bool:
        """Return whether somebody has cancelled the task since it began; each call is one read.

        False where the store does not answer, which is logged: a task is not to fail for having asked.
        """
        try:
            record = self.store.get(self.task_result.id)
        except StoreError as error:
            logger.warning("Task id=%s cannot learn whether it is cancelled: %s", self.task_result.id, error)
            return False
        return record is not None and record.cancelled

    async def ais_cancelled(self) -> bool:
        """Return what `is_cancelled` does, for a task that is a coroutine."""
        return await sync_to_async(self.is_cancelled, thread_sensitive=True)()


def run(twin: _CeleryTask, task: AnyTask, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Call the function of a task and return what it does; raise what it raises, or Retry for what is tried again.

    Retry is raised, and so the next message sent, when the transaction is over.
    """
    options = getattr(task, "options", None) or TaskOptions()
    try:
        with _transaction(options.atomic):
            return coroutines.call(task, *args, **kwargs)
    except RetryAsked as error:
        asked = error
    except TaskPredicate:  # Ignore, Reject: the task has said what is to become of it
        raise
    except BaseException as error:
        if options.retries_by_function:
            _retry_by_function(twin, options, error)
        raise
    # Out of the `except`: what is raised would have RetryAsked for its context.
    raise _as_asked(twin, asked)


def _transaction(atomic: bool | str) -> AbstractContextManager[Any]:
    return transaction.atomic(using=None if atomic is True else atomic) if atomic else nullcontext()


def _as_asked(twin: _CeleryTask, asked: RetryAsked) -> BaseException:
    """Send the message of the next attempt, and return what to raise for this one."""
    if _is_used_up(twin):
        # Celery would cut the exception off from its own cause (celery/utils/serialization.py, raise_with_context), and
        # tell the arguments in its own message.
        said = f"The task asked to be run again, and its {twin.max_retries} retries are used up."
        return asked.exc or twin.MaxRetriesExceededError(said)
    return twin.retry(exc=cast("Any", asked.exc), countdown=asked.countdown, eta=asked.eta, throw=False)


def _is_used_up(twin: _CeleryTask) -> bool:
    return twin.max_retries is not None and (twin.request.retries or 0) >= twin.max_retries


def _retry_by_function(twin: _CeleryTask, options: TaskOptions, error: BaseException) -> None:
    """Raise Retry if the options say so, as Celery's autoretry does where they name classes and numbers alone.

    See celery/app/autoretry.py. Called while `error` is being handled: Celery raises it again where the retries are used up.
    """
    if _is_meant(error, options.dont_autoretry_for) or not _is_meant(error, options.autoretry_for):
        return
    retries = twin.request.retries or 0
    if callable(options.retry_backoff):
        wait = _asked_backoff(options.retry_backoff, error, retries)
        if wait is None:
            return
    else:
        wait = _backoff(options, retries)
    twin.retry(exc=cast("Any", error), countdown=wait)


def _is_meant(error: BaseException, selection: Selection | None) -> bool:
    """Whether an exception is one that a selection names; its functions see none that is no Exception."""
    for each in selection or ():
        if isinstance(error, each) if isinstance(each, type) else isinstance(error, Exception) and each(error):
            return True
    return False


def _asked_backoff(backoff: Backoff, error: BaseException, retries: int) -> float | None:
    wait = backoff(error, retries)
    if wait is not None:
        _refuse_wait(f"What retry_backoff={backoff!r} returned", wait)
    return wait


def _backoff(options: TaskOptions, retries: int) -> float | None:
    """Return how long to wait for the next attempt; None for `default_retry_delay`."""
    if not options.retry_backoff:
        return None
    return get_exponential_backoff_interval(
        factor=int(max(1.0, cast("float", options.retry_backoff))),
        retries=retries,
        maximum=int(600 if options.retry_backoff_max is None else options.retry_backoff_max),
        full_jitter=options.retry_jitter is not False,
    )


def _refuse_wait(what: str, wait: object) -> None:
    wanted = f"{what} is {wait!r}; it has to be a number of seconds from 0 on."
    if isinstance(wait, bool) or not isinstance(wait, int | float):
        raise TypeError(wanted)
    if not (isfinite(wait) and wait >= 0):
        raise ValueError(wanted)
