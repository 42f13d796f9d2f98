"""Rows are for people: to filter, to point at, to dump; and the migrations make the tables that the models describe."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db.models import JSONField
from django.db.models.functions import Cast

from tasks_celery.database.models import TaskLease, TaskRecord
from tasks_celery.database.store import DatabaseStore
from tests.database.models import Download
from tests.stores.making import HOUR, a_record, an_attempt, an_outcome

pytestmark = pytest.mark.django_db


@pytest.fixture
def store() -> DatabaseStore:
    return DatabaseStore("default", timeout=5)


def test_the_migrations_make_what_the_models_describe() -> None:
    call_command("makemigrations", "tasks_celery_database", check=True, dry_run=True, verbosity=0)


def test_rows_are_found_by_what_people_ask_for(store: DatabaseStore) -> None:
    record = a_record(context={"user": "7", "language": "de"}, alias="other", args=["mine"])
    store.claim(record, an_attempt(), lifetime=HOUR)
    store.settle(record, an_outcome("FAILED", attempt=1), lifetime=HOUR)
    store.create(a_record(context={}, name="shop.other"), lifetime=HOUR)
    for asked in (
        {"user_id": "7"},
        {"user_id__isnull": False},
        {"status": "FAILED"},
        {"name": record.name},
        {"backend": "other"},
        {"args": record.args},
        {"finished_at__isnull": False},
        {"context": {"language": "de"}},
    ):
        assert TaskRecord.objects.get(**asked).id == record.id, asked


def test_a_value_can_be_looked_into_by_sql(store: DatabaseStore) -> None:
    record = a_record(kwargs={"report": {"id": 7}})
    store.create(record, lifetime=HOUR)
    rows = TaskRecord.objects.annotate(asked=Cast("kwargs", JSONField()))
    assert rows.get(asked__report__id=7).id == record.id


def test_a_row_says_what_it_is(store: DatabaseStore) -> None:
    store.create(a_record(id="x"), lifetime=HOUR)
    assert str(TaskRecord.objects.get()) == "shop.add x READY"
    assert TaskRecord.objects.get().get_status_display() == "Ready"
    assert str(TaskLease(name="sweep", holder="one")) == "sweep held by one"


def test_a_foreign_key_points_at_a_task(store: DatabaseStore) -> None:
    store.create(a_record(id="x"), lifetime=HOUR)
    download = Download.objects.create(task_id="x")
    assert Download.objects.filter(task__status="READY").get() == download
    assert download.task.kwargs == a_record().kwargs


def test_rows_survive_a_dump(store: DatabaseStore, tmp_path: Path) -> None:
    record = a_record()
    store.create(record, lifetime=HOUR)
    told = StringIO()
    call_command("dumpdata", "tasks_celery_database", stdout=told)
    TaskRecord.objects.all().delete()
    dump = tmp_path / "dump.json"
    dump.write_text(told.getvalue())
    call_command("loaddata", str(dump), verbosity=0)
    # Django's fixtures hold times to the millisecond.
    whole = record.enqueued_at.replace(microsecond=123_000) if record.enqueued_at else None
    assert store.get(record.id) == replace(record, enqueued_at=whole)
