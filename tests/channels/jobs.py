"""Tasks that announce their end, each in another way."""

from __future__ import annotations

from typing import Any

from tasks_celery import task
from tasks_celery.channels import notify
from tasks_celery.compat import TaskResult


@notify("job.done", failed="job.failed")
@task
def tell_both(fails: bool = False) -> str:
    if fails:
        raise ValueError("no paper")
    return "a secret"


@task
@notify("job.below")
def decorated_below() -> None: ...


@notify("job.only_done")
@task
def tell_success() -> None: ...


@task
def tell_nobody() -> None: ...


def _payload(result: TaskResult[Any, Any]) -> Any:
    """Return the first argument; raise it if it is an exception's name."""
    if result.args[0] == "raise":
        raise LookupError("no such report")
    return result.args[0]


@notify("job.paid", payload=_payload)
@task
def tell_payload(payload: Any) -> None: ...


def _to(result: TaskResult[Any, Any]) -> Any:
    if result.args[0] == "raise":
        raise LookupError("no such owner")
    return result.args[0]


@notify("job.sent", to=_to)
@task
def tell_others(to: Any) -> None: ...
