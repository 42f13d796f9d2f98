"""Tasks that tell what they are given, and that end in ways of their own."""

from __future__ import annotations

import asyncio
from typing import Any

from tasks_celery import task


@task
def note(*args: Any, **kwargs: Any) -> list[Any]:
    return [list(args), kwargs]


@task
async def note_later(*args: Any, **kwargs: Any) -> list[Any]:
    await asyncio.sleep(0)
    return [list(args), kwargs]


@task(takes_context=True)
def describe(context: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Return what the task is told of itself, and how it is stored while it runs."""
    result = context.task_result
    told = {
        "id": result.id,
        "attempt": context.attempt,
        "args": result.args,
        "kwargs": result.kwargs,
        "received": [list(args), kwargs],
        "backend": [result.backend, result.task.backend],
        "queue": result.task.queue_name,
        "priority": result.task.priority,
        "enqueued_at": result.enqueued_at.isoformat(),
        "started_at": result.started_at.isoformat(),
        "status": str(result.status),
        "workers": len(result.worker_ids),
    }
    result.refresh()
    return told | {"stored": [str(result.status), result.attempts]}


@task
def leave() -> None:
    raise SystemExit("gone")


@task
def call_exit() -> None:
    exit(2)


@task
def close_generator() -> None:
    raise GeneratorExit


@task
async def cancel() -> None:
    raise asyncio.CancelledError


@task
def interrupt() -> None:
    raise KeyboardInterrupt


class Unspeakable(BaseException):
    """Would end the process even where its message is asked for."""

    def __str__(self) -> str:
        raise SystemExit("not a word")

    __repr__ = __str__


@task
def raise_unspeakable() -> None:
    raise Unspeakable


@task
def fail(message: str = "no paper") -> None:
    raise ValueError(message)


@task
def fail_twice_over() -> None:
    raise ValueError(ValueError("no paper"))


class Unprintable(Exception):
    """Raises where its message is asked for."""

    def __str__(self) -> str:
        raise RuntimeError("not a word")

    __repr__ = __str__


@task
def fail_without_words() -> None:
    raise Unprintable


@task
def give(kind: str) -> Any:
    """Return what only Python knows, or what JSON has another type for."""
    return {
        "lambda": lambda: None,
        "set": {1},
        "undecodable": b"\xff",
        "tuple": (1, (2,)),
        "bytes": b"two",
        "nothing": None,
        "marked": {"__type__": "datetime", "__value__": "2026-01-01T00:00:00"},
    }[kind]


@task(takes_context=True, autoretry_for=(LookupError,), max_retries=2, default_retry_delay=0)
def succeed_on(context: Any, attempt: int) -> int:
    if context.attempt < attempt:
        raise LookupError(f"attempt {context.attempt}")
    return int(context.attempt)


@task(queue_name="reports", priority=50)
def report() -> str:
    return "done"
