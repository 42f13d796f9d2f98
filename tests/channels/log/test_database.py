"""What is the database's own in the log of events: SQLite here, and PostgreSQL in integration/events/test_logs.py."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.core.exceptions import SynchronousOnlyOperation
from django.db import DatabaseError, OperationalError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext, override_settings
from pytest_django.plugin import DjangoDbBlocker

from tasks_celery.channels.log import Cursor, EventLogError, Position
from tasks_celery.channels.log import database as module
from tasks_celery.channels.log.database import BATCH, DatabaseLog
from tasks_celery.database.models import TaskEvent, TaskEventStream
from tasks_celery.database.rows import to_column
from tests.channels.log.cases import a_stream, an_entry, begun, follow, kept
from tests.channels.log.test_contract import OPTIONS, in_the_database
from tests.database.places import known_as, migrated_as

outside_a_transaction = pytest.mark.django_db(transaction=True)


@pytest.fixture
def log() -> DatabaseLog:
    return in_the_database()


@pytest.fixture
def unguarded(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Let a test ask databases that pytest-django knows nothing of."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture
def file(tmp_path: Path, unguarded: None) -> Iterator[Path]:
    """A file of SQLite that does not wait for a lock by itself, known as "file"."""
    path = tmp_path / "db.sqlite3"
    with migrated_as("file", NAME=str(path), OPTIONS={"timeout": 0}):
        yield path


def in_file(**options: Any) -> DatabaseLog:
    return DatabaseLog("file", **{**OPTIONS, "timeout": 20, **options})


def raised_by(log: DatabaseLog) -> list[EventLogError]:
    """Return the error of each call; two events, and each has one."""
    found: list[Any] = [*log.append([an_entry("s")]), *log.append([an_entry("s"), an_entry("t")])]
    asks: list[Callable[[], object]] = [lambda: log.read([Cursor("s")]), lambda: log.tops(["s"]), log.tidy]
    for ask in asks:
        with pytest.raises(EventLogError) as caught:
            ask()
        found.append(caught.value)
    assert [type(each) for each in found] == [EventLogError] * 6
    return found


# --- refusals


def test_a_database_that_is_not_configured_is_an_error() -> None:
    for error in raised_by(DatabaseLog("nowhere", **OPTIONS, timeout=5)):
        assert "database 'nowhere'" in str(error)
        assert "--database=nowhere" in str(error)


def test_a_table_that_is_missing_is_an_error_that_says_to_migrate(tmp_path: Path, unguarded: None) -> None:
    with known_as("bare", NAME=str(tmp_path / "bare.sqlite3")):
        for error in raised_by(DatabaseLog("bare", **OPTIONS, timeout=5)):
            assert "no such table" in str(error)
            assert "`manage.py migrate --database=bare`" in str(error)
            assert isinstance(error.__cause__, DatabaseError)


@outside_a_transaction
def test_an_event_loop_is_told_to_use_a_thread(log: DatabaseLog) -> None:
    async def in_a_loop() -> None:
        for error in raised_by(log):
            assert "event loop: call it in a thread" in str(error)
            assert isinstance(error.__cause__, SynchronousOnlyOperation)

    asyncio.run(in_a_loop())
    assert not TaskEventStream.objects.exists()


@pytest.mark.django_db
def test_an_error_quotes_nothing_beyond_the_first_line(log: DatabaseLog, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> None:
        raise DatabaseError("it was refused\nDETAIL: Failing row contains (secret).")

    for name in ("_keep_event", "_streams", "_events"):
        monkeypatch.setattr(log, name, refuse)
    for error in raised_by(log):
        assert "it was refused" in str(error)
        assert "secret" not in str(error)


@pytest.mark.django_db
@pytest.mark.parametrize("wrong", [{"body": "\ud800"}, {"key": "\udfff"}, {"stream": "\ud800"}], ids=str)
def test_an_event_that_a_column_cannot_hold_is_refused_and_no_other(log: DatabaseLog, wrong: dict[str, str]) -> None:
    stream = a_stream()
    before, odd, after = an_entry(stream), an_entry(stream)._replace(**wrong), an_entry(stream)
    found = log.append([before, odd, after])
    assert isinstance(found[1], EventLogError)
    assert isinstance(found[0], Position)
    assert found[2] == Position(found[0].epoch, 2)
    (alone,) = log.append([odd])
    assert isinstance(alone, EventLogError)
    assert kept(log, an_entry(stream))[0].seq == 3


@pytest.mark.django_db
def test_a_stream_that_others_remove_all_the_time_is_an_error(
    log: DatabaseLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "_begin", lambda streams: None)
    (found,) = log.append([an_entry("s")])
    assert isinstance(found, EventLogError)
    assert "removed by others" in str(found)


@pytest.mark.django_db
def test_a_transaction_that_is_broken_already_is_an_error(log: DatabaseLog) -> None:
    with transaction.atomic():
        transaction.set_rollback(True)
        for error in raised_by(log):
            assert "TransactionManagementError" in str(error)


# --- transactions of the caller's


@outside_a_transaction
def test_a_transaction_that_is_rolled_back_leaves_no_event_and_no_number(log: DatabaseLog) -> None:
    stream = a_stream()
    first = kept(log, an_entry(stream))[0]
    with transaction.atomic():
        assert kept(log, an_entry(stream))[0].seq == 2
        assert kept(log, an_entry(stream), an_entry(a_stream()))[0].seq == 3
        transaction.set_rollback(True)
    assert log.tops([stream]) == [first]
    assert (TaskEvent.objects.count(), TaskEventStream.objects.count()) == (1, 1)
    assert kept(log, an_entry(stream)) == [Position(first.epoch, 2)]


@outside_a_transaction
def test_an_event_is_committed_with_the_callers_transaction(log: DatabaseLog) -> None:
    stream, entry = a_stream(), an_entry("")
    with transaction.atomic():
        (top,) = kept(log, entry._replace(stream=stream))
    assert follow(log, stream, Position(top.epoch, 0)) == [entry.body]


@outside_a_transaction
@pytest.mark.parametrize("count", [1, 3])
def test_an_event_that_fails_does_not_break_the_callers_transaction(
    log: DatabaseLog, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    stream = a_stream()
    first = kept(log, an_entry(stream))[0]

    def fail(*args: Any) -> None:
        # After the number is counted, and by the database itself.
        with connection.cursor() as cursor:
            cursor.execute("SELECT nothing FROM nowhere")

    with transaction.atomic():
        with monkeypatch.context() as patch:
            patch.setattr(log, "_notify", fail)
            found = log.append([an_entry(stream) for _ in range(count)])
            assert [type(each) for each in found] == [EventLogError] * count
        assert kept(log, an_entry(stream)) == [Position(first.epoch, 2)]
    assert log.tops([stream]) == [Position(first.epoch, 2)]
    assert TaskEvent.objects.count() == 2


@outside_a_transaction
def test_a_question_that_fails_does_not_break_the_callers_transaction(
    log: DatabaseLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = a_stream()

    def fail(*args: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO nowhere VALUES (1)")

    with transaction.atomic():
        with monkeypatch.context() as patch:
            patch.setattr(log, "_tops", fail)
            for ask in (lambda: log.read([Cursor(stream)]), lambda: log.tops([stream])):
                with pytest.raises(EventLogError):
                    ask()
        kept(log, an_entry(stream))
    assert log.tops([stream]) != [None]


# --- what it costs


def statements(log: DatabaseLog, *entries: Any, again: bool = False) -> list[str]:
    with CaptureQueriesContext(connection) as seen:
        kept(log, *entries, again=again)
    return [query["sql"].split()[0] for query in seen]


@outside_a_transaction
def test_an_event_costs_three_statements_of_a_transaction(log: DatabaseLog) -> None:
    stream = a_stream()
    kept(log, an_entry(stream))
    assert statements(log, an_entry(stream)) == ["BEGIN", "UPDATE", "SELECT", "INSERT", "COMMIT"]
    with transaction.atomic():
        assert statements(log, an_entry(stream)) == ["SAVEPOINT", "UPDATE", "SELECT", "INSERT", "RELEASE"]


@outside_a_transaction
def test_events_of_many_streams_are_one_transaction(log: DatabaseLog) -> None:
    found = statements(log, *(an_entry(a_stream()) for _ in range(10)))
    assert (found.count("BEGIN"), found.count("COMMIT")) == (1, 1)


@outside_a_transaction
def test_many_streams_are_asked_for_with_few_statements(log: DatabaseLog) -> None:
    streams = [a_stream() for _ in range(60)]
    starts = [slice_.top for slice_ in log.read([Cursor(stream) for stream in streams])]
    kept(log, *(an_entry(stream) for stream in streams))
    with CaptureQueriesContext(connection) as seen:
        log.tops(streams)
    assert len(seen) == 1
    with CaptureQueriesContext(connection) as seen:
        log.read([Cursor(stream, start) for stream, start in zip(streams, starts, strict=True)])
    assert len(seen) == 1 + 3
    tops = log.tops(streams)
    with CaptureQueriesContext(connection) as seen:
        log.read([Cursor(stream, top) for stream, top in zip(streams, tops, strict=True)])
    assert len(seen) == 1


@outside_a_transaction
def test_two_who_tell_the_same_users_write_them_in_the_same_order(log: DatabaseLog) -> None:
    one, two, three = sorted(a_stream() for _ in range(3))
    with CaptureQueriesContext(connection) as seen:
        kept(log, an_entry(three), an_entry(one), an_entry(two))
    changed = [query["sql"] for query in seen if query["sql"].startswith("UPDATE")]
    named = [next(name for name in (one, two, three) if name in sql) for sql in changed]
    assert named == sorted(named)


@outside_a_transaction
def test_nobody_is_told_of_rows_by_signal(log: DatabaseLog) -> None:
    # A receiver that raised would come between a number and its event.
    from django.db.models.signals import post_save, pre_save

    with mock.patch.object(pre_save, "send") as before, mock.patch.object(post_save, "send") as after:
        kept(log, an_entry(a_stream()))
    assert not before.called
    assert not after.called


@outside_a_transaction
def test_no_channel_is_told_where_it_is_not_postgresql() -> None:
    stream = a_stream()
    log = in_the_database(notifies=True)
    kept(log, an_entry(stream))
    assert statements(log, an_entry(stream)) == ["BEGIN", "UPDATE", "SELECT", "INSERT", "COMMIT"]


# --- locks and connections


def test_a_lock_is_waited_for(file: Path) -> None:
    log = in_file()
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        freeing = threading.Timer(0.1, other.execute, ["COMMIT"])
        freeing.start()
        assert kept(log, an_entry("s"))[0].seq == 1
        freeing.join()


def test_a_lock_is_not_waited_for_longer_than_the_timeout(file: Path) -> None:
    log = in_file(timeout=0.1)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for error in raised_by(log):
            assert "database is locked" in str(error)
    assert log.tops(["s"]) == [None]


def test_many_threads_write_one_file(file: Path) -> None:
    log, starts = in_file(), threading.Barrier(4)

    def write() -> None:
        starts.wait(10)
        try:
            for _ in range(10):
                kept(log, an_entry("s"), an_entry("t"))
        finally:
            connections["file"].close()

    writers = [threading.Thread(target=write) for _ in range(4)]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    tops = log.tops(["s", "t"])
    assert [top and top.seq for top in tops] == [40, 40]
    assert tops[0] is not None
    assert len(set(follow(log, "s", Position(tops[0].epoch, 0)))) == 40


@pytest.mark.parametrize("is_done", [True, False])
def test_an_event_whose_commit_was_not_answered_is_kept_once(file: Path, is_done: bool) -> None:
    log, entry = in_file(), an_entry("s")
    start = begun(log, "s")
    place = connections["file"]
    commit, lost = place._commit, iter([True])

    def lose() -> None:
        if not next(lost, False):
            return commit()
        if is_done:
            commit()
        place.errors_occurred = True
        raise OperationalError("server closed the connection unexpectedly")

    with mock.patch.object(place, "_commit", lose), mock.patch.object(place, "is_usable", return_value=False):
        assert kept(log, entry) == [Position(start.epoch, 1)]
    assert next(lost, None) is None
    assert follow(log, "s", start) == [entry.body]


# --- what is removed


@outside_a_transaction
def test_events_are_removed_from_time_to_time(log: DatabaseLog) -> None:
    log, stream, most = in_the_database(keep=5), a_stream(), 0
    for _ in range(60):
        kept(log, an_entry(stream))
        most = max(most, TaskEvent.objects.count())
    assert 5 < most <= 5 + module.TRIM_EVERY


@pytest.mark.django_db
def test_events_that_are_too_old_leave_a_busy_stream(log: DatabaseLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGE_EVERY", 16)
    stream = a_stream()
    kept(log, *(an_entry(stream) for _ in range(10)))
    age(TaskEvent.objects.all(), "created")
    kept(log, *(an_entry(stream) for _ in range(10)))
    assert TaskEvent.objects.count() == 10


def now() -> datetime:
    return to_column(datetime.now(UTC))


def age(rows: Any, column: str, hours: float = 1.1) -> None:
    rows.update(**{column: now() - timedelta(hours=hours)})


@pytest.mark.django_db
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", None])
def test_tidying_removes_what_is_too_old_in_batches(log: DatabaseLog, zone: str | None) -> None:
    with override_settings(USE_TZ=zone is not None, TIME_ZONE=zone or "America/Los_Angeles"):
        stream, other = a_stream(), a_stream()
        start = begun(log, stream)
        kept(log, *(an_entry(stream) for _ in range(10)))
        fill = [TaskEvent(stream=other, seq=seq, key="", body="", created=now()) for seq in range(1, 2 * BATCH + 2)]
        TaskEvent.objects.bulk_create(fill)
        age(TaskEvent.objects.exclude(stream=stream, seq__gt=4), "created")
        with CaptureQueriesContext(connection) as seen:
            log.tidy()
        assert sum(query["sql"].startswith("DELETE") for query in seen) == 3
        assert list(TaskEvent.objects.order_by("seq").values_list("seq", flat=True)) == [5, 6, 7, 8, 9, 10]
        assert log.read([Cursor(stream, start)])[0].is_lost
        assert len(follow(log, stream, Position(start.epoch, 4))) == 6


@pytest.mark.django_db
def test_a_stream_that_nobody_has_used_for_long_is_removed_and_begins_afresh(log: DatabaseLog) -> None:
    gone, stays = a_stream(), a_stream()
    old, other = kept(log, an_entry(gone))[0], kept(log, an_entry(stays))[0]
    age(TaskEventStream.objects.filter(name=gone), "used")
    log.tidy()
    assert log.tops([gone, stays]) == [None, other]
    assert TaskEvent.objects.get().stream == stays
    assert log.read([Cursor(gone, old)])[0].is_lost
    assert kept(log, an_entry(gone))[0].seq == 1


@pytest.mark.django_db
def test_a_stream_that_is_used_while_it_is_to_be_removed_stays(log: DatabaseLog) -> None:
    stream = a_stream()
    top = kept(log, an_entry(stream))[0]
    log._remove(stream)
    assert log.tops([stream]) == [top]
    assert TaskEvent.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("ask", ["append", "read", "tops"])
def test_a_stream_that_is_asked_for_does_not_age_away(log: DatabaseLog, ask: str) -> None:
    stream = a_stream()
    begun(log, stream)
    age(TaskEventStream.objects.all(), "used", hours=0.9)
    {
        "append": lambda: kept(log, an_entry(stream)),
        "read": lambda: begun(log, stream),
        "tops": lambda: log.tops([stream]),
    }[ask]()
    age(TaskEventStream.objects.filter(used__lt=now() - timedelta(minutes=50)), "used", hours=2)
    log.tidy()
    assert log.tops([stream]) != [None]


@pytest.mark.django_db
def test_events_of_a_former_epoch_are_nobodys(log: DatabaseLog) -> None:
    # Somebody has removed the row of the stream by hand.
    stream = a_stream()
    old = kept(log, *(an_entry(stream) for _ in range(5)))[-1]
    TaskEventStream.objects.all().delete()
    start = begun(log, stream)
    assert log.read([Cursor(stream, old), Cursor(stream, start)]) == [
        mock.ANY,
        log.read([Cursor(stream)])[0],
    ]
    entry = an_entry(stream)
    assert kept(log, entry, again=True) == [Position(start.epoch, 1)]
    assert follow(log, stream, start) == [entry.body]
    assert TaskEvent.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("gone", [[1], [3], [6], [2, 3, 4], [1, 6]], ids=str)
def test_a_gap_that_somebody_made_is_not_passed_over(log: DatabaseLog, gone: list[int]) -> None:
    stream = a_stream()
    start = begun(log, stream)
    kept(log, *(an_entry(stream) for _ in range(6)))
    TaskEvent.objects.filter(seq__in=gone).delete()
    for seq in range(6):
        (slice_,) = log.read([Cursor(stream, Position(start.epoch, seq))])
        assert slice_.is_lost == (max(gone) > seq)
        assert len(slice_.bodies) == (0 if slice_.is_lost else 6 - seq)


# --- the tables


def test_the_tables_do_not_depend_on_the_projects_default_auto_field() -> None:
    for model in (TaskEvent, TaskEventStream):
        assert not model._meta.pk.auto_created


@pytest.mark.django_db
def test_rows_say_what_they_are(log: DatabaseLog) -> None:
    top = kept(log, an_entry("s", key="k"))[0]
    assert str(TaskEventStream.objects.get()) == f"s at {top.epoch}:1"
    assert str(TaskEvent.objects.get()) == "s 1 k"
