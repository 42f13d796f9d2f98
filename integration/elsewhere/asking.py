"""Web process. What a driver of this project asks of results, as JSON can hold it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from tasks_celery.compat import TaskResultDoesNotExist, task_backends

WITHIN = 60.0

T = TypeVar("T")


def until(ask: Callable[[], T]) -> T:
    """Ask until the answer is true, and return it."""
    deadline = time.monotonic() + WITHIN
    while not (answer := ask()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"still {answer!r}")
        time.sleep(0.02)
    return answer


def found(result_id: str) -> Any:
    """Return the result with that id, None where there is none."""
    try:
        return task_backends["default"].get_result(result_id)
    except TaskResultDoesNotExist:
        return None


def told(result_id: str) -> dict[str, Any] | None:
    """Return what `get_result` tells of an id."""
    result = found(result_id)
    if result is None:
        return None
    times = ("enqueued_at", "started_at", "last_attempted_at", "finished_at")
    return {
        "status": str(result.status),
        "value": result._return_value,
        "path": result.task.module_path,
        "args": result.args,
        "kwargs": result.kwargs,
        "queue": result.task.queue_name,
        "priority": result.task.priority,
        "alias": result.backend,
        "errors": [error.exception_class_path for error in result.errors],
        "tracebacks": [error.traceback for error in result.errors],
        "workers": result.worker_ids,
        "attempts": result.attempts,
        **{name: moment.isoformat() if (moment := getattr(result, name)) else None for name in times},
    }


def ended(result_id: str) -> dict[str, Any]:
    """Wait until the result with that id is finished, and return what `get_result` tells of it."""
    until(lambda: (result := found(result_id)) and result.is_finished)
    facts = told(result_id)
    assert facts is not None
    return facts


def words(result: Any) -> dict[str, Any]:
    """Return what an AsyncResult says; the exception where it says nothing."""
    try:
        state, value = result.state, result.result  # the state first: once it is final, the rest is
        return {
            "state": state,
            "result": repr(value),
            "class": f"{type(value).__module__}.{type(value).__qualname__}",
            "traceback": result.traceback,
        }
    except (NotImplementedError, AttributeError) as error:  # a disabled result backend raises either
        return {"raises": repr(error)}


def got(result: Any) -> dict[str, Any]:
    """Return what AsyncResult.get() gives: a value, or the class and the text of what it raises."""
    try:
        return {"value": result.get(timeout=WITHIN)}
    except Exception as error:  # noqa: BLE001  the task's own
        kind = type(error)
        return {"raised": [base.__name__ for base in kind.__mro__[:2]], "module": kind.__module__, "text": str(error)}
