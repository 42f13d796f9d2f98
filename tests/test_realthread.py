from __future__ import annotations

import _thread
import itertools
import sys
import threading
import time
import types
from typing import Any

import pytest

from tasks_celery.realthread import Repeated, make_lock, start_thread
from tests.channels.helpers import until


def test_a_thread_does_not_keep_the_process_alive() -> None:
    seen: list[threading.Thread] = []
    start_thread(lambda: seen.append(threading.current_thread()), name="a name")
    until(lambda: bool(seen))
    assert seen[0].daemon
    assert seen[0].name == "a name"
    assert seen[0] is not threading.current_thread()


def test_a_lock_is_one() -> None:
    with make_lock() as lock:
        assert lock


@pytest.mark.parametrize("real", [True, False])
def test_what_is_repeated_is_called_until_it_is_stopped(real: bool) -> None:
    calls: list[float] = []
    repeated = Repeated(lambda: calls.append(time.monotonic()), every=0.01, name="a name", real=real)
    until(lambda: len(calls) > 3)
    repeated.stop()
    repeated.stop()  # once more changes nothing
    until(lambda: "a name" not in [thread.name for thread in threading.enumerate()])
    many = len(calls)
    Repeated(lambda: calls.append(0), every=60, name="another").stop()
    assert len(calls) == many


def test_a_call_may_say_when_the_next_is_to_be() -> None:
    calls: list[float] = []
    waits = iter([0.0, 0.2, None])

    def step() -> float | None:
        calls.append(time.monotonic())
        return next(waits, 60.0)

    repeated = Repeated(step, every=0.05, name="a name")
    until(lambda: len(calls) == 4)
    repeated.stop()
    at_once, said, usual = (later - earlier for earlier, later in itertools.pairwise(calls))
    assert at_once < 0.1
    assert said >= 0.2
    assert usual >= 0.05


class Originals:
    """Counts what is taken from the unpatched `_thread`."""

    def __init__(self) -> None:
        self.taken: list[str] = []

    def take(self, name: str) -> Any:
        self.taken.append(name)
        return getattr(_thread, name)


def fake_gevent(originals: Originals, *, patched: bool) -> types.SimpleNamespace:
    return types.SimpleNamespace(
        is_module_patched=lambda name: patched and name == "threading",
        get_original=lambda module, name: originals.take(name),
    )


def fake_eventlet(originals: Originals, *, patched: bool) -> types.SimpleNamespace:
    module = types.SimpleNamespace()
    for name in ("start_new_thread", "allocate_lock"):
        setattr(module, name, lambda *args, name=name: originals.take(name)(*args))
    return types.SimpleNamespace(
        is_monkey_patched=lambda name: patched and name == "thread", original=lambda name: module
    )


@pytest.mark.parametrize(("name", "fake"), [("gevent.monkey", fake_gevent), ("eventlet.patcher", fake_eventlet)])
def test_where_threads_are_green_the_originals_are_taken(name: str, fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    originals = Originals()
    monkeypatch.setitem(sys.modules, name, fake(originals, patched=True))
    ran = threading.Event()
    with make_lock():
        start_thread(ran.set, name="unused")
    assert ran.wait(10)
    assert originals.taken == ["allocate_lock", "start_new_thread"]


@pytest.mark.parametrize(("name", "fake"), [("gevent.monkey", fake_gevent), ("eventlet.patcher", fake_eventlet)])
def test_imported_but_not_patched_is_not_green(name: str, fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    originals = Originals()
    monkeypatch.setitem(sys.modules, name, fake(originals, patched=False))
    make_lock()
    assert originals.taken == []
