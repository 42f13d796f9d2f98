"""Tasks that decide about their attempts, for the tests to run."""

from __future__ import annotations

from typing import Any

from celery.exceptions import Reject
from django.contrib.auth.models import Group

from tasks_celery import task


class Busy(Exception):
    """Says for how long."""

    def __init__(self, seconds: float = 0) -> None:
        super().__init__(f"busy for {seconds} s")
        self.seconds = seconds


def is_locked(error: Exception) -> bool:
    return "locked" in str(error)


def is_forbidden(error: Exception) -> bool:
    return "forbidden" in str(error)


def as_it_says(error: BaseException, retries: int) -> float | None:
    return getattr(error, "seconds", None)


def squares(error: BaseException, retries: int) -> float | None:
    return (retries + 1) ** 2 / 100


def nonsense(error: BaseException, retries: int) -> Any:
    return "soon"


def break_down(error: Exception) -> bool:
    raise RuntimeError("the function broke down")


def _raise(kind: str, message: str) -> None:
    raise {"ValueError": ValueError, "KeyError": KeyError, "LookupError": LookupError}[kind](message)


@task(autoretry_for=(is_locked, KeyError), dont_autoretry_for=(is_forbidden,), max_retries=2, default_retry_delay=0)
def pick(kind: str, message: str) -> None:
    _raise(kind, message)


@task(autoretry_for=(Exception,), retry_backoff=as_it_says, max_retries=5)
def wait_as_told(seconds: float | None) -> None:
    raise Busy(seconds) if seconds is not None else ValueError("says nothing")


@task(autoretry_for=(Exception,), retry_backoff=squares, max_retries=3)
def wait_squares() -> None:
    raise ValueError("again")


@task(autoretry_for=(Exception,), retry_backoff=nonsense)
def wait_nonsense() -> None:
    raise ValueError("again")


@task(autoretry_for=(break_down,))
def pick_badly() -> None:
    raise ValueError("as it was")


def always(error: Exception) -> bool:
    return True


@task(autoretry_for=(always,), max_retries=3, default_retry_delay=0)
def turn_down() -> None:
    raise Reject("not for me")


@task(autoretry_for=(is_locked,), max_retries=3, default_retry_delay=0)
async def pick_later() -> None:
    raise ValueError("locked")


@task(takes_context=True, max_retries=2)
def ask_again(context: Any, until: int = 3, **options: Any) -> int:
    if context.attempt < until:
        context.retry(**{"countdown": 0, **options})
    return int(context.attempt)


@task(takes_context=True, max_retries=1)
def ask_again_for_good_reason(context: Any) -> None:
    try:
        _be_busy()
    except Busy:
        context.retry(countdown=0)


def _be_busy() -> None:
    try:
        _raise("KeyError", "the cause")
    except KeyError as cause:
        raise Busy(1) from cause


@task(takes_context=True, max_retries=2)
async def ask_again_later(context: Any) -> int:
    if context.attempt < 3:
        context.retry(countdown=0)
    return int(context.attempt)


@task(takes_context=True)
def ask_badly(context: Any, **options: Any) -> None:
    context.retry(**options)


@task(takes_context=True, default_retry_delay=0.01)
def ask_and_catch(context: Any) -> str:
    try:
        context.retry(countdown=0)
    except Exception:  # noqa: BLE001  as careless code does
        return "caught"


@task(takes_context=True)
def look_for_cancel(context: Any) -> list[bool]:
    return [context.is_cancelled(), context.is_cancelled()]


@task(takes_context=True)
async def look_for_cancel_later(context: Any) -> bool:
    return bool(await context.ais_cancelled())


@task(atomic=True)
def add_group(name: str, fails: bool = False) -> str:
    Group.objects.create(name=name)
    if fails:
        raise ValueError("after the row")
    return name


@task(atomic="default", takes_context=True, max_retries=1)
def add_group_again(context: Any, name: str) -> str:
    Group.objects.create(name=f"{name} {context.attempt}")
    if context.attempt == 1:
        context.retry(countdown=0)
    return name


@task(atomic=True, autoretry_for=(ValueError,), max_retries=1, default_retry_delay=0)
def add_group_and_fail(name: str) -> None:
    Group.objects.create(name=name)
    raise ValueError("after the row")


@task
def add_group_plainly(name: str) -> None:
    Group.objects.create(name=name)
    raise ValueError("after the row")
