"""Both. Real threads and locks, also where gevent or eventlet have put green ones in their place.

An event loop in a green thread marks the OS thread below it as one that runs a loop, and from then on
every ORM call of every other greenlet raises SynchronousOnlyOperation: so the publisher's loop gets an OS thread of
its own. So does what has to go on while a greenlet computes, as a worker's lease has. What such a thread shares with the
others is guarded by a lock that knows nothing of greenlets.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any


def start_thread(target: Callable[[], None], *, name: str) -> None:
    """Run `target` in a new OS thread that does not keep the process alive."""
    green = _patcher()
    if green is None:
        threading.Thread(target=target, name=name, daemon=True).start()
    else:
        green("start_new_thread")(target, ())


def make_lock() -> threading.Lock:
    """Return a lock between OS threads. Whoever holds it must not let another greenlet run."""
    green = _patcher()
    lock: threading.Lock = green("allocate_lock")() if green else threading.Lock()
    return lock


class Repeated:
    """Calls a function again and again in a thread of its own, until it is stopped.

    `every` is how many seconds it waits before each call, but for those before which the last call has said a number.
    The thread is the operating system's, or, with `real` False, a greenlet where threads are: for what sends messages and
    signals, whose clients belong to the greenlets' hub. What the function raises ends the thread.
    """

    def __init__(self, step: Callable[[], float | None], *, every: float, name: str, real: bool = True) -> None:
        self._step = step
        self._every = every
        self._stopped = make_lock() if real else threading.Lock()
        self._stopped.acquire()
        if real:
            start_thread(self._repeat, name=name)
        else:
            threading.Thread(target=self._repeat, name=name, daemon=True).start()

    def stop(self) -> None:
        """Let the call that runs be the last."""
        if self._stopped.locked():
            self._stopped.release()

    def _repeat(self) -> None:
        wait = self._every
        while not self._stopped.acquire(timeout=wait):
            said = self._step()
            wait = self._every if said is None else said
        self._stopped.release()


def _patcher() -> Callable[[str], Any] | None:
    """Return what finds the originals of `_thread`; None where nothing replaced them."""
    # Read from sys.modules: who has not imported gevent has not patched anything with it.
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched("threading"):
        return lambda name: gevent.get_original("_thread", name)
    eventlet = sys.modules.get("eventlet.patcher")
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        return lambda name: getattr(eventlet.original("_thread"), name)
    return None
