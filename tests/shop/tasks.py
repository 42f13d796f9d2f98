"""Tasks of every kind, for the tests to run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from celery.exceptions import Ignore, Reject
from django.utils import translation

from tasks_celery import task
from tasks_celery.context import current
from tests.shop import gate


@task
def add(a: int, b: int = 0) -> int:
    return a + b


@task()
def echo(*args: Any, **kwargs: Any) -> list[Any]:
    return [list(args), kwargs]


@task
def fail(message: str = "no paper") -> None:
    raise ValueError(message)


@task
def leave(code: int = 3) -> None:
    raise SystemExit(code)


@task
def give_lambda() -> Any:
    return lambda: None


@task
def give_tuple() -> tuple[int, bytes]:
    return (1, b"two")


@task(takes_context=True)
def tell(context: Any, note: str = "") -> dict[str, Any]:
    result = context.task_result
    return {
        "id": result.id,
        "attempt": context.attempt,
        "status": str(result.status),
        "note": note,
        "started": result.started_at is not None,
    }


@task
async def add_later(a: int, b: int) -> int:
    return a + b


@task(autoretry_for=(KeyError,), max_retries=2, default_retry_delay=0)
def stumble() -> None:
    raise KeyError("again")


@task(name="shop.renamed")
def renamed() -> str:
    return "still here"


@task
def interrupt() -> None:
    raise KeyboardInterrupt


@task(queue_name="reports", priority=50)
def urgent() -> str:
    return "done"


@task
def grow(items: list[Any], **more: list[Any]) -> int:
    for each in (items, *more.values()):
        each.append("grown")
    return len(items)


@task
def look_around() -> dict[str, Any]:
    context = current()
    return {"user": context.user, "request_id": context.request_id, "language": translation.get_language()}


@task
def enqueue_another(value: int) -> str:
    return str(look_around.enqueue().id)


@task
def wait_at_gate() -> str:
    gate.at_the_gate.set()
    assert gate.opened.wait(20)
    return "through"


@task
def turn_down() -> None:
    raise Ignore("not today")


@task
def send_back() -> None:
    raise Reject("not for me")


@task(acks_late=True)
def send_back_once() -> str:
    if not gate.seen_once.is_set():
        gate.seen_once.set()
        raise Reject("not yet", requeue=True)
    return "taken"


@task
def run_out_of_memory() -> None:
    raise MemoryError("too much")


class Unheard(BaseException):
    """Neither an Exception nor known to anybody."""


class Awkward(Exception):
    """Cannot be made again from its arguments."""

    def __init__(self, one: int, *, two: int) -> None:
        super().__init__(f"{one} and {two}")


@task
def raise_unheard() -> None:
    raise Unheard("of")


@task
def raise_awkward() -> None:
    raise Awkward(1, two=2)


@task
def give_date() -> datetime:
    return datetime.now(UTC)


@task(takes_context=True, autoretry_for=(LookupError,), max_retries=3, default_retry_delay=0)
def third_time_lucky(context: Any) -> list[Any]:
    if context.attempt < 3:
        raise LookupError(f"attempt {context.attempt}")
    return [context.attempt, len(context.task_result.errors), context.task_result.attempts, context.retries]


@task
def give_numbered() -> dict[int, str]:
    return {1: "one"}


@task(acks_late=True)
def late() -> str:
    return "done"


@task(expires=1)
def fleeting() -> str:
    return "done"
