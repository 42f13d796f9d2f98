"""The database's store keeps the contract on SQLite; integration/test_database.py asks PostgreSQL too."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import django
import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext, override_settings
from pytest_django.plugin import DjangoDbBlocker

from tasks_celery.database.models import TaskRecord
from tasks_celery.database.store import LOOKS, DatabaseStore
from tasks_celery.exceptions import OptionsError, StoreError
from tasks_celery.stores import Record, Store, open_store
from tests.database.places import known_as, migrated_as
from tests.shop import tasks
from tests.stores.cases import StoreContract
from tests.stores.making import HOUR, NO_PAPER, WHEN, a_record, an_attempt, an_outcome

outside_a_transaction = pytest.mark.django_db(transaction=True)


@pytest.fixture
def store() -> DatabaseStore:
    return DatabaseStore("default", timeout=5)


@pytest.fixture
def unguarded(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Let a test ask databases that pytest-django knows nothing of."""
    with django_db_blocker.unblock():
        yield


# What the first release does not know.
NEW = {"held", "cancelled", "unique", "unique_until", "unique_expires", "unique_digest"}


def every_call(store: Store) -> list[Callable[[], Any]]:
    """Return a call of each kind, about a task that is not there."""
    record = a_record()
    return [
        lambda: store.create(record, lifetime=HOUR),
        lambda: store.discard(record.id),
        lambda: store.claim(record, an_attempt(), lifetime=HOUR),
        lambda: store.settle(record, an_outcome(), lifetime=HOUR),
        lambda: store.get(record.id),
        lambda: store.create(a_record(unique="k"), lifetime=HOUR),
        lambda: store.create_many([record], lifetimes=[HOUR]),
        lambda: store.cancel(record.id, an_outcome("FAILED")),
        store.next_due,
        lambda: store.take_due(before=WHEN, until=WHEN, limit=1),
        lambda: store.sent([record.id], at=WHEN),
        lambda: store.enqueued([record.id], at=WHEN),
        lambda: store.holder("key"),
        lambda: store.hold("lease", "one", seconds=HOUR),
        lambda: store.release("lease", "one"),
        lambda: store.waiting(before=WHEN),
        lambda: store.overdue("reports", before=WHEN, limit=1),
        lambda: store.expired(before=WHEN, limit=1),
        lambda: store.abandoned(limit=1),
        lambda: store.resend(record, due=WHEN, lifetime=HOUR),
        store.tidy,
    ]


# --- the contract


@pytest.mark.django_db
class TestInsideATransaction(StoreContract):
    @pytest.fixture
    def store(self, store: DatabaseStore) -> Store:
        return store


@outside_a_transaction
class TestOutsideOfOne(StoreContract):
    @pytest.fixture
    def store(self, store: DatabaseStore) -> Store:
        return store


# --- refusals


def test_a_database_that_is_not_configured_is_a_store_error() -> None:
    for call in every_call(DatabaseStore("nowhere", timeout=5)):
        with pytest.raises(StoreError, match=r"database 'nowhere'.*'nowhere' doesn't exist.*--database=nowhere"):
            call()


def test_an_engine_that_does_not_exist_is_a_store_error() -> None:
    with known_as("odd", ENGINE="no.such.engine"):
        for call in every_call(DatabaseStore("odd", timeout=5)):
            with pytest.raises(StoreError, match=r"ImproperlyConfigured: 'no.such.engine' isn't an available"):
                call()


def test_a_table_that_is_missing_is_a_store_error_that_says_to_migrate(tmp_path: Path, unguarded: None) -> None:
    with known_as("bare", NAME=str(tmp_path / "bare.sqlite3")):
        for call in every_call(DatabaseStore("bare", timeout=5)):
            with pytest.raises(StoreError, match=r"no such table.*`manage.py migrate --database=bare`") as caught:
                call()
            assert isinstance(caught.value.__cause__, DatabaseError)


