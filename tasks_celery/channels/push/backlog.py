"""Both. Events that the log did not take: they wait in memory, in order, and are tried again until it does.

In an OS thread of its own: the sender's runs an event loop, and in such a thread Django's ORM refuses to
work. Nobody waits for it: who publishes while events wait here puts theirs behind them and goes on.
"""

from __future__ import annotations

import logging
import os
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Final, NamedTuple

from django.db import connections

from tasks_celery.channels.log import Entry, EventLogError, Position, find_log
from tasks_celery.exceptions import OptionsError
from tasks_celery.realthread import make_lock, start_thread

logger = logging.getLogger("tasks_celery.channels")

THREAD_NAME: Final = "tasks_celery.channels.push.backlog"
LIMIT: Final = 10_000
#: How many events are tried in one call.
BATCH: Final = 100
#: Seconds between two tries: at first, and at most.
FIRST_WAIT, LONGEST_WAIT = 0.1, 2.0
#: After so many tries in which the log took others, an event is one that it will never take.
REFUSALS: Final = 5
#: Ids in one line of the logs.
IDS_AT_ONCE: Final = 100
#: Seconds between two looks at whether all is logged; see `sender.LOOK_EVERY`.
LOOK_EVERY: Final = 0.005

Kept = tuple[Entry, Position | None]


class Waiting(NamedTuple):
    """An entry that the log is yet to take, and how often it refused it while it took others."""

    entry: Entry
    refusals: int = 0


