"""Both. Removes the rows whose time is over, by the ORM: people's foreign keys have their `on_delete` honoured."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import IntegrityError, models, transaction
from django.db.models import Exists, OuterRef, QuerySet

from tasks_celery.database.leasing import held, leases
from tasks_celery.database.models import TaskRecord

BATCH = 1_000


def remove_records(alias: str, *, before: datetime) -> None:
    """Remove the records that were to be kept until a moment; one that a foreign key protects stops no other."""
    rows = _over(alias, before)
    kept = 0
    while ids := list(rows.values_list("pk", flat=True)[kept : kept + BATCH]):
        kept += _remove(rows, ids)


def remove_leases(alias: str) -> None:
    """Remove the leases that have lapsed."""
    leases(alias).exclude(pk__in=held(alias)).delete()


def _over(alias: str, before: datetime) -> QuerySet[TaskRecord]:
    rows = TaskRecord._default_manager.using(alias).filter(keep_until__lte=before)
    # A unique key for a time outlasts its task.
    rows = rows.exclude(unique_digest__isnull=False, unique_until="time", unique_expires__gt=before)
    # Left out beforehand, or each run would try all of them again.
    for relation in _protecting():
        pointing = relation.related_model._base_manager.using(alias)
        rows = rows.filter(~Exists(pointing.filter(**{relation.field.name: OuterRef("pk")})))
    return rows.order_by("keep_until", "pk")


def _protecting() -> list[Any]:
    """Return the foreign keys to a record that would not let it go."""
    fields: list[Any] = TaskRecord._meta.get_fields(include_hidden=True)
    pointing = [field for field in fields if field.auto_created and (field.one_to_many or field.one_to_one)]
    return [field for field in pointing if field.on_delete in (models.PROTECT, models.RESTRICT, models.DO_NOTHING)]


def _remove(rows: QuerySet[TaskRecord], ids: list[str]) -> int:
    """Remove the rows with these ids and return how many would not go."""
    try:
        with transaction.atomic(using=rows.db):
            rows.order_by().filter(pk__in=ids).delete()
    except IntegrityError:  # also Django's own ProtectedError and RestrictedError, raised from further away
        half = len(ids) // 2
        return _remove(rows, ids[:half]) + _remove(rows, ids[half:]) if half else 1
    return 0