def test_a_file_that_cannot_be_opened_is_a_store_error(tmp_path: Path, unguarded: None) -> None:
    with known_as("away", NAME=str(tmp_path / "no" / "folder" / "db.sqlite3")):
        for call in every_call(DatabaseStore("away", timeout=5)):
            with pytest.raises(StoreError, match="unable to open database file"):
                call()


@pytest.mark.django_db
def test_a_transaction_that_is_broken_already_is_a_store_error(store: DatabaseStore) -> None:
    with transaction.atomic():
        transaction.set_rollback(True)
        for call in every_call(store):
            with pytest.raises(StoreError, match="TransactionManagementError"):
                call()


@outside_a_transaction
def test_an_event_loop_is_told_of_the_async_twins(store: DatabaseStore) -> None:
    async def in_a_loop() -> None:
        for call in every_call(store):
            with pytest.raises(StoreError, match="aenqueue"):
                call()

    asyncio.run(in_a_loop())


@pytest.mark.django_db
@pytest.mark.parametrize("odd", ["a" * 256, "a\0b", "\ud800"], ids=ascii)
def test_an_id_that_a_database_cannot_hold_is_refused_and_says_why(store: DatabaseStore, odd: str) -> None:
    store.discard(odd)
    for call in (
        lambda: store.create(a_record(id=odd), lifetime=HOUR),
        lambda: store.claim(a_record(id=odd), an_attempt(), lifetime=HOUR),
        lambda: store.settle(a_record(id=odd), an_outcome("FAILED"), lifetime=HOUR),
        lambda: store.create_many([a_record(), a_record(id=odd)], lifetimes=[HOUR, HOUR]),
    ):
        with pytest.raises(StoreError, match="cannot be kept in a database"):
            call()
    store.sent([odd], at=WHEN)
    assert store.cancel(odd, an_outcome("FAILED")) is None
    assert not TaskRecord.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("odd", ["a" * 255, "☃", " ", "%s", "../x", "a\nb"], ids=ascii)
def test_any_other_id_is_kept(store: DatabaseStore, odd: str) -> None:
    store.create(a_record(id=odd), lifetime=HOUR)
    assert store.get(odd) == a_record(id=odd)


@pytest.mark.django_db
@pytest.mark.parametrize("wrong", [{"name": "\ud800"}, {"priority": 2**70}], ids=ascii)
def test_a_value_that_a_column_cannot_hold_is_a_store_error(store: DatabaseStore, wrong: dict[str, Any]) -> None:
    with pytest.raises(StoreError):
        store.create(a_record(**wrong), lifetime=HOUR)


