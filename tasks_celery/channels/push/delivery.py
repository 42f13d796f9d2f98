"""Both. How one process delivers events: into the log first, then, as a hint, through the channel layer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from django.db import connections, transaction

from tasks_celery.channels.events import Heard, Json, event_text
from tasks_celery.channels.layer import open_layer
from tasks_celery.channels.log import Entry, EventLogError, Log, Position, find_log
from tasks_celery.channels.options import event_options
from tasks_celery.channels.push.backlog import Backlog, Kept
from tasks_celery.channels.push.outbox import Push
from tasks_celery.channels.push.sender import Counters, Limits, Sender
from tasks_celery.realthread import make_lock

logger = logging.getLogger("tasks_celery.channels")

Answers = Sequence[Position | EventLogError | None]


class Delivery:
    """Logs events in the caller, then pushes them from a thread; what the log does not take waits in the backlog."""

    def __init__(self, limits: Limits) -> None:
        self._sender = Sender(lambda: open_layer(event_options().layer or ""), limits)
        self._backlog = Backlog(self._push)
        self._lock = make_lock()
        self._logged = 0

    def publish(self, entries: list[Entry]) -> None:
        """Append `entries` to the log and push them; within a transaction of the log's database, both as it commits."""
        log = find_log()
        leave = _way_out(log)
        if self._backlog.is_empty:
            leave(partial(self._go_on, entries, log.append(entries)))
        else:
            # The log is away, or events wait before these: neither is waited for.
            leave(partial(self._put_back, entries))

    def tell(self, group: str, message: Json, about: str) -> None:
        """Send a message as it is; within a transaction of the log's database, as it commits."""
        if event_options().layer is not None:
            _way_out(find_log())(partial(self._sender.put, group, Push(about, message)))

    def flush(self, timeout: float) -> bool:
        """Wait until all is logged and pushed, at most `timeout` seconds; return whether it is."""
        deadline = time.monotonic() + timeout
        is_logged = self._backlog.flush(timeout)
        return self._sender.flush(deadline - time.monotonic()) and is_logged

    def stop(self, timeout: float) -> bool:
        """Flush, and end the threads; return whether all is logged and pushed."""
        deadline = time.monotonic() + timeout
        is_logged = self._backlog.stop(timeout)
        return self._sender.stop(deadline - time.monotonic()) and is_logged

    def counters(self) -> Counters:
        """Return what became of the events so far."""
        return replace(
            self._sender.counters(), logged=self._logged, waiting=self._backlog.waiting, lost=self._backlog.lost
        )

    def _go_on(self, entries: Sequence[Entry], answers: Answers) -> None:
        kept: list[Kept] = []
        failed: list[Entry] = []
        error: EventLogError | None = None
        for entry, answer in zip(entries, answers, strict=True):
            if isinstance(answer, EventLogError):
                failed.append(entry)
                error = error or answer
            else:
                kept.append((entry, answer))
        self._push(kept)
        if failed:
            self._put_back(failed, error)

    def _put_back(self, entries: Sequence[Entry], error: EventLogError | None = None) -> None:
        if event_options().layer is not None:
            self._sender.start()
        self._backlog.put(entries, error)

    def _push(self, kept: Sequence[Kept]) -> None:
        with self._lock:
            self._logged += sum(position is not None for _, position in kept)
        if event_options().layer is None:
            return
        for entry, position in kept:
            heard = Heard(position, event_text(entry.body, position))
            self._sender.put(entry.stream, Push(entry.key, heard))


def _way_out(log: Log) -> Callable[[Callable[[], None]], None]:
    """Return what lets a call go: at once, or as the caller's transaction commits where the log is part of that."""
    alias: str | None = getattr(log, "alias", None)
    if alias is not None and connections[alias].in_atomic_block:
        return partial(transaction.on_commit, using=alias, robust=True)
    return _at_once


def _at_once(call: Callable[[], None]) -> None:
    call()
