"""Web process. One listener, whatever carries the events to the page: their position, what waits for them, and who sends it.

The hub says what was heard, and never waits. One pump at a time sends: what waits, then what the log has, so the order
is that of the log, and a replay and what is heard meanwhile cannot overtake each other. It runs only while there is
something to send; a page that listens costs no task.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, NamedTuple

from tasks_celery.channels.access import Access
from tasks_celery.channels.events import EVENT, RESET, Heard, event_text, state_text
from tasks_celery.channels.listening.feed import Feed, Step, Then
from tasks_celery.channels.listening.hub import hub
from tasks_celery.channels.listening.ready import learn_names, ready_text
from tasks_celery.channels.log import EventLogError, Position

logger = logging.getLogger("tasks_celery.channels")

#: How many events, and characters of them, wait for a page that takes them slowly; the others it gets from the log.
MOST_WAITING: Final = 100
MOST_CHARACTERS: Final = 256_000
#: How many events a page that acknowledges them is ahead of what it has acknowledged at most.
WINDOW: Final = 200
#: Seconds before the log is asked again where it did not answer, the first time and at most.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
#: Seconds that a page that hangs may take to hear that it is closed.
CLOSE_WITHIN = 10.0


class Item(NamedTuple):
    """What is sent to a page: an event, that it is ready, or that events are missing."""

    position: Position | None
    text: str


class Subscription:
    """Sends a user's events to one page: those after `since`, or from now on.

    With `acks`, no more than WINDOW beyond those that `seen` names. `send` may wait for as long as the page takes; what it raises
    ends the subscription. `close` is told the code where the listener may listen no more. Both are called by one task at a time.
    """

    __slots__ = (
        "_acked",
        "_acks",
        "_characters",
        "_close",
        "_closing",
        "_hub",
        "_is_pumping",
        "_is_shut",
        "_pump",
        "_send",
        "_sent",
        "_turn",
        "_waiting",
        "access",
        "due",
        "feed",
        "stream",
    )

    def __init__(
        self,
        access: Access,
        *,
        since: Position | None,
        acks: bool,
        send: Callable[[Item], Awaitable[None]],
        close: Callable[[int], Awaitable[None]],
    ) -> None:
        self.access = access
        self.stream = access.stream
        self.feed = Feed(since)
        #: When the hub looks at it next; the hub's.
        self.due = 0
        self._acks, self._acked, self._sent = acks, since, since
        self._send, self._close = send, close
        self._waiting: list[Item] = []
        self._characters = 0
        self._hub = hub()
        self._is_pumping = self._is_shut = False
        self._pump: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._turn = 0

    async def open(self) -> None:
        """Join what the user is told, then read what they missed. Raise LayerError where the layer cannot be joined."""
        await learn_names()
        # Before the log is read: what comes between the two would be missed.
        await self._hub.add(self)
        self.go_on()

    async def shut(self) -> None:
        """Stop; when this returns, nothing of it runs any more."""
        self._stop()
        await self._hub.remove(self)
        tasks = {task for task in (self._pump, self._closing) if task and task is not asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def end(self, code: int) -> None:
        """Send nothing more, and have the page told `code`."""
        if not self._is_shut:
            self._stop()
            self._closing = _start(self._say_goodbye(code))

    def resume(self, position: Position) -> None:
        """Go on after `position`, as the page asks."""
        self._turn += 1
        self._forget_waiting()
        self.feed.resume(position)
        self._acked = self._sent = position
        self.go_on()

    def seen(self, position: Position) -> None:
        """Take note that the page has all events up to `position`."""
        if self._sent is None or self._acked is None or not self._sent.epoch == position.epoch == self._acked.epoch:
            return
        if self._acked.seq < position.seq <= self._sent.seq:
            self._acked = position
            self.go_on()

    # What the hub says.

    def hear(self, events: Sequence[Heard]) -> bool:
        """Take what the layer brought, without waiting; return whether the log's position should be looked at soon."""
        if self._is_shut:
            return False
        must_look = False
        for event in events:
            then = self.feed.hear(event.position, has_room=self._has_room())
            if then is Then.SEND:
                self._put(Item(*event))
            elif then is Then.LOOK:
                must_look = True
        self.go_on()
        return must_look

    def told_top(self, top: Position | None, *, asked: Position | None) -> None:
        """Compare with the log's last position, as it was after the feed was at `asked`."""
        self.feed.told_top(top, asked=asked)
        self.go_on()

    def doubt(self) -> None:
        """Read the log: it has more, as somebody says."""
        self.feed.doubt()
        self.go_on()

    # The pump.

    def go_on(self) -> None:
        """Send what there is to send, in a task if that has to wait."""
        if self._is_pumping or self._is_shut or not self._has_work():
            return
        self._is_pumping = True
        pump = _start(self._send_on())
        self._pump = pump if self._is_pumping else None

    async def _send_on(self) -> None:
        try:
            while not self._is_shut and self._has_work():
                if self._waiting:
                    await self._send_next()
                else:
                    await self._catch_up()
        except Exception as error:  # noqa: BLE001 - the server's or the view's: the page has gone
            logger.debug("A page that listens has gone: %s: %s", type(error).__name__, error)
            self._stop()
        finally:
            self._is_pumping = False
            self._pump = None

    def _has_work(self) -> bool:
        return bool(self._waiting or self.feed.is_behind) and not self._is_window_full()

    def _is_window_full(self) -> bool:
        if not self._acks or self._sent is None or self._acked is None:
            return False
        return self._sent.seq - self._acked.seq >= WINDOW

    async def _send_next(self) -> None:
        item = self._waiting.pop(0)
        self._characters -= len(item.text)
        self._sent = item.position or self._sent
        await self._send(item)

    async def _catch_up(self) -> None:
        turn, pause = self._turn, FIRST_PAUSE
        while True:
            try:
                answer = await self._hub.read(self.stream, self.feed.ask())
                break
            except EventLogError:  # the hub has said so
                await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311
                pause = min(2 * pause, LONGEST_PAUSE)
        if turn == self._turn:
            for step in self.feed.took(answer, room=MOST_CHARACTERS):
                if step.kind == RESET or self._acked is None:
                    # What came before need not be acknowledged.
                    self._acked = self._sent = step.position
                self._put(self._item(step))

    def _item(self, step: Step) -> Item:
        if step.kind == EVENT:
            return Item(step.position, event_text(step.body, step.position))
        if step.kind == RESET:
            return Item(step.position, state_text(RESET, step.position))
        return Item(step.position, ready_text(self.stream, step.position))

    def _has_room(self) -> bool:
        return len(self._waiting) < MOST_WAITING and self._characters < MOST_CHARACTERS

    def _put(self, item: Item) -> None:
        self._waiting.append(item)
        self._characters += len(item.text)

    def _forget_waiting(self) -> None:
        self._waiting.clear()
        self._characters = 0

    # The end.

    def _stop(self) -> None:
        self._is_shut = True
        self._forget_waiting()
        if self._pump is not None and self._pump is not asyncio.current_task():
            self._pump.cancel()

    async def _say_goodbye(self, code: int) -> None:
        try:
            async with asyncio.timeout(CLOSE_WITHIN):
                await self._close(code)
        except Exception as error:  # noqa: BLE001 - the server's or the view's
            logger.debug("A page could not be told that it is closed: %s: %s", type(error).__name__, error)


def _start(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Start a task; where Python can, it runs at once up to where it has to wait, which for most it never has."""
    loop = asyncio.get_running_loop()
    if sys.version_info >= (3, 12):
        return asyncio.Task(work, loop=loop, eager_start=True)
    return loop.create_task(work)