@pytest.mark.django_db
def test_an_error_quotes_nothing_beyond_the_first_line(store: DatabaseStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> None:
        raise DatabaseError("it was refused\nDETAIL: Failing row contains (secret).")

    monkeypatch.setattr(store, "_look", refuse)
    with pytest.raises(StoreError, match="it was refused") as caught:
        store.get("x")
    assert "secret" not in str(caught.value)


@pytest.mark.django_db
def test_a_record_that_others_change_all_the_time_is_a_store_error(
    store: DatabaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    def be_late(*args: Any) -> bool:
        looks.append(args)
        return False

    monkeypatch.setattr(store, "_write", be_late)
    with pytest.raises(StoreError, match=f"changed by others {LOOKS} times"):
        store.claim(a_record(), an_attempt(), lifetime=HOUR)
    assert len(looks) == LOOKS


# --- what a change costs


@contextmanager
def statements(*expected: str) -> Iterator[None]:
    with CaptureQueriesContext(connection) as seen:
        yield
    assert [query["sql"].split()[0] for query in seen] == list(expected)


# Django 5.2 begins a transaction for it.
INSERT = ("INSERT",) if django.VERSION >= (6, 0) else ("BEGIN", "INSERT", "COMMIT")


@outside_a_transaction
def test_a_task_costs_five_statements_and_a_look_at_it_one(store: DatabaseStore) -> None:
    record = a_record()
    with statements(*INSERT):
        store.create(record, lifetime=HOUR)
    with statements("SELECT", "UPDATE"):
        store.claim(record, an_attempt(), lifetime=HOUR)
    with statements("SELECT", "UPDATE"):
        store.settle(record, an_outcome(attempt=1), lifetime=HOUR)
    with statements("SELECT"):
        store.get(record.id)


@outside_a_transaction
def test_a_task_without_a_record_costs_an_insert_at_its_start(store: DatabaseStore) -> None:
    with statements("SELECT", *INSERT):
        store.claim(a_record(), an_attempt(), lifetime=HOUR)


@outside_a_transaction
def test_a_record_is_created_in_a_savepoint_of_the_callers_transaction(store: DatabaseStore) -> None:
    with transaction.atomic(), statements("SAVEPOINT", "INSERT", "RELEASE"):
        store.create(a_record(), lifetime=HOUR)


@outside_a_transaction
def test_many_tasks_cost_a_statement_for_many_of_them(store: DatabaseStore) -> None:
    with CaptureQueriesContext(connection) as seen:
        store.create_many([a_record() for _ in range(100)], lifetimes=[HOUR] * 100)
    # SQLite takes a limited number of values at a time.
    assert len(seen) < 10


@outside_a_transaction
def test_a_unique_task_costs_a_look_more_and_its_like_two_looks_and_no_error(store: DatabaseStore) -> None:
    with statements("SELECT", *INSERT):
        store.create(a_record(unique="k"), lifetime=HOUR)
    with statements("SELECT", "SELECT"):
        store.create(a_record(unique="k"), lifetime=HOUR)


@outside_a_transaction
def test_held_tasks_are_taken_with_three_statements_and_sent_with_one(store: DatabaseStore) -> None:
    records = [a_record(held=True, due=WHEN) for _ in range(100)]
    store.create_many(records, lifetimes=[HOUR] * 100)
    with statements("SELECT", "UPDATE", "SELECT"):
        assert len(store.take_due(before=WHEN, until=WHEN, limit=500)) == 100
    with statements("UPDATE"):
        store.sent([record.id for record in records], at=WHEN)
    assert store.next_due() is None


@pytest.mark.django_db
def test_a_row_that_another_mover_has_taken_meanwhile_is_not_taken(
    store: DatabaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (a_record(held=True, due=WHEN) for _ in range(2))
    store.create_many([first, second], lifetimes=[HOUR] * 2)
    marked = store._take_marked

    def be_late(due: Any, until: datetime, limit: int) -> list[TaskRecord]:
        rows = list(due)
        TaskRecord.objects.filter(pk=first.id).update(due=until)
        monkeypatch.setattr(type(due), "__getitem__", lambda self, key: rows)
        return marked(due, until, limit)

    monkeypatch.setattr(store, "_take_marked", be_late)
    taken = store.take_due(before=WHEN, until=WHEN + timedelta(hours=1), limit=2)
    assert [record.id for record in taken] == [second.id]


@outside_a_transaction
def test_a_lease_is_renewed_with_one_statement(store: DatabaseStore) -> None:
    store.hold("mine", "me", seconds=HOUR)
    with statements("UPDATE"):
        store.hold("mine", "me", seconds=HOUR)


@outside_a_transaction
def test_a_claim_does_not_write_the_arguments_again(store: DatabaseStore) -> None:
    record = a_record(args=["long"])
    store.create(record, lifetime=HOUR)
    with CaptureQueriesContext(connection) as seen:
        store.claim(record, an_attempt(), lifetime=HOUR)
    assert '"args" =' not in seen[-1]["sql"]


# --- transactions of the caller's


@override_settings(TASKS={"default": {"BACKEND": "tasks_celery.CeleryBackend", "OPTIONS": {"RESULTS": "database://"}}})
@outside_a_transaction
def test_a_task_that_is_enqueued_in_a_transaction_has_its_row_in_it() -> None:
    with transaction.atomic():
        kept = tasks.add.enqueue(1, 2)
        assert TaskRecord.objects.get().id == kept.id
    with transaction.atomic():
        tasks.add.enqueue(3, 4)
        transaction.set_rollback(True)
    row = TaskRecord.objects.get()
    assert (row.id, row.status, row.args, row.name) == (kept.id, "READY", [1, 2], "tests.shop.tasks.add")


@outside_a_transaction
def test_creating_again_does_not_break_the_transaction(store: DatabaseStore) -> None:
    record = a_record()
    with transaction.atomic():
        store.create(record, lifetime=HOUR)
        store.create(record, lifetime=HOUR)
        store.claim(record, an_attempt(), lifetime=HOUR)
    assert TaskRecord.objects.get().status == "RUNNING"


@outside_a_transaction
def test_nobody_is_told_of_rows_by_signal(store: DatabaseStore) -> None:
    # A receiver that raised would come between the row and its message.
    from django.db.models.signals import post_save, pre_save

    told: list[Any] = []

    def hear(sender: type, **kwargs: Any) -> None:
        told.append(sender)

    for signal in (pre_save, post_save):
        signal.connect(hear, weak=False)
    try:
        record = a_record()
        store.create(record, lifetime=HOUR)
        store.claim(record, an_attempt(), lifetime=HOUR)
        TaskRecord(id="by hand").save()
    finally:
        for signal in (pre_save, post_save):
            signal.disconnect(hear)
    assert len(told) == 2


# --- a lock of another's


@pytest.fixture
def file(tmp_path: Path, unguarded: None) -> Iterator[Path]:
    """A file of SQLite that does not wait for a lock by itself, known as "file"."""
    path = tmp_path / "db.sqlite3"
    with migrated_as("file", NAME=str(path), OPTIONS={"timeout": 0}):
        yield path


def test_the_tables_can_be_removed_again(file: Path) -> None:
    call_command("migrate", "tasks_celery_database", "zero", database="file", verbosity=0)
    assert connections["file"].introspection.table_names() == ["django_migrations"]


def test_a_lock_is_waited_for(file: Path) -> None:
    store, record = DatabaseStore("file", timeout=20), a_record()
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        freeing = threading.Timer(0.3, other.execute, ["COMMIT"])
        freeing.start()
        store.create(record, lifetime=HOUR)
        freeing.join()
    assert store.get(record.id) == record


def test_a_lock_is_not_waited_for_longer_than_the_timeout(file: Path) -> None:
    store = DatabaseStore("file", timeout=0.05)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for call in every_call(store):
            with pytest.raises(StoreError, match="database is locked"):
                call()
    assert store.get("x") is None


def test_a_lock_is_not_waited_for_inside_a_transaction(file: Path) -> None:
    # SQLite would answer the same until the transaction ends.
    with closing(sqlite3.connect(file, isolation_level=None)) as other, transaction.atomic(using="file"):
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="database is locked"):
            DatabaseStore("file", timeout=3600).create(a_record(), lifetime=HOUR)


# --- lifetimes


@pytest.mark.django_db
def test_a_row_whose_time_is_over_gives_way_to_a_new_record(store: DatabaseStore) -> None:
    old, new = a_record(id="same", args=["old"]), a_record(id="same", args=["new"], priority=3)
    store.claim(old, an_attempt(), lifetime=HOUR)
    store.settle(old, an_outcome(attempt=1, return_value="old"), lifetime=0)
    store.create(new, lifetime=HOUR)
    assert store.get("same") == new
    assert TaskRecord.objects.count() == 1


@pytest.mark.django_db
def test_a_token_of_a_record_that_is_over_is_forgotten_with_it(store: DatabaseStore) -> None:
    seed, outcome = a_record(), an_outcome("FAILED")
    store.settle(seed, outcome, lifetime=0)
    again = store.settle(seed, outcome, lifetime=HOUR)
    assert again is not None
    assert store.get(seed.id) == again


@pytest.mark.django_db
def test_an_error_that_comes_late_does_not_lengthen_the_lifetime(store: DatabaseStore) -> None:
    record = a_record()
    store.claim(record, an_attempt("one"), lifetime=HOUR)
    store.claim(record, an_attempt("two", retries=1), lifetime=HOUR)
    before = TaskRecord.objects.get().keep_until
    store.settle(record, an_outcome("READY", attempt=1, error=NO_PAPER), lifetime=None)
    assert TaskRecord.objects.get().keep_until == before


@pytest.mark.django_db
def test_a_row_whose_key_outlasts_it_stays_until_the_key_is_free(store: DatabaseStore) -> None:
    for seconds in (HOUR, -1):
        expires = datetime.now(UTC) + timedelta(seconds=seconds)
        store.create(a_record(unique=f"{seconds}", unique_until="time", unique_expires=expires), lifetime=0)
    store.tidy()
    assert [row.unique for row in TaskRecord.objects.all()] == [f"{HOUR}"]


@pytest.mark.django_db
def test_a_row_whose_time_is_over_gives_way_to_a_new_unique_record(store: DatabaseStore) -> None:
    old, new = a_record(id="same", unique="old"), a_record(id="same", unique="new")
    store.create(old, lifetime=0)
    assert store.create(new, lifetime=HOUR) is None
    assert store.create(a_record(unique="new"), lifetime=HOUR) == "same"
    assert store.create(a_record(unique="old"), lifetime=HOUR) is None


@pytest.mark.django_db
def test_a_row_does_not_hold_a_key_that_is_free(store: DatabaseStore) -> None:
    record = a_record(unique="k")
    store.create(record, lifetime=HOUR)
    assert TaskRecord.objects.get().unique_digest
    store.settle(record, an_outcome("FAILED"), lifetime=HOUR)
    assert (TaskRecord.objects.get().unique_digest, TaskRecord.objects.get().unique) == (None, "k")


@pytest.mark.django_db
def test_a_key_that_another_took_meanwhile_is_his(store: DatabaseStore, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whether the new record needs a row or has one whose time is over.
    for existing in (False, True):
        first, second = a_record(unique=f"k{existing}"), a_record(unique=f"k{existing}")
        if existing:
            store.create(a_record(id=second.id), lifetime=0)
        look = store._other_holder

        def be_late(record: Record, first: Record = first, look: Any = look) -> str | None:
            monkeypatch.setattr(store, "_other_holder", look)
            found = look(record)
            store.create(first, lifetime=HOUR)
            return found

        monkeypatch.setattr(store, "_other_holder", be_late)
        with transaction.atomic():
            assert store.create(second, lifetime=HOUR) == first.id
        assert store.get(second.id) is None


# --- beside a worker of the first release


@pytest.mark.django_db
def test_a_row_that_the_first_release_wrote_is_read(store: DatabaseStore) -> None:
    store.create(a_record(), lifetime=HOUR)
    columns = ", ".join(f'"{field.column}"' for field in TaskRecord._meta.fields if field.name not in NEW)
    with connection.cursor() as cursor:
        table = TaskRecord._meta.db_table
        copied = columns.replace('"id"', "'old'")
        cursor.execute(f"INSERT INTO {table} ({columns}) SELECT {copied} FROM {table}")
    (kept,) = TaskRecord.objects.exclude(pk="old")
    assert store.get("old") == replace(a_record(id="old"), enqueued_at=kept.enqueued_at)
    assert store.claim(a_record(id="old"), an_attempt(), lifetime=HOUR) is not None


@pytest.mark.django_db
def test_a_held_task_that_was_begun_there_is_not_held_any_more(store: DatabaseStore) -> None:
    record = a_record(held=True, due=WHEN, queue_name="old")
    store.create(record, lifetime=HOUR)
    for status in ("RUNNING", "READY"):
        TaskRecord.objects.update(status=status, worker_ids=["old"])
        known = store.get(record.id)
        assert known is not None
        assert not known.held
        assert store.next_due() is None
        assert store.take_due(before=WHEN, until=WHEN, limit=1) == []
    assert store.waiting(before=WHEN + timedelta(hours=1)) == {"old": 1}


@pytest.mark.django_db
def test_a_unique_task_that_has_ended_there_keeps_nobody_out(store: DatabaseStore) -> None:
    store.create(a_record(unique="k"), lifetime=HOUR)
    TaskRecord.objects.update(status="FAILED")
    assert store.create(a_record(unique="k"), lifetime=HOUR) is None


# --- time zones


@pytest.mark.django_db
@pytest.mark.parametrize("zone", ["America/Chicago", "Asia/Kathmandu"])
def test_times_are_naive_without_use_tz(store: DatabaseStore, zone: str) -> None:  # contract 43
    with override_settings(USE_TZ=False, TIME_ZONE=zone):
        now = datetime(2026, 7, 1, 23, 30, 0, 7)  # noqa: DTZ001
        record = a_record(enqueued_at=now, run_after=now + timedelta(hours=3), due=now, queue_name="here")
        store.create(record, lifetime=HOUR)
        assert store.get(record.id) == record
        # Asked by whom the time is aware, as the sweeper's may be.
        assert store.overdue("here", before=WHEN + timedelta(days=300), limit=1) == [record]
        assert store.waiting(before=WHEN) == {}
        store.claim(record, an_attempt(at=now), lifetime=0)
        assert store.get(record.id) is None


@pytest.mark.django_db
def test_a_naive_time_is_the_projects_with_use_tz_too(store: DatabaseStore) -> None:
    record = a_record(run_after=datetime(2026, 7, 1, 12))  # noqa: DTZ001
    store.create(record, lifetime=HOUR)
    read = store.get(record.id)
    assert read is not None
    assert read.run_after is not None
    assert read.run_after.isoformat() == "2026-07-01T17:00:00+00:00"  # TIME_ZONE is America/Chicago by default


# --- opening


def test_a_url_names_the_alias() -> None:
    for url, alias in (("database://", "default"), ("database:", "default"), ("database://Other_1", "Other_1")):
        store = open_store(url, key_prefix="x", timeout=7)
        assert isinstance(store, DatabaseStore)
        assert (store.alias, store.timeout) == (alias, 7)


def test_without_its_app_the_store_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.apps.apps.is_installed", lambda name: name != "tasks_celery.database")
    with pytest.raises(OptionsError, match=r"INSTALLED_APPS.*migrate"):
        open_store("database://without-its-app", key_prefix="x", timeout=1)


@pytest.mark.django_db
def test_opening_asks_nothing() -> None:  # contract 49
    with CaptureQueriesContext(connection) as seen:
        open_store("database://", key_prefix="opened", timeout=1)
    assert not len(seen)


# --- what a transaction has kept


@pytest.mark.django_db
def test_that_a_held_task_is_enqueued_is_news_once_and_it_stays_held(store: DatabaseStore) -> None:
    held = a_record(held=True, enqueued_at=None, due=WHEN)
    store.create(held, lifetime=HOUR)
    at = WHEN + timedelta(seconds=1)
    assert store.enqueued([held.id, "unknown"], at=at) == [held.id]
    assert store.enqueued([held.id], at=at + timedelta(seconds=1)) == []
    assert store.get(held.id) == replace(held, enqueued_at=at)


@pytest.mark.django_db
def test_a_task_that_was_sent_meanwhile_is_no_news(store: DatabaseStore) -> None:
    sent = a_record(held=True, enqueued_at=None, due=WHEN)
    store.create(sent, lifetime=HOUR)
    store.sent([sent.id], at=WHEN)
    assert store.enqueued([sent.id], at=WHEN + timedelta(seconds=1)) == []
    assert store.get(sent.id) == replace(sent, held=False, enqueued_at=WHEN)
