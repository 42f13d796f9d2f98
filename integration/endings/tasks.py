"""Worker process. One task per way to end."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from threading import Lock
from typing import Any

from celery.exceptions import Ignore, Reject

from tasks_celery import task


class Odd(BaseException):
    """Neither an Exception nor to be pickled."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one)
        self.lock = Lock()


class Strange(Exception):
    """Cannot be made again from its arguments."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


class Unpicklable(Exception):
    """Holds what pickle refuses."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = Lock()


# --- what the function does


@task
def succeed(value: int = 1) -> int:
    return value + 1


@task
async def succeed_later(value: int = 1) -> int:
    return value + 1


@task
def be_ignored_by_a_receiver() -> str:
    return "done"


@task
def fail() -> None:
    raise ValueError("no paper")


@task
def fail_strangely() -> None:
    raise Strange("this", "that")


@task
def fail_unpicklably() -> None:
    raise Unpicklable("stays here")


@task
def give_lambda() -> Any:
    return lambda: None


@task
def leave() -> None:
    raise SystemExit(3)


@task
def interrupt() -> None:
    raise KeyboardInterrupt


@task
def close_generator() -> None:
    raise GeneratorExit


@task
def raise_odd() -> None:
    raise Odd("one", "two")


@task
def run_out_of_memory() -> None:
    raise MemoryError("no more")


@task
def tell_process() -> int:
    return os.getpid()


# --- what it asks of Celery


@task(takes_context=True, autoretry_for=(KeyError,), max_retries=3, default_retry_delay=0)
def recover(context: Any, failures: int) -> int:
    if context.attempt <= failures:
        raise KeyError("again")
    return int(context.attempt)


@task
def reject() -> None:
    raise Reject("not mine", requeue=False)


@task
def send_back() -> None:
    raise Reject("not mine", requeue=True)


@task(takes_context=True, acks_late=True)
def send_back_once(context: Any) -> int:
    if context.attempt == 1:
        raise Reject("not yet", requeue=True)
    return int(context.attempt)


@task
def ignore() -> None:
    raise Ignore("not now")


@task
def never_begins() -> None:
    raise AssertionError("ran although its before_start ignores it")


# --- time and revocation


@task(time_limit=1)
def overrun() -> str:
    time.sleep(4)
    return "ran on"


@task(soft_time_limit=1, time_limit=20)
def overrun_softly() -> str:
    time.sleep(4)
    return "ran on"


@task(takes_context=True, acks_late=True, time_limit=1)
def overrun_once(context: Any) -> int:
    if context.attempt == 1:
        time.sleep(4)
    return int(context.attempt)


@task(expires=1)
def expire() -> None:
    raise AssertionError("ran although expired")


@task
def take(seconds: float) -> str:
    time.sleep(seconds)
    return "ran on"


# --- a process is killed, the worker is stopped


@task
def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@task
def be_killed() -> None:
    subprocess.Popen(["kill", "-KILL", str(os.getpid())])
    time.sleep(20)


@task(acks_late=True)
def kill_self_late() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@task(takes_context=True, acks_late=True, reject_on_worker_lost=True)
def kill_self_once(context: Any) -> int:
    if context.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return int(context.attempt)


@task(takes_context=True, default_retry_delay=0)
def kill_self_retried(context: Any) -> int:
    if context.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return int(context.attempt)


@task(takes_context=True)
def be_stopped(context: Any, seconds: float) -> str:
    if context.attempt == 1:
        time.sleep(seconds)
    return "ran on"


@task(takes_context=True, acks_late=True)
def be_stopped_late(context: Any, seconds: float) -> int:
    if context.attempt == 1:
        time.sleep(seconds)
    return int(context.attempt)
