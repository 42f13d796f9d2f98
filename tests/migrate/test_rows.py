"""Rows of django-celery-beat whose task is gone."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tasks_celery.migrate.finding import Verdict
from tasks_celery.migrate.rows import find_gone

KNOWN = {"shop.tasks.add", "celery.backend_cleanup", "shop.a.twice", "shop.b.twice"}


@dataclass
class Row:
    task: str
    enabled: bool = True
    name: str = "Nightly"
    pk: int = 7


@pytest.mark.parametrize(
    ("row", "verdict", "said"),
    [
        (Row("shop.tasks.gone"), Verdict.UNSAFE, "throws it away"),
        (Row("shop.tasks.gone", enabled=False), Verdict.PERSON, "switched off"),
        (Row("shop.tasks.add"), Verdict.STAYS, "is there"),
        (Row("shop.tasks.add", enabled=False), Verdict.STAYS, "switched off"),
        (Row("celery.backend_cleanup"), Verdict.STAYS, "is there"),
        (Row(""), Verdict.UNSAFE, "throws it away"),
    ],
)
def test_what_becomes_of_a_row(row: Row, verdict: Verdict, said: str) -> None:
    (found,) = find_gone([row], KNOWN)
    assert (found.verdict, found.kind, found.path) == (verdict, "schedule", "PeriodicTask 7")
    assert said in found.reason


def test_a_task_of_the_same_function_may_have_taken_its_place() -> None:
    rows = [Row("shop.jobs.add"), Row("shop.jobs.twice"), Row("shop.tasks.add")]
    assert [each.name for each in find_gone(rows, KNOWN)] == [
        "Nightly: shop.jobs.add (perhaps now shop.tasks.add)",
        "Nightly: shop.jobs.twice",
        "Nightly: shop.tasks.add",
    ]
