"""``manage.py celery_report``: the source of this project, and the rows of django-celery-beat."""

from __future__ import annotations

import json
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from celery import Celery
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.test import override_settings

from tasks_celery.celery import find_app
from tasks_celery.management.commands import celery_report
from tasks_celery.management.commands.celery_report import known_names, project_folder
from tests.conftest import WITHOUT

HAVE_BEAT = "django_celery_beat" not in WITHOUT and find_spec("django_celery_beat") is not None
needs_beat = pytest.mark.skipif(not HAVE_BEAT, reason="django-celery-beat is not installed here.")


def said(*arguments: str, **options: Any) -> str:
    out = StringIO()
    call_command("celery_report", *arguments, stdout=out, no_color=True, **options)
    return out.getvalue()


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/tasks.py").write_text("from celery import shared_task\n\n@shared_task\ndef add(a: int): ...\n")
    (tmp_path / "shop/views.py").write_text("from shop.tasks import add\nadd.delay({1})\n")
    return tmp_path


def given_rows(*tasks: tuple[str, bool]) -> None:
    """Let there be rows of these tasks, enabled or not."""
    from django_celery_beat.models import IntervalSchedule, PeriodicTask

    every, _ = IntervalSchedule.objects.get_or_create(every=1, period="days")
    PeriodicTask.objects.bulk_create(
        PeriodicTask(name=f"row {number:02}", task=task, enabled=on, interval=every)
        for number, (task, on) in enumerate(tasks)
    )


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="There is no") as raised:
        said(str(tmp_path / "away"))
    assert raised.value.returncode == 2


def test_settings_in_no_file_ask_for_a_folder() -> None:
    with override_settings(SETTINGS_MODULE="away"), pytest.raises(CommandError, match="name a folder"):
        said()


def test_the_project_is_base_dir_or_where_its_settings_lie() -> None:
    with override_settings(BASE_DIR="/somewhere"):
        assert project_folder() == Path("/somewhere")
    with override_settings(SETTINGS_MODULE="tests.settings"):
        assert project_folder() == Path(__file__).resolve().parents[1]


def test_the_report_is_of_the_project(shop: Path) -> None:
    with override_settings(BASE_DIR=shop):
        text = said()
    assert "2 files read\n1 task: 1 " in text
    assert "A set is no JSON" in text


def test_settings_are_those_in_effect(shop: Path) -> None:
    app = Celery("usual", set_as_current=False)
    app.conf.update(task_default_queue="usual", result_backend="cache+memory://")
    with mock.patch(f"{celery_report.__name__}.find_app", return_value=app):
        made = json.loads(said(str(shop), json="-"))
    assert made["queues"] == ["default", "usual"]
    assert ("result_backend", "in effect") in {(each["name"], each["path"]) for each in made["findings"]}


def test_the_exit_code_says_whether_there_is_any(shop: Path) -> None:
    with pytest.raises(SystemExit) as end:
        said(str(shop), fail_on=["unsafe"])
    assert end.value.code == 1


def test_rows_without_django_celery_beat_are_refused() -> None:
    with (
        mock.patch.object(celery_report.apps, "is_installed", return_value=False),
        pytest.raises(CommandError, match="django_celery_beat is not in INSTALLED_APPS"),
    ):
        said(schedules=True)


@needs_beat
@pytest.mark.django_db
def test_rows_that_cannot_be_read_are_said() -> None:
    from django_celery_beat.models import PeriodicTask

    away = mock.patch.object(PeriodicTask.objects, "order_by", side_effect=OperationalError("no such table"))
    with away, pytest.raises(CommandError, match="cannot be read: no such table"):
        said(schedules=True)


@needs_beat
@pytest.mark.django_db
def test_a_module_of_tasks_that_cannot_be_imported_is_said() -> None:
    loader = type(find_app().loader)
    with (
        mock.patch.object(loader, "import_default_modules", side_effect=ImportError("away")),
        pytest.raises(CommandError, match="cannot be imported: ImportError"),
    ):
        said(schedules=True)


@needs_beat
@pytest.mark.django_db
def test_rows_whose_task_is_gone_are_told_and_end_with_1() -> None:
    given_rows(("shop.tasks.gone", True), ("tests.shop.tasks.echo", True))
    out = StringIO()
    with pytest.raises(SystemExit) as end:
        call_command("celery_report", schedules=True, stdout=out)
    assert end.value.code == 1
    text = out.getvalue()
    assert text.startswith("PeriodicTask rows\n2 schedules: 1 is unsafe today, 1 stays as it is.\n")
    assert "  row 00: shop.tasks.gone\n" in text
    assert "  row 01: tests.shop.tasks.echo\n" in text


@needs_beat
@pytest.mark.django_db
def test_all_rows_are_told_however_many() -> None:
    given_rows(*[("tests.shop.tasks.echo", True)] * 20)
    assert said(schedules=True).count("tests.shop.tasks.echo\n") == 20


@needs_beat
@pytest.mark.django_db
def test_rows_that_are_fine_or_off_end_with_0() -> None:
    given_rows(("celery.backend_cleanup", True), ("shop.tasks.gone", False))
    assert "1 needs a person, 1 stays as it is" in said(schedules=True)


@needs_beat
@pytest.mark.django_db
def test_no_rows_are_said() -> None:
    assert said(schedules=True) == "PeriodicTask rows\nThere is none.\n"


def test_names_are_those_of_celerys_tasks_and_of_djangos() -> None:
    assert {"celery.backend_cleanup", "tests.shop.tasks.echo"} <= known_names()
