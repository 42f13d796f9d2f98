"""Both. What every log of events does: a stream for each user, numbered without a gap, written before the push."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from tasks_celery.exceptions import TasksCeleryError

#: The channel on which PostgreSQL tells the name of each stream that has news.
NOTIFIED_ON = "tasks_celery_events"
#: How many events one read returns of a stream at most; the reader asks on from the last.
READ_AT_ONCE = 200


class EventLogError(TasksCeleryError):
    """The log of events did not answer."""


class Position(NamedTuple):
    """A place in one user's stream: `seq` counts its events from 1 without a gap, within one `epoch`.

    The epoch changes when the stream had to be begun afresh: positions of another one mean nothing.
    As text it is ``epoch:seq``.
    """

    epoch: str
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.seq}"


class Entry(NamedTuple):
    """An event to be kept: `key` tells it from all others of its stream, `body` is its JSON, without position."""

    stream: str
    key: str
    body: str


class Cursor(NamedTuple):
    """From where on a stream is read; without `since`, nothing is, and only the position is told."""

    stream: str
    since: Position | None = None


@dataclass(frozen=True, slots=True)
class Slice:
    """What one stream holds after a cursor.

    `top` is the position of its last event; None where no log is kept. `bodies` are those of the events after the
    cursor, in order and without a gap, at most READ_AT_ONCE: where these end before the top, there are more. `is_lost` is whether
    the cursor's place is gone: another epoch, events after it that are kept no more, or a place that never was. Then
    there are no bodies, and who reads has to fetch its state afresh and go on from the top.
    """

    top: Position | None
    bodies: tuple[str, ...] = ()
    is_lost: bool = False


class Log(Protocol):
    """Where events are kept. Calls block; each stream's changes are atomic."""

    def append(self, entries: Sequence[Entry], *, again: bool = False) -> list[Position | EventLogError | None]:
        """Keep events, in order, and return the position of each, or an error for one that may not be kept.

        With `again`, an event whose key is among the last of its stream is not kept twice: its position is told. The
        position is None where no log is kept. Where the caller is in a transaction of the log's database, it is part of it.
        Raises nothing.
        """

    def read(self, cursors: Sequence[Cursor]) -> list[Slice]:
        """Return what is after each cursor, all in one question. Raise EventLogError.

        A stream that has none yet begins here: its top is then seq 0 of an epoch that its first event will have.
        """

    def tops(self, streams: Sequence[str]) -> list[Position | None]:
        """Return the position of the last event of each stream, all in one question. Raise EventLogError.

        None for a stream that is not there (any more). One that is asked for is kept from ageing.
        """

    def tidy(self) -> None:
        """Remove what is older than it is to be kept. Raise EventLogError."""


def slice_of(top: Position, oldest: int, since: Position | None) -> Slice | None:
    """Return the answer to a cursor that needs no reading, None where events are to be read.

    `oldest` is the number of the first event that is still kept: one above the top's where there is none.
    """
    if since is None or since == top:
        return Slice(top)
    if since.epoch != top.epoch or not oldest - 1 <= since.seq < top.seq:
        return Slice(top, is_lost=True)
    return None
