"""Both. Events as rows of the project's database: a row for each stream, which counts, and one for each event.

The row of a stream is changed before the event is written, and stays locked until the transaction ends: so events are
committed in the order of their numbers, and who sees one sees all before it. (Ids that a database gives out are taken before
the commit: who goes by them misses what is committed later.) Inside a transaction of the caller's an event is part of
it; such a transaction should be short, for others who tell the same user something wait for it.

Connections are Django's, one for each thread; one that the server has closed meanwhile is made anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from functools import wraps
from itertools import count
from secrets import token_hex
from typing import Any, Concatenate, ParamSpec, TypeVar

from django.core.exceptions import SynchronousOnlyOperation
from django.db import DEFAULT_DB_ALIAS, DataError, IntegrityError, connections, transaction
from django.db.models import F, Q, QuerySet

from tasks_celery.channels.log.base import (
    NOTIFIED_ON,
    READ_AT_ONCE,
    Cursor,
    Entry,
    EventLogError,
    Position,
    Slice,
    slice_of,
)
from tasks_celery.database.door import through_the_door
from tasks_celery.database.models import TaskEvent, TaskEventStream
from tasks_celery.database.rows import to_column
from tasks_celery.exceptions import StoreError

# So many of the last events are looked at for one that may be there already.
LAST = 100
# With so many events of a stream, those that are too many are removed, and those that are too old.
TRIM_EVERY, AGE_EVERY = 16, 256
# Names that a statement asks for, and rows that it removes; SQLite takes 999 values.
BATCH = 500
# Cursors that a statement reads for, READ_AT_ONCE events each at most.
READS = 20
# A row that is not there may be made and removed again by others, but not for ever.
LOOKS = 5
# What one event is refused for, and not the others.
UNFIT = (DataError, IntegrityError, ValueError, OverflowError)
# As far back as every database counts.
LONGEST = timedelta(days=36_500)

P = ParamSpec("P")
T = TypeVar("T")


def _asking(
    method: Callable[Concatenate[DatabaseLog, P], T],
) -> Callable[Concatenate[DatabaseLog, P], T]:
    """Let a method go through the door of the database, and raise nothing but EventLogError."""
    guarded = through_the_door(method)

    @wraps(method)
    def asking(self: DatabaseLog, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return guarded(self, *args, **kwargs)
        except StoreError as error:
            cause = error.__cause__ or error
            raise _error_of(self.alias, cause) from cause

    return asking


class DatabaseLog:
    """Keeps events in the database `alias`. `timeout` is how many seconds a locked SQLite is asked again, and an event waits
    for another's transaction in PostgreSQL. With `notifies`, PostgreSQL tells on NOTIFIED_ON which stream has news.
    """

    def __init__(self, alias: str, *, keep: int, keep_for: float, timeout: float, notifies: bool = False) -> None:
        self.alias = alias
        self.timeout = timeout
        self._keep = keep
        self._keep_for = timedelta(seconds=min(keep_for, LONGEST.total_seconds()))
        self._notifies = notifies

    def append(self, entries: Sequence[Entry], *, again: bool = False) -> list[Position | EventLogError | None]:
        try:
            return self._append(entries, count(1 if again else 0))
        except EventLogError as error:
            return [error for _ in entries]

    @_asking
    def _append(self, entries: Sequence[Entry], tries: Iterator[int]) -> list[Position | EventLogError | None]:
        # What was asked over a connection that broke may have been done.
        again = next(tries) > 0
        found: list[Position | EventLogError | None] = [None] * len(entries)
        keep = self._keep_event if len(entries) == 1 else self._keep_or_refuse
        with self._transaction():
            # By name, so that two who tell the same users something do not wait for each other.
            for place in sorted(range(len(entries)), key=lambda each: entries[each].stream):
                found[place] = keep(entries[place], again)
        return found

    @_asking
    def read(self, cursors: Sequence[Cursor]) -> list[Slice]:
        streams = [cursor.stream for cursor in cursors]
        with self._unbroken():
            tops = self._tops(streams)
            if missing := sorted(set(streams) - set(tops)):
                self._begin(missing)
                tops |= self._tops(missing)
            return [answer for some in _batches(cursors, READS) for answer in self._read(some, tops)]

    @_asking
    def tops(self, streams: Sequence[str]) -> list[Position | None]:
        with self._unbroken():
            tops = self._tops(streams)
        return [tops.get(each) for each in streams]

    @_asking
    def tidy(self) -> None:
        aged = self._events().filter(created__lt=self._oldest()).order_by("created").values_list("pk", flat=True)
        while ids := list(aged[:BATCH]):
            self._events().filter(pk__in=ids).delete()
        unused = self._streams().filter(used__lt=self._oldest()).values_list("pk", flat=True)
        while names := list(unused[:BATCH]):
            for name in names:
                self._remove(name)

    # One event.

    def _keep_or_refuse(self, entry: Entry, again: bool) -> Position | EventLogError:
        try:
            with transaction.atomic(using=self.alias):
                return self._keep_event(entry, again)
        except UNFIT as error:
            return _error_of(self.alias, error)

    def _keep_event(self, entry: Entry, again: bool) -> Position:
        if again and (known := self._known(entry)):
            return known
        top = self._change(entry.stream, seq=F("seq") + 1)
        if top.seq == 1:
            # Where a stream's row was removed by hand, there may be events of its former epoch.
            self._events().filter(stream=entry.stream).delete()
        row = TaskEvent(stream=entry.stream, seq=top.seq, key=entry.key, body=entry.body, created=_now())
        # Not save(): no receiver of anybody's may come between a number and its event.
        self._events().bulk_create([row])
        if top.seq % TRIM_EVERY == 0:
            self._trim(entry.stream, top.seq)
        self._notify(entry.stream)
        return top

    def _known(self, entry: Entry) -> Position | None:
        # Locked first: whoever is still writing the event has done so then.
        epoch, seq = self._change(entry.stream)
        rows = self._events().filter(stream=entry.stream, key=entry.key, seq__gt=seq - LAST, seq__lte=seq)
        known = rows.values_list("seq", flat=True).first()
        return None if known is None else Position(epoch, known)

    def _change(self, stream: str, **columns: Any) -> Position:
        """Change the row of a stream, which locks it, and return its top."""
        row = self._streams().filter(pk=stream)
        for _ in range(LOOKS):
            if row.update(**columns, used=_now()):
                return Position(*row.values_list("epoch", "seq").get())
            self._begin([stream])
        raise StoreError(f"The stream {stream!r} was removed by others {LOOKS} times while it was to be written.")

    def _begin(self, streams: Sequence[str]) -> None:
        rows = [TaskEventStream(name=name, epoch=token_hex(6), seq=0, used=_now()) for name in streams]
        self._streams().bulk_create(rows, ignore_conflicts=True, batch_size=BATCH)

    def _trim(self, stream: str, seq: int) -> None:
        gone = Q(seq__lte=seq - self._keep)
        if seq % AGE_EVERY == 0:
            gone |= Q(created__lt=self._oldest())
        self._events().filter(gone, stream=stream).delete()

    def _notify(self, stream: str) -> None:
        connection = connections[self.alias]
        if self._notifies and connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_notify(%s, %s)", [NOTIFIED_ON, stream])

    # Many.

    def _tops(self, streams: Sequence[str]) -> dict[str, Position]:
        """Return the tops of those that are there, and keep them from ageing."""
        now, found = _now(), {}
        for names in _batches(sorted(set(streams)), BATCH):
            rows = list(self._streams().filter(pk__in=names).values_list("name", "epoch", "seq", "used"))
            found.update({name: Position(epoch, seq) for name, epoch, seq, _ in rows})
            if ageing := [name for name, _, _, used in rows if used < now - self._keep_for / 2]:
                self._streams().filter(pk__in=ageing).update(used=now)
        return found

    def _read(self, cursors: Sequence[Cursor], tops: Mapping[str, Position]) -> list[Slice]:
        wanted = {(cursor.stream, self._range(cursor, tops[cursor.stream])) for cursor in cursors}
        bodies = self._bodies({(stream, numbers) for stream, numbers in wanted if numbers})
        return [self._slice(cursor, tops[cursor.stream], bodies) for cursor in cursors]

    def _range(self, cursor: Cursor, top: Position) -> range:
        """Return the numbers of the events that are to be read."""
        if cursor.since is None or slice_of(top, self._first(top), cursor.since):
            return range(0)
        first = cursor.since.seq + 1
        return range(first, min(top.seq + 1, first + READ_AT_ONCE))

    def _slice(self, cursor: Cursor, top: Position, bodies: Mapping[tuple[str, int], str]) -> Slice:
        places = [(cursor.stream, seq) for seq in self._range(cursor, top)]
        # Removed since the top was read, or by age, which goes by the clocks of several machines.
        missing = [seq for stream, seq in places if (stream, seq) not in bodies]
        oldest = missing[-1] + 1 if missing else self._first(top)
        return slice_of(top, oldest, cursor.since) or Slice(top, tuple(bodies[place] for place in places))

    def _first(self, top: Position) -> int:
        """Return the number of the first event that counts: more may be there, for they are not removed one by one."""
        return max(1, top.seq - self._keep + 1)

    def _bodies(self, ranges: set[tuple[str, range]]) -> dict[tuple[str, int], str]:
        if not ranges:
            return {}
        wanted = Q()
        for stream, numbers in sorted(ranges, key=str):
            wanted |= Q(stream=stream, seq__gte=numbers.start, seq__lt=numbers.stop)
        rows = self._events().filter(wanted, created__gte=self._oldest())
        return {(stream, seq): body for stream, seq, body in rows.values_list("stream", "seq", "body")}

    def _remove(self, stream: str) -> None:
        """Remove a stream that nobody has used meanwhile, and what it has left."""
        with transaction.atomic(using=self.alias):
            removed, _ = self._streams().filter(pk=stream, used__lt=self._oldest()).delete()
            if removed:
                self._events().filter(stream=stream).delete()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """A savepoint in the caller's transaction, else one of our own, in which an event does not wait for ever."""
        connection = connections[self.alias]
        is_own = not connection.in_atomic_block
        with transaction.atomic(using=self.alias):
            if is_own and connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    # For this transaction alone. MySQL has its innodb_lock_wait_timeout, SQLite waits as DATABASES says.
                    cursor.execute(
                        "SELECT set_config('lock_timeout', %s, true)", [f"{max(1, int(self.timeout * 1000))}ms"]
                    )
            yield

    def _unbroken(self) -> AbstractContextManager[None]:
        """Return a savepoint inside a transaction, which a failure would else end; outside of one it is not worth it."""
        in_transaction = connections[self.alias].in_atomic_block
        return transaction.atomic(using=self.alias) if in_transaction else nullcontext()

    def _streams(self) -> QuerySet[TaskEventStream]:
        return TaskEventStream._default_manager.using(self.alias)

    def _events(self) -> QuerySet[TaskEvent]:
        return TaskEvent._default_manager.using(self.alias)

    def _oldest(self) -> datetime:
        return _now() - self._keep_for


def _now() -> datetime:
    return to_column(datetime.now(UTC))


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _error_of(alias: str, error: BaseException) -> EventLogError:
    if isinstance(error, SynchronousOnlyOperation):
        advice = "Django asks no database from an event loop: call it in a thread (asgiref.sync.sync_to_async)."
    else:
        migrate = "manage.py migrate" + ("" if alias == DEFAULT_DB_ALIAS else f" --database={alias}")
        advice = f"Check TASK_EVENTS['LOG'] and DATABASES, that the database runs, and that `{migrate}` has been run."
    # PostgreSQL's further lines may quote the statement, arguments and all.
    said = str(error).partition("\n")[0]
    known = EventLogError(
        f"The log of events (database {alias!r}) did not do what was asked: {type(error).__name__}: {said}. {advice}"
    )
    known.__cause__ = error
    return known
