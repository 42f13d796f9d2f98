"""Coroutines of async tasks, which end with their task."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from celery.exceptions import SoftTimeLimitExceeded

from tasks_celery import coroutines
from tasks_celery.compat import Task
from tests.shop.running import until

pytestmark = pytest.mark.usefixtures("registry")


def a_task(function: Any) -> Any:
    return Task(
        func=function,
        priority=0,
        queue_name="default",
        backend="default",
        takes_context=False,
        run_after=None,
    )


@pytest.fixture
def soft_limit() -> Iterator[None]:
    """What a prefork child does: raise in the main thread, a little later."""

    def over(number: int, frame: FrameType | None) -> None:
        raise SoftTimeLimitExceeded

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


async def never(seen: list[str]) -> None:
    try:
        await asyncio.sleep(30)
    except asyncio.CancelledError:
        seen.append("cancelled")
        raise


async def stubborn(seen: list[str]) -> None:
    while not seen:
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            continue
    seen.append("ended")


async def add(a: int, b: int = 0) -> int:
    return a + b


def plain(a: int) -> int:
    return a * 2


def plain_named(task: int, args: int) -> int:
    return task + args


async def named(task: int, args: int) -> int:
    return task + args


async def fail() -> None:
    raise ValueError("no paper")


async def tell_thread() -> int:
    return await sync_to_async(threading.get_ident)()


async def clean_up(seen: list[str]) -> None:
    try:
        await asyncio.sleep(30)
    finally:
        await sync_to_async(seen.append)("cleaned up")


@pytest.mark.usefixtures("soft_limit")
def test_a_coroutine_has_ended_when_its_task_fails_for_a_time_limit() -> None:
    seen: list[str] = []
    with pytest.raises(SoftTimeLimitExceeded):
        coroutines.call(a_task(never), seen)
    assert seen == ["cancelled"]


@pytest.mark.usefixtures("soft_limit")
def test_a_coroutine_that_will_not_end_is_logged_and_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(coroutines, "END_WITHIN", 0.2)
    seen: list[str] = []
    with pytest.raises(SoftTimeLimitExceeded):
        coroutines.call(a_task(stubborn), seen)
    assert "tests.test_coroutines.stubborn was cancelled and runs on" in caplog.text
    seen.append("let go")
    until(lambda: seen[-1] == "ended")


@pytest.mark.usefixtures("soft_limit")
def test_a_coroutine_that_cleans_up_in_the_thread_it_no_longer_has_does_not_hold_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(coroutines, "END_WITHIN", 1)
    began, threads = time.monotonic(), threading.active_count()
    with pytest.raises(SoftTimeLimitExceeded):
        coroutines.call(a_task(clean_up), [])
    assert time.monotonic() - began < 10
    until(lambda: threading.active_count() <= threads)  # else the process would never end


def test_a_coroutine_returns_and_raises_as_ever() -> None:
    assert coroutines.call(a_task(add), 1, b=2) == 3
    with pytest.raises(ValueError, match="no paper"):
        coroutines.call(a_task(fail))


def test_what_a_coroutine_leaves_to_threads_runs_in_the_tasks_own() -> None:
    assert coroutines.call(a_task(tell_thread)) == threading.get_ident()


def test_a_plain_function_is_just_called() -> None:
    assert coroutines.call(a_task(plain), 2) == 4


@pytest.mark.parametrize("function", [plain_named, named], ids=["plain", "async"])
def test_any_name_of_an_argument_is_the_tasks_own(function: Any) -> None:  # contract 15
    assert coroutines.call(a_task(function), task=1, args=2) == 3
