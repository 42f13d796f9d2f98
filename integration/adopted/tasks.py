"""Both. Celery tasks as a project of some years has them."""

from __future__ import annotations

import os
import signal
import time
from datetime import UTC, datetime
from typing import Any

import redis
from celery import Task, shared_task
from celery.exceptions import Ignore, Reject


def note(key: str, text: str) -> None:
    """Append a text to a list that the tests read."""
    with redis.Redis.from_url(os.environ["ELSEWHERE_REDIS"].replace("redis+socket:", "unix:")) as client:
        client.rpush(key, text)


class Noting(Task):
    """A base class as projects have them: hooks, and something added to each call."""

    def apply_async(self, args: Any = None, kwargs: Any = None, *more: Any, **options: Any) -> Any:
        return super().apply_async(args, {"by": "nobody", **(kwargs or {})}, *more, **options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        note("hooks", f"call {self.request.id}")
        return super().__call__(*args, **kwargs)

    def before_start(self, task_id: str, *args: Any) -> None:
        note("hooks", f"before_start {task_id}")

    def on_success(self, value: Any, task_id: str, *args: Any) -> None:
        note("hooks", f"on_success {task_id}")

    def on_failure(self, error: Any, task_id: str, *args: Any) -> None:
        note("hooks", f"on_failure {task_id}")

    def after_return(self, status: str, value: Any, task_id: str, *args: Any) -> None:
        note("hooks", f"after_return {task_id}")


@shared_task
def add(a: float, b: float = 0) -> float:
    return a + b


@shared_task
def plain_total(numbers: list[float]) -> float:
    """Return a sum; nobody adopts this one."""
    return sum(numbers)


@shared_task
def plain_add(a: float, b: float) -> float:
    """Return a sum; nobody adopts this one either."""
    return a + b


@shared_task
def total(numbers: list[float]) -> float:
    return sum(numbers)


@shared_task(base=Noting, bind=True, name="adopted.noted")
def noted(self: Any, a: int, by: str) -> list[Any]:
    return [a, by, self.name, self.request.id, self.request.retries, self.request.called_directly]


@shared_task(base=Noting)
def noted_failure(by: str) -> None:
    raise KeyError(by)


@shared_task(bind=True, max_retries=2)
def asks_again(self: Any, failures: int) -> int:
    if self.request.retries < failures:
        # Not at once: another thread would run it before Celery writes RETRY, which then stays its result.
        raise self.retry(countdown=0.5, exc=KeyError("again"))
    return int(self.request.retries)


@shared_task(autoretry_for=(KeyError,), max_retries=2, default_retry_delay=0.5, bind=True)
def is_tried_again(self: Any, failures: int) -> int:
    if self.request.retries < failures:
        raise KeyError("again")
    return int(self.request.retries)


@shared_task(throws=(KeyError,))
def breaks(how: str = "error") -> None:
    raise {"error": KeyError("no"), "ignore": Ignore(), "reject": Reject("no", requeue=False)}[how]


@shared_task(ignore_result=True)
def forgets() -> int:
    return 3


@shared_task
def gives_a_date() -> datetime:
    return datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


@shared_task(bind=True)
def tells_progress(self: Any) -> str:
    self.update_state(state="PROGRESS", meta={"done": 50})
    return str(self.AsyncResult(self.request.id).state)


@shared_task(bind=True)
def is_replaced(self: Any, name: str) -> None:
    raise self.replace(self.app.tasks[name].s(20, 2))


@shared_task
def sends_another() -> str:
    return str(add.delay(5, 6).id)


@shared_task
def is_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@shared_task(time_limit=1)
def takes_too_long() -> None:
    time.sleep(30)


class ByItsClass(Task):
    name = "adopted.by_its_class"

    def run(self, a: int) -> list[Any]:
        return [a, self.request.retries]
