"""Both. The one door to the channel layer: `publish` puts an event down, and never waits or raises.

Each process has a sender of its own, made when it first publishes: a thread does not survive a fork, though
its objects do and look alive. Tell the queue's end apart from the process's end: events that still wait
are flushed when a worker process, a worker or the interpreter shuts down.
"""

from __future__ import annotations

import atexit
import logging
import os
from functools import partial
from typing import Any

from celery.signals import worker_process_shutdown, worker_shutdown
from django.core.signals import setting_changed

from tasks_celery.channels.events import Envelope
from tasks_celery.channels.layer import open_layer
from tasks_celery.channels.sender import Counters, Limits, Sender

logger = logging.getLogger("tasks_celery.channels")

DEFAULT_LAYER = "default"
#: Seconds that a process which shuts down gives to the events that still wait.
PATIENCE = 2.0


class Publisher:
    """Sends events to the groups of one channel layer, from whatever process and thread it is called in."""

    def __init__(self, alias: str = DEFAULT_LAYER, *, limits: Limits | None = None) -> None:
        self._alias = alias
        self._limits = limits or Limits()
        self._senders: dict[int, Sender] = {}
        self._left_behind: list[dict[int, Sender]] = []
        self._sees_to_endings = False

    def publish(self, group: str, envelope: Envelope) -> None:
        """Send `envelope` to `group` soon; return at once, whatever state the layer is in."""
        self._sender().put(group, envelope)

    def flush(self, timeout: float = PATIENCE) -> bool:
        """Wait until all that was published here is sent, at most `timeout` seconds; return whether it is."""
        sender = self._senders.get(os.getpid())
        return sender is None or sender.flush(timeout)

    def close(self, timeout: float = PATIENCE) -> bool:
        """Flush, and end the thread; return whether all was sent. The next event starts over."""
        sender = self._senders.pop(os.getpid(), None)
        return sender is None or sender.stop(timeout)

    def counters(self) -> Counters:
        """Return what became of the events published in this process since it began or was closed."""
        sender = self._senders.get(os.getpid())
        return sender.counters() if sender else Counters()

    def _sender(self) -> Sender:
        pid = os.getpid()
        sender = self._senders.get(pid)
        if sender is None:
            # setdefault is atomic: of two threads that come first, both get the same.
            sender = self._senders.setdefault(pid, Sender(partial(open_layer, self._alias), self._limits))
            self._see_to_endings()
        return sender

    def _see_to_endings(self) -> None:
        if self._sees_to_endings:
            return
        self._sees_to_endings = True  # a forked process inherits both
        os.register_at_fork(after_in_child=self._begin_anew)
        atexit.register(self._end)

    def _begin_anew(self) -> None:
        # Kept, not dropped: to take the parent's loop and connections apart would take its sockets out of the
        # epoll set that both processes share.
        self._left_behind.append(self._senders)
        self._senders = {}

    def _end(self) -> None:
        if not self.close():
            logger.warning("This process ends with events that could not be sent: %s", self.counters())


_publisher = Publisher()
publish = _publisher.publish
flush = _publisher.flush
close = _publisher.close
counters = _publisher.counters


def connect() -> None:
    """Flush when a Celery worker or one of its processes shuts down, and follow a change of settings in tests."""
    worker_process_shutdown.connect(_flush_at_shutdown, dispatch_uid=f"{__name__}.process")
    worker_shutdown.connect(_flush_at_shutdown, dispatch_uid=f"{__name__}.worker")
    setting_changed.connect(_follow_settings, dispatch_uid=f"{__name__}.settings")


def _flush_at_shutdown(**kwargs: Any) -> None:
    if not flush():
        logger.warning("This worker shuts down with events that could not be sent: %s", counters())


def _follow_settings(*, setting: str, **kwargs: Any) -> None:
    if setting == "CHANNEL_LAYERS":
        close()
