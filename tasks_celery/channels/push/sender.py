"""Both. One OS thread with one event loop, which sends what is in the outbox. It belongs to one process.

The usual ``async_to_sync(layer.group_send)(…)`` makes a thread, a loop and a connection to Redis for every
call, and its caller waits for all of it. Here the caller puts an event down and goes on. What is lost on this
way is lost as a hint: the log of events has it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tasks_celery.channels.layer import Layer, passing_errors
from tasks_celery.channels.push.outbox import Batch, Outbox, Push
from tasks_celery.realthread import make_lock, start_thread

logger = logging.getLogger("tasks_celery.channels")

THREAD_NAME = "tasks_celery.channels.push.sender"
#: Seconds between two looks at whether all is sent. Looking works with every kind of thread; waiting for a
#: condition that a real thread sets would stop every greenlet of this one.
LOOK_EVERY = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much may wait, leave together and be under way, and for how many seconds one message may be.

    `gap` is how many seconds after a message to a group the next one may follow: what comes in between leaves together, and
    who publishes in a row is not held up, each time, by the thread that sends.
    """

    queue: int = 10_000
    batch: int = 50
    in_flight: int = 8
    deadline: float = 2.0
    gap: float = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What became of the events so far, each counted once for every stream or group that it goes to.

    In the log of events: `logged` are in it, `waiting` are yet to be, `lost` could not be. On the way through the channel
    layer: `sent`, `dropped` where too many waited, `failed`, `queued` now; `retried` counts messages.
    """

    logged: int = 0
    waiting: int = 0
    lost: int = 0
    sent: int = 0
    dropped: int = 0
    failed: int = 0
    retried: int = 0
    queued: int = 0


class SenderLoop(asyncio.SelectorEventLoop):
    """Looks hosts up in its own thread, which has nothing else to do but to wait for the connection.

    asyncio starts a thread for it. An interpreter that is about to end starts none, and the last events of
    a short program, whose first connection is yet to be made, would be lost.
    """

    async def getaddrinfo(self, host: Any, port: Any, **hints: Any) -> Any:
        """Return what the socket module says, and block until it does."""
        return socket.getaddrinfo(host, port, **hints)


class Sender:
    """Sends events and messages to groups, in order within a group; starts its thread with the first of them."""

    def __init__(self, open_layer: Callable[[], Layer], limits: Limits) -> None:
        self._open_layer = open_layer
        self._limits = limits
        self._lock = make_lock()
        # What follows is read and written under the lock, as is the outbox.
        self._outbox = Outbox(limit=limits.queue, batch=limits.batch)
        self._counters = Counters()
        self._dropping = 0
        self._failing = 0
        self._is_running = False
        self._is_asleep = False
        self._is_stopping = False
        # These belong to the thread.
        self._layer: Layer | None = None
        self._loop: asyncio.AbstractEventLoop
        self._awake: asyncio.Event

    def put(self, group: str, push: Push) -> None:
        """Take a push and return at once; where too many wait, it is dropped and counted. Raises nothing."""
        with self._lock:
            is_taken = not self._is_stopping and self._outbox.put(group, push)
            is_first_drop = not is_taken and self._count_dropped()
            must_start = is_taken and not self._is_running
            must_wake = is_taken and self._is_asleep
            self._is_running = self._is_running or must_start
            self._is_asleep = self._is_asleep and not must_wake
        if must_start:
            self._start()
        if must_wake:
            self._wake()
        if is_first_drop:
            logger.warning(
                "The event of task id=%s and those after it are not pushed: %s wait for the channel layer already, or "
                "this process is ending. Is the layer up and fast enough? Pages find what was logged at their next look.",
                push.about,
                self._limits.queue,
            )

    def start(self) -> None:
        """Start the thread ahead of its first push, which may come when none can be started: as the interpreter ends."""
        with self._lock:
            must_start = not self._is_running and not self._is_stopping
            self._is_running = self._is_running or must_start
        if must_start:
            self._start()

    def flush(self, timeout: float) -> bool:
        """Wait until nothing is left to send, for at most `timeout` seconds; return whether nothing is."""
        return self._wait_until(lambda: self._outbox.is_idle, timeout)

    def stop(self, timeout: float) -> bool:
        """Flush, then end the thread; return whether all was sent. What is put down later is dropped."""
        deadline = time.monotonic() + timeout
        is_all_sent = self.flush(timeout)
        with self._lock:
            self._is_stopping = True
            must_wake, self._is_asleep = self._is_asleep, False
        if must_wake:
            self._wake()
        self._wait_until(lambda: not self._is_running, deadline - time.monotonic())
        return is_all_sent

    def counters(self) -> Counters:
        """Return what became of the pushes so far."""
        with self._lock:
            return replace(self._counters, queued=self._outbox.depth)

    def _wait_until(self, is_so: Callable[[], bool], timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while True:
            with self._lock:
                if is_so():
                    return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(LOOK_EVERY)

    def _start(self) -> None:
        try:
            start_thread(self._run, name=THREAD_NAME)
        except RuntimeError as error:  # no more threads, or the interpreter is about to end
            with self._lock:
                self._is_running = False
            logger.error("Events cannot be sent (%s); the next one tries again.", error)  # noqa: TRY400

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._awake.set)
        except RuntimeError as error:  # `stop` was faster
            logger.debug("The thread that sends events has ended: %s", error)

    # From here on: in the thread.

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=SenderLoop) as runner:
                runner.run(self._send_all())
        except Exception:
            logger.exception("The thread that sends events ended; the next event starts it again.")
        finally:
            with self._lock:
                self._is_running = self._is_asleep = False

    async def _send_all(self) -> None:
        self._loop, self._awake = asyncio.get_running_loop(), asyncio.Event()
        self._layer = None
        slots = asyncio.Semaphore(self._limits.in_flight)
        async with asyncio.TaskGroup() as sends:
            while not self._is_stopping:
                # The slot comes first: what arrives while all are taken leaves in one batch.
                await slots.acquire()
                if batch := self._take():
                    sends.create_task(self._send(batch)).add_done_callback(lambda _: slots.release())
                else:
                    slots.release()
                    await self._awake.wait()
                    self._awake.clear()

    def _take(self) -> Batch | None:
        with self._lock:
            batch = self._outbox.take()
            self._is_asleep = batch is None and not self._is_stopping
            return batch

    async def _send(self, batch: Batch) -> None:
        try:
            async with asyncio.timeout(self._limits.deadline):
                await self._send_or_try_again(batch)
        except Exception as error:  # noqa: BLE001 - whatever a layer, its client and its serializer raise
            self._note_failed(batch, error)
        else:
            self._note_sent(batch)
        finally:
            self._loop.call_later(self._limits.gap, self._let_next, batch)

    def _let_next(self, batch: Batch) -> None:
        with self._lock:
            self._outbox.done(batch)
        self._awake.set()

    async def _send_or_try_again(self, batch: Batch) -> None:
        message = batch.message
        layer = self._layer = self._layer or self._open_layer()
        try:
            await layer.group_send(batch.group, message)
        except passing_errors():
            # A connection that was idle while the server went away and came back fails once, and only once.
            with self._lock:
                self._counters = replace(self._counters, retried=self._counters.retried + 1)
            await layer.group_send(batch.group, message)

    def _count_dropped(self) -> bool:
        """Count a dropped push; return whether it is the first since there was room."""
        self._counters = replace(self._counters, dropped=self._counters.dropped + 1)
        self._dropping += 1
        return self._dropping == 1

    def _note_sent(self, batch: Batch) -> None:
        with self._lock:
            self._counters = replace(self._counters, sent=self._counters.sent + len(batch.pushes))
            failed, self._failing = self._failing, 0
            # Room for half before it counts as over: else each event that fits between two that do not is a line.
            has_room = self._outbox.depth * 2 <= self._limits.queue
            dropped = self._dropping if has_room else 0
            self._dropping -= dropped
        if failed:
            logger.warning("The channel layer takes events again; %s could not be sent meanwhile.", failed)
        if dropped:
            logger.warning("There is room for events again; %s were not pushed meanwhile.", dropped)

    def _note_failed(self, batch: Batch, error: Exception) -> None:
        count = len(batch.pushes)
        with self._lock:
            self._counters = replace(self._counters, failed=self._counters.failed + count)
            is_first = not self._failing
            self._failing += count
        if is_first:
            logger.error(
                "Events of the tasks id=%s could not be sent: %s. The tasks themselves are not affected. Further "
                "failures are counted, and told once the layer takes events again.",
                ", ".join(push.about for push in batch.pushes),
                f"{type(error).__name__}: {error}",
                exc_info=error,
            )
