from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.apps import apps
from django_celery_beat.models import PeriodicTask

from tasks_celery.beat.models import ScheduleOptions
from tasks_celery.beat.rows import all_rows, write
from tasks_celery.beat.rows.tables import tables_of
from tasks_celery.beat.sync.plans import Plan, plan
from tasks_celery.beat.when import clocked, crontab, every
from tasks_celery.exceptions import ScheduleError
from tests.beat.migrated import a_declaration

pytestmark = pytest.mark.django_db

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def written(*declarations: Any, declared: bool = True, dropped: bool = False, **columns: Any) -> None:
    """Rows as a sync leaves them, and then as a person or a beat has changed them."""
    for declaration in declarations:
        row = write(apps, declaration, options={"declared": declared, "dropped": dropped})
        PeriodicTask.objects.filter(pk=row.pk).update(**columns)


def planned(*declarations: Any, prune: bool = False) -> Plan:
    return plan(declarations, {row.name: row for row in all_rows(tables_of(apps), "default")}, prune=prune)


def test_names_of_rows_that_others_made_are_refused_all_at_once() -> None:
    written(a_declaration(), declared=False)
    written(a_declaration(name="Also"))
    ScheduleOptions.objects.filter(periodic_task__name="Also").delete()
    with pytest.raises(ScheduleError) as refused:
        planned(a_declaration(), a_declaration(name="Also"), a_declaration(name="New"))
    assert str(refused.value).splitlines() == [
        "A person or a migration made schedules of names that the code declares:",
        "  Digest: tests.shop.tasks.add, every hour",
        "  Also: tests.shop.tasks.add, every hour",
        "Give each declared one another name, as in @schedule(…, name=…), or rename or delete the other in the admin.",
    ]


@pytest.mark.parametrize("prune", [True, False])
def test_rows_that_others_made_are_none_of_its_business(prune: bool) -> None:
    written(a_declaration(), declared=False)
    written(a_declaration(name="No options"))
    ScheduleOptions.objects.filter(periodic_task__name="No options").delete()
    assert planned(prune=prune) == Plan()


def test_a_new_one_is_created_and_told_in_one_line() -> None:
    new = a_declaration(crontab("0 3 * * *", timezone="Europe/Berlin"), kwargs={"a": 1}, queue="reports")
    assert planned(new).lines() == [
        '+ Digest: tests.shop.tasks.add, crontab 0 3 * * * Europe/Berlin, kwargs={"a": 1}, queue=reports'
    ]


def test_what_is_usual_is_not_told() -> None:
    assert planned(a_declaration()).lines() == ["+ Digest: tests.shop.tasks.add, every hour"]


def test_what_is_as_declared_needs_nothing() -> None:
    written(a_declaration())
    assert planned(a_declaration()) == Plan()


def test_a_change_is_told_field_by_field() -> None:
    written(a_declaration())
    assert planned(a_declaration(every(minutes=5), task="another")).lines() == [
        "~ Digest",
        "    task: tests.shop.tasks.add -> another",
        "    when: every hour -> every 5 minutes",
    ]


def test_what_is_no_longer_declared_is_disabled() -> None:
    written(a_declaration())
    found = planned()
    assert found.lines() == ["- Digest: disabled, for the code no longer declares it"]
    assert [change.what for change in found.changes] == ["disable"]


@pytest.mark.parametrize("state", [{}, {"enabled": False}, {"enabled": False, "dropped": True}, {"dropped": True}])
def test_pruned_it_is_deleted_however_it_is(state: dict[str, bool]) -> None:
    written(a_declaration(), **state)
    found = planned(prune=True)
    assert found.lines() == ["- Digest: deleted, for the code no longer declares it"]
    assert [change.what for change in found.changes] == ["delete"]


def test_what_is_disabled_already_is_not_dropped() -> None:
    written(a_declaration(), enabled=False)
    assert planned() == Plan()


def test_what_was_dropped_stays_so() -> None:
    written(a_declaration(), enabled=False, dropped=True)
    assert planned() == Plan()


def test_what_was_dropped_comes_back_enabled() -> None:
    written(a_declaration(), enabled=False, dropped=True)
    (change,) = planned(a_declaration()).changes
    assert change.enabled
    assert change.lines == ("enabled: no -> yes", "dropped from the code: yes -> no")


def test_what_an_operator_disabled_stays_so_and_it_says_so() -> None:
    written(a_declaration(), enabled=False)
    assert planned(a_declaration()) == Plan(notes=("! Digest: somebody disabled it, and it stays so",))
    (change,) = planned(a_declaration(every(minutes=5))).changes
    assert change.enabled is None


def test_what_an_operator_enabled_again_stays_so_and_it_says_so() -> None:
    written(a_declaration(), dropped=True)
    note = "! Digest: the code no longer declares it, somebody enabled it again, and it stays so"
    assert planned() == Plan(notes=(note,))


def test_what_an_operator_enabled_again_is_declared_again() -> None:
    written(a_declaration(), dropped=True)
    (change,) = planned(a_declaration()).changes
    assert (change.enabled, change.lines) == (None, ("dropped from the code: yes -> no",))


def test_what_ticked_once_is_neither_enabled_nor_told() -> None:
    written(a_declaration(clocked(LONG_AGO)), enabled=False, last_run_at=LONG_AGO)
    assert planned(a_declaration(clocked(LONG_AGO))) == Plan()


def test_what_ticked_once_is_enabled_for_a_new_time() -> None:
    written(a_declaration(clocked(LONG_AGO)), enabled=False, last_run_at=LONG_AGO)
    (change,) = planned(a_declaration(clocked(LONG_AGO.replace(year=2040)))).changes
    assert change.enabled
    assert change.lines == (
        "when: clocked 2020-01-01T00:00:00+00:00 -> clocked 2040-01-01T00:00:00+00:00",
        "enabled: no -> yes",
    )


def test_what_ticked_once_is_not_enabled_by_coming_back() -> None:
    written(a_declaration(clocked(LONG_AGO)), enabled=False, dropped=True)
    (change,) = planned(a_declaration(clocked(LONG_AGO))).changes
    assert (change.enabled, change.lines) == (None, ("dropped from the code: yes -> no",))


def test_changes_are_told_by_the_name() -> None:
    written(a_declaration(name="b"), a_declaration(name="d"))
    found = planned(a_declaration(name="c"), a_declaration(name="a"), a_declaration(every(minutes=1), name="d"))
    assert [change.name for change in found.changes] == ["a", "b", "c", "d"]