class Backlog:
    """Appends entries to the log until it takes them, in order, and hands them on then.

    It holds at most `limit`; its thread starts with the first.
    """

    def __init__(self, hand_on: Callable[[Sequence[Kept]], None], *, limit: int = LIMIT) -> None:
        self._hand_on = hand_on
        self._limit = limit
        self._lock = make_lock()
        # Held while there is nothing to do: the thread waits for it.
        self._pause = make_lock()
        self._pause.acquire()
        # What follows is changed under the lock; but for `stop`, only the thread takes from `_waiting`.
        self._waiting: deque[Waiting] = deque()
        self._lost = 0
        self._waited = 0
        self._is_overflowing = False
        self._is_running = False
        self._is_stopping = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits: what is being tried waits still."""
        return not self._waiting

    @property
    def waiting(self) -> int:
        """How many entries wait."""
        return len(self._waiting)

    @property
    def lost(self) -> int:
        """How many entries could not be logged."""
        return self._lost

    def put(self, entries: Sequence[Entry], error: Exception | None = None) -> None:
        """Take entries that the log did not take, for this `error`, or that come behind such. Raises nothing."""
        with self._lock:
            is_first = not self._waiting
            room = 0 if self._is_stopping else max(0, self._limit - len(self._waiting))
            self._waiting.extend(map(Waiting, entries[:room]))
            self._waited += min(room, len(entries))
            over = entries[room:]
            is_first_drop = self._drop(over)
            must_start = bool(self._waiting) and not self._is_running
            self._is_running = self._is_running or must_start
            if is_first and not must_start:
                self._go_on()
        if is_first and error:
            logger.warning(
                "The event of task id=%s waits in memory, as do those after it, until the log of events takes them: %s",
                entries[0].key,
                error,
            )
        if is_first_drop:
            self._tell_overflow(over[0])
        if must_start:
            self._start()

    def flush(self, timeout: float) -> bool:
        """Try at once and often, for at most `timeout` seconds, until nothing waits; return whether nothing does."""
        return self._wait_until(lambda: not self._waiting, timeout)

    def stop(self, timeout: float) -> bool:
        """Flush, then end the thread; return whether all is logged. What is not, and what is put later, is lost."""
        deadline = time.monotonic() + timeout
        self.flush(timeout)
        with self._lock:
            self._is_stopping = True
            left = [waiting.entry for waiting in self._waiting]
            self._waiting.clear()
            self._lost += len(left)
        self._wait_until(lambda: not self._is_running, deadline - time.monotonic())
        _tell_lost(left)
        return not left

    def _wait_until(self, is_so: Callable[[], bool], timeout: float) -> bool:
        now = time.monotonic()
        deadline, next_try = now + timeout, now
        while not is_so():
            now = time.monotonic()
            if now >= next_try:
                with self._lock:
                    self._go_on()
                next_try = now + FIRST_WAIT
            if now >= deadline:
                return False
            time.sleep(LOOK_EVERY)
        return True

    def _go_on(self) -> None:
        if self._pause.locked():
            self._pause.release()

    def _drop(self, entries: Sequence[Entry]) -> bool:
        """Count what there is no room for; return whether it is the first since there was."""
        self._lost += len(entries)
        is_first, self._is_overflowing = not self._is_overflowing, self._is_overflowing or bool(entries)
        return is_first and bool(entries)

    def _tell_overflow(self, entry: Entry) -> None:
        logger.error(
            "The event of task id=%s and those after it are lost: %s wait for the log of events already, or this "
            "process is ending. The tasks themselves are not affected.",
            entry.key,
            self._limit,
        )

    def _start(self) -> None:
        try:
            start_thread(self._run, name=THREAD_NAME)
        except RuntimeError as error:  # no more threads, or the interpreter is about to end
            with self._lock:
                self._is_running = False
            logger.error("Events cannot be logged (%s); the next one tries again.", error)  # noqa: TRY400

    # From here on: in the thread.

    def _run(self) -> None:
        try:
            self._log_all()
        except Exception:
            logger.exception("The thread that logs events ended; the next event starts it again.")
        finally:
            connections.close_all()
            with self._lock:
                self._is_running = False

    def _log_all(self) -> None:
        wait = 0.0
        while not self._is_stopping:
            if self._waiting:
                is_all_taken = self._try()
                wait = 0.0 if is_all_taken else min(LONGEST_WAIT, 2 * wait or FIRST_WAIT)
            if not self._waiting:
                self._tell_over()
                connections.close_all()
                self._pause.acquire()
            elif wait:
                # One that the other side has closed would fail for ever.
                connections.close_all()
                self._pause.acquire(timeout=wait * random.uniform(0.5, 1))  # noqa: S311

    def _try(self) -> bool:
        """Append the oldest entries and hand on what the log takes; return whether that is all of them."""
        with self._lock:
            tried = list(islice(self._waiting, BATCH))
        answers = self._append([waiting.entry for waiting in tried])
        outcomes = list(zip(tried, answers, strict=True))
        kept = [(each.entry, answer) for each, answer in outcomes if not isinstance(answer, EventLogError)]
        # Handed on first: what is published once nothing waits must not overtake it.
        self._hand_on(kept)
        left, refused = _sorted_out(outcomes, takes_others=bool(kept))
        with self._lock:
            if self._waiting:  # else `stop` gave them up meanwhile
                for _ in tried:
                    self._waiting.popleft()
                self._waiting.extendleft(reversed(left))
            self._lost += len(refused)
        for entry, error in refused:
            logger.error("The event of task id=%s is lost, as the log of events refuses it: %s", entry.key, error)
        return not left

    def _append(self, entries: list[Entry]) -> Sequence[Position | EventLogError | None]:
        try:
            # A log of its own, made in this process: its locks are not those of the process that this one was forked from,
            # and, beside greenlets, its sockets belong to this thread.
            return find_log(owner=f"{THREAD_NAME} {os.getpid()}").append(entries, again=True)
        except OptionsError as error:
            return [EventLogError(str(error))] * len(entries)

    def _tell_over(self) -> None:
        with self._lock:
            waited, self._waited = self._waited, 0
            self._is_overflowing = False
        if waited:
            logger.warning("The log of events takes events again; %s waited meanwhile.", waited)


def _sorted_out(
    outcomes: Iterable[tuple[Waiting, Position | EventLogError | None]], *, takes_others: bool
) -> tuple[list[Waiting], list[tuple[Entry, EventLogError]]]:
    """Return what is tried again, and what is given up with its error: a log that is away refuses nothing."""
    left, refused = [], []
    for waiting, answer in outcomes:
        if not isinstance(answer, EventLogError):
            continue
        refusals = waiting.refusals + takes_others
        if refusals < REFUSALS:
            left.append(Waiting(waiting.entry, refusals))
        else:
            refused.append((waiting.entry, answer))
    return left, refused


def _tell_lost(entries: Sequence[Entry]) -> None:
    ids = list(dict.fromkeys(entry.key for entry in entries))
    for start in range(0, len(ids), IDS_AT_ONCE):
        logger.error(
            "This process ends before the log of events took the events of the tasks id=%s; they are lost. The tasks "
            "themselves are not affected.",
            ", ".join(ids[start : start + IDS_AT_ONCE]),
        )
