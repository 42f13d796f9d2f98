"""Many files, several processes: what each makes of its files comes back in their order."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import BaseContext
from typing import Any, TypeVar

T = TypeVar("T")
Progress = Callable[[int, int], None]

#: As many files are read sooner than processes are begun.
FEW = 100
#: As many go to a process at once: few enough for a bar that moves.
CHUNK = 24


class CrashedError(Exception):
    """A process that read files has ended before it was done: killed, or out of memory."""


def each(
    work: Callable[[Any, str], T],
    shared: Any,
    paths: Sequence[str],
    *,
    processes: int | None,
    progress: Progress | None,
    before: int = 0,
    total: int | None = None,
) -> Iterator[T]:
    """Yield ``work(shared, path)`` of each path, in order; `progress` is told how many are done.

    With `processes` None there are as many as the machine has processors for us, and none but this one for few files.
    """
    count = _count(processes, len(paths))
    whole = len(paths) if total is None else total
    results = _here(work, shared, paths) if count < 2 else _there(work, shared, paths, count)
    for done, result in enumerate(results, start=before + 1):
        if progress is not None:
            progress(done, whole)
        yield result


def _count(processes: int | None, files: int) -> int:
    if processes is not None:
        return min(processes, files)
    return (
        1 if files < FEW else len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )


def _here(work: Callable[[Any, str], T], shared: Any, paths: Sequence[str]) -> Iterator[T]:
    return (work(shared, path) for path in paths)


def _there(work: Callable[[Any, str], T], shared: Any, paths: Sequence[str], count: int) -> Iterator[T]:
    pool = ProcessPoolExecutor(count, mp_context=_context(), initializer=_begin, initargs=(work, shared))
    try:
        yield from pool.map(_work, paths, chunksize=CHUNK)
    except BrokenProcessPool as error:
        raise CrashedError(
            "A process that read files was ended before it was done, perhaps for want of memory. Try it with one process."
        ) from error
    finally:
        # Also where the caller goes away: what has not begun is not begun.
        pool.shutdown(wait=True, cancel_futures=True)


def _context() -> BaseContext:
    # A fork beside other threads may never come to life.
    threads = threading.active_count() > 1
    return multiprocessing.get_context("spawn" if threads else None)


_given: list[tuple[Callable[[Any, str], Any], Any]] = []


def _begin(work: Callable[[Any, str], Any], shared: Any) -> None:
    # Ctrl-C goes to all of a terminal's processes: the first of them ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Trees have no cycles: they are freed without looking through all that is alive, again and again.
    gc.freeze()
    gc.set_threshold(200_000, 50, 50)
    _given[:] = [(work, shared)]


def _work(path: str) -> Any:
    work, shared = _given[0]
    return work(shared, path)
