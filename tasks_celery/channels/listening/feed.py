"""Web process. Where one listener is in their stream, and what follows from what comes next. Decides; sends and waits for nothing.

The layer may lose, double and reorder what it brings, so it is taken as a hint: what follows the last event is sent, what
leaves a gap is read from the log.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from tasks_celery.channels.events import EVENT, READY, RESET
from tasks_celery.channels.log import Position, Slice


class Then(Enum):
    """What is to be done with an event that the layer brought."""

    #: It is the next one.
    SEND = "send"
    #: It was sent, or comes from the log.
    DROP = "drop"
    #: The log has to be read.
    READ = "read"
    #: Its number was seen. As a rule it is late; but it may be another, of a log that went back to an older copy.
    LOOK = "look"


class Step(NamedTuple):
    """What a listener is told next: `kind` is EVENT, with its body, READY or RESET."""

    kind: str
    position: Position | None
    body: str = ""


class Feed:
    """What one listener is told: every event after `since`, in order, once; or that some are gone.

    `last` is the position up to which they have been told, None where no log is kept. While `is_behind`, what follows is
    read from the log.
    """

    __slots__ = ("_ahead", "_doubts", "_owes_ready", "_owes_reset", "is_behind", "last")

    last: Position | None
    is_behind: bool

    def __init__(self, since: Position | None) -> None:
        self.resume(since)

    def resume(self, since: Position | None) -> None:
        """Begin anew after `since`; None is the end of the stream, wherever that is."""
        self.last = since
        self._owes_ready = True
        self._owes_reset = False
        self.fall_behind()

    def fall_behind(self) -> None:
        """Go on from the log."""
        self.is_behind = True
        # What was heard since the log was asked, and need not be in its answer.
        self._ahead: Position | None = None
        self._doubts = False

    def hear(self, position: Position | None, *, has_room: bool = True) -> Then:
        """Take note of an event that the layer brought; without room for it, it is read from the log later."""
        if self.is_behind:
            self._note_ahead(position)
            return Then.DROP
        if position is None or self.last is None:
            return Then.SEND if has_room else Then.DROP
        if position.epoch == self.last.epoch and position.seq <= self.last.seq:
            return Then.LOOK
        if has_room and position == (self.last.epoch, self.last.seq + 1):
            self.last = position
            return Then.SEND
        self.fall_behind()
        return Then.READ

    def ask(self) -> Position | None:
        """Return from where the log is to be read. What is heard from now on may be missing in its answer."""
        self._ahead, self._doubts = None, False
        return None if self._owes_reset else self.last

    def took(self, answer: Slice, *, room: int) -> list[Step]:
        """Return what the log's answer has to tell; of its events at least one, and else those with `room` characters."""
        top = answer.top
        if top is None:  # no log is kept
            self.last, self.is_behind = None, False
            return self._ready()
        steps: list[Step] = []
        if self._is_lost(answer, top):
            self.last, self._owes_ready, self._owes_reset = top, True, False
            steps.append(Step(RESET, top))
        elif self.last is None:
            self.last = top
        else:
            steps += self._events(self.last, answer.bodies, room)
        if self.last == top:
            steps += self._ready()
        self.is_behind = self.last != top or self._doubts or self._is_ahead()
        return steps

    def told_top(self, top: Position | None, *, asked: Position | None) -> None:
        """Compare with the log's last position; `asked` is where the listener was when it was asked for."""
        if self.last is None:
            return
        if top and asked and top.epoch == asked.epoch == self.last.epoch and top.seq < asked.seq:
            # The log went back to an older copy, and gives these numbers to other events now.
            self._owes_reset = True
            self.doubt()
        elif not top or top.epoch != self.last.epoch or top.seq > self.last.seq:
            self.doubt()

    def doubt(self) -> None:
        """Read the log, again if that is being done."""
        if self.is_behind:
            self._doubts = True
        else:
            self.fall_behind()

    def _is_lost(self, answer: Slice, top: Position) -> bool:
        # An answer that brings nothing on, though there is more, would be asked for without end.
        is_stuck = not answer.bodies and self.last is not None and self.last != top
        return answer.is_lost or self._owes_reset or is_stuck

    def _events(self, last: Position, bodies: tuple[str, ...], room: int) -> list[Step]:
        steps: list[Step] = []
        for body in bodies:
            if room <= 0:
                break
            last = Position(last.epoch, last.seq + 1)
            steps.append(Step(EVENT, last, body))
            room -= len(body)
        self.last = last
        return steps

    def _ready(self) -> list[Step]:
        steps = [Step(READY, self.last)] if self._owes_ready else []
        self._owes_ready = False
        return steps

    def _note_ahead(self, position: Position | None) -> None:
        if position is None:
            return
        if self._ahead is not None and position.epoch != self._ahead.epoch:
            self._doubts = True  # which of the two is the later one, only the log knows
        if self._ahead is None or position.seq > self._ahead.seq:
            self._ahead = position

    def _is_ahead(self) -> bool:
        if self._ahead is None or self.last is None:
            return False
        return self._ahead.epoch != self.last.epoch or self._ahead.seq > self.last.seq
