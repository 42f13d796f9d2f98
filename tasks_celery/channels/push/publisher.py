"""Both. The one door for events: `publish` logs and pushes them, and raises nothing.

Each process has a delivery of its own, made when it first publishes: a thread does not survive a fork, though
its objects do and look alive. Tell the queue's end apart from the process's end: events that still wait
are flushed when a worker process, a worker or the interpreter shuts down.
"""

from __future__ import annotations

import atexit
import logging
import os
from collections.abc import Iterable
from typing import Any

from celery.signals import worker_process_shutdown, worker_shutdown
from django.core.signals import setting_changed

from tasks_celery.channels.events import Envelope, Json
from tasks_celery.channels.log import Entry
from tasks_celery.channels.push.delivery import Delivery
from tasks_celery.channels.push.sender import Counters, Limits
from tasks_celery.exceptions import OptionsError

logger = logging.getLogger("tasks_celery.channels")

#: Seconds that a process which shuts down gives to the events that still wait.
PATIENCE = 2.0


class Publisher:
    """Delivers events to the streams of users, from whatever process and thread it is called in."""

    def __init__(self, *, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._deliveries: dict[int, Delivery] = {}
        self._left_behind: list[dict[int, Delivery]] = []
        self._sees_to_endings = False

    def publish(self, streams: Iterable[str], envelope: Envelope) -> None:
        """Append an event to the log of each stream, in one call, and push it to the group of that name soon.

        The log is waited for, at most TASK_EVENTS' DEADLINE. Where it does not take the event, that and those after
        it wait in memory, and no caller for them, until it does. Within a transaction of the log's database, the event is part
        of that and is pushed as it commits.
        """
        entries = [Entry(stream, envelope.key, envelope.body) for stream in streams]
        if not entries:
            return
        try:
            self._delivery().publish(entries)
        except OptionsError as error:
            logger.error("Task id=%s: %r is not sent: %s", envelope.key, envelope.event, error)  # noqa: TRY400

    def tell(self, group: str, message: Json, *, about: str = "") -> None:
        """Send a message to a group soon, as it is and without log; return at once, whatever state the layer is in.

        `about` is the id of the task, for the logs.
        """
        try:
            self._delivery().tell(group, message, about)
        except OptionsError as error:
            logger.error("Task id=%s: a message is not sent: %s", about, error)  # noqa: TRY400

    def flush(self, timeout: float = PATIENCE) -> bool:
        """Wait until all that was published here is logged and pushed, at most `timeout` seconds; return whether it is."""
        delivery = self._deliveries.get(os.getpid())
        return delivery is None or delivery.flush(timeout)

    def close(self, timeout: float = PATIENCE) -> bool:
        """Flush, and end the threads; return whether all was logged and pushed. The next event starts over."""
        delivery = self._deliveries.pop(os.getpid(), None)
        if delivery is None or delivery.stop(timeout):
            return True
        logger.warning("Events could not all be sent: %s", delivery.counters())
        return False

    def counters(self) -> Counters:
        """Return what became of the events published in this process since it began or was closed."""
        delivery = self._deliveries.get(os.getpid())
        return delivery.counters() if delivery else Counters()

    def _delivery(self) -> Delivery:
        pid = os.getpid()
        delivery = self._deliveries.get(pid)
        if delivery is None:
            # setdefault is atomic: of two threads that come first, both get the same.
            delivery = self._deliveries.setdefault(pid, Delivery(self._limits))
            self._see_to_endings()
        return delivery

    def _see_to_endings(self) -> None:
        if self._sees_to_endings:
            return
        self._sees_to_endings = True  # a forked process inherits both
        os.register_at_fork(after_in_child=self._begin_anew)
        atexit.register(self._end)

    def _begin_anew(self) -> None:
        # Kept, not dropped: to take the parent's loop and connections apart would take its sockets out of the
        # epoll set that both processes share.
        self._left_behind.append(self._deliveries)
        self._deliveries = {}

    def _end(self) -> None:
        self.close()


_publisher = Publisher()
publish = _publisher.publish
tell = _publisher.tell
flush = _publisher.flush
close = _publisher.close
counters = _publisher.counters


def connect() -> None:
    """Flush when a Celery worker or one of its processes shuts down, and follow a change of settings in tests."""
    worker_process_shutdown.connect(_close_at_shutdown, dispatch_uid=f"{__name__}.process")
    worker_shutdown.connect(_flush_at_shutdown, dispatch_uid=f"{__name__}.worker")
    setting_changed.connect(_follow_settings, dispatch_uid=f"{__name__}.settings")


def _close_at_shutdown(**kwargs: Any) -> None:
    # What a child leaves behind, nobody tells: it ends without atexit.
    close()


def _flush_at_shutdown(**kwargs: Any) -> None:
    if not flush():
        logger.warning("This worker shuts down with events that could not be sent yet: %s", counters())


def _follow_settings(*, setting: str, **kwargs: Any) -> None:
    if setting in {"CHANNEL_LAYERS", "TASK_EVENTS"}:
        close()
