"""Rows whose time is over go, as the foreign keys of others have it."""

from __future__ import annotations

from typing import Any

import pytest

from tasks_celery.database import tidying
from tasks_celery.database.models import TaskLease, TaskRecord
from tasks_celery.database.store import DatabaseStore
from tests.database.models import Download, Invoice, Note, Proof, Receipt
from tests.shop.running import until
from tests.stores.making import HOUR, a_record

pytestmark = pytest.mark.django_db


@pytest.fixture
def store() -> DatabaseStore:
    return DatabaseStore("default", timeout=5)


def a_row(store: DatabaseStore, *, lifetime: float | None = 0) -> TaskRecord:
    record = a_record()
    store.create(record, lifetime=lifetime)
    return TaskRecord.objects.get(pk=record.id)


def left() -> set[str]:
    return set(TaskRecord.objects.values_list("pk", flat=True))


def test_what_is_over_goes_and_the_rest_stays(store: DatabaseStore) -> None:
    a_row(store)
    kept = {a_row(store, lifetime=lifetime).pk for lifetime in (HOUR, None)}
    store.tidy()
    assert left() == kept


@pytest.mark.parametrize("model", [Invoice, Receipt])
def test_a_row_that_a_foreign_key_protects_stays_and_stops_no_other(store: DatabaseStore, model: Any) -> None:
    rows = [a_row(store) for _ in range(5)]
    model.objects.create(task=rows[2])
    store.tidy()
    assert left() == {rows[2].pk}
    assert store.get(rows[2].pk) is None
    model.objects.all().delete()
    store.tidy()
    assert not left()


@pytest.mark.parametrize("model", [Invoice, Receipt])
def test_a_row_that_a_foreign_key_protects_is_not_tried_each_time(
    store: DatabaseStore, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.objects.create(task=a_row(store))
    monkeypatch.setattr(tidying, "_remove", lambda rows, ids: pytest.fail("was tried"))
    store.tidy()


def test_a_row_that_is_protected_from_further_away_stops_no_other(
    store: DatabaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tidying, "BATCH", 4)
    rows = [a_row(store) for _ in range(11)]
    for number in (0, 5, 6, 10):
        Proof.objects.create(note=Note.objects.create(task=rows[number]))
    store.tidy()
    assert left() == {rows[number].pk for number in (0, 5, 6, 10)}
    assert Note.objects.count() == 4


def test_foreign_keys_are_told(store: DatabaseStore) -> None:
    row = a_row(store)
    download = Download.objects.create(task=row)
    Note.objects.create(task=row)
    store.tidy()
    download.refresh_from_db()
    assert download.task is None
    assert not Note.objects.exists()


def test_many_go_in_batches(store: DatabaseStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tidying, "BATCH", 3)
    for _ in range(8):
        a_row(store)
    store.tidy()
    assert not left()


def test_leases_that_have_lapsed_go(store: DatabaseStore) -> None:
    store.hold("old", "one", seconds=0.001)
    store.hold("new", "one", seconds=HOUR)

    def are_gone() -> bool:
        store.tidy()
        return not TaskLease.objects.filter(name="old").exists()

    until(are_gone)
    assert TaskLease.objects.get().name == "new"
