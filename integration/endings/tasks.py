"""One task per way to end."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from celery.exceptions import Ignore, Reject

from tasks_celery import task


class Odd(BaseException):
    """Neither an Exception nor to be pickled."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one)
        self.lock = open(os.devnull)  # noqa: PTH123, SIM115


class Strange(Exception):
    """Cannot be made again from its arguments."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


@task
def succeed(value: int = 1) -> int:
    return value + 1


@task
async def succeed_later(value: int = 1) -> int:
    return value + 1


@task
def fail() -> None:
    raise ValueError("no paper")


@task
def fail_strangely() -> None:
    raise Strange("this", "that")


@task
def leave() -> None:
    raise SystemExit(3)


@task
def interrupt() -> None:
    raise KeyboardInterrupt


@task
def raise_odd() -> None:
    raise Odd("one", "two")


@task
def run_out_of_memory() -> None:
    raise MemoryError("no more")


@task
def give_lambda() -> Any:
    return lambda: None


@task(takes_context=True, autoretry_for=(KeyError,), max_retries=3, default_retry_delay=0)
def recover(context: Any, failures: int) -> int:
    if context.attempt <= failures:
        raise KeyError("again")
    return int(context.attempt)


@task
def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@task(takes_context=True, acks_late=True, reject_on_worker_lost=True)
def kill_self_once(context: Any) -> int:
    if context.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return int(context.attempt)


@task(time_limit=1)
def overrun() -> None:
    time.sleep(30)


@task(soft_time_limit=1, time_limit=20)
def overrun_softly() -> None:
    time.sleep(15)


@task(expires=0.01)
def expire() -> None:
    raise AssertionError("ran although expired")


@task
def reject() -> None:
    raise Reject("not mine", requeue=False)


@task
def ignore() -> None:
    raise Ignore("not now")


@task
def sleep_long() -> None:
    time.sleep(60)
