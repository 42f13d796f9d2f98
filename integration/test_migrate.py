"""Test process. The two commands that move a project, each as a process of its own, on a project that must not be imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from example.servers import ROOT
from integration.conftest import require_beat

pytestmark = pytest.mark.timeout(300)

IMPORTED = "raise SystemExit('The project was imported.')\n"
TASKS = """\
from celery import shared_task


@shared_task(queue="mail")  # by hand
def remind(order: int, text: str) -> int:
    return len(text)


@shared_task(bind=True)
def odd(self, *given):
    return self.app.main
"""
VIEWS = """\
from django.db import transaction

from shop import tasks


def view(request, pk: int):
    tasks.remind.delay(pk, "Pay")  # soon
    tasks.remind.apply_async((pk, "Pay"), countdown=60)
    with transaction.atomic():
        tasks.odd.delay(pk)
"""
#: The command in a process where LibCST cannot be imported.
WITHOUT_LIBCST = (
    "import sys; sys.modules['libcst'] = None; from tasks_celery.migrate.__main__ import main; sys.exit(main())"
)

MANAGE = """\
import os, sys

os.environ["DJANGO_SETTINGS_MODULE"] = "site_settings"
from django.core.management import execute_from_command_line

execute_from_command_line(sys.argv)
"""
SETTINGS = """\
from pathlib import Path

BASE_DIR = Path(__file__).parent
SECRET_KEY = "for tests only"
USE_TZ = True
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "tasks_celery", "shop", {more}]
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "rows.sqlite3"}}}}
TASKS = {{"default": {{"BACKEND": "tasks_celery.CeleryBackend"}}}}
CELERY_BROKER_URL = "memory://"
CELERY_TASK_SERIALIZER = "pi" + "ckle"
"""
ROWS = """
from django_celery_beat.models import IntervalSchedule, PeriodicTask
daily, _ = IntervalSchedule.objects.get_or_create(every=1, period="days")
PeriodicTask.objects.create(name="fine", task="shop.tasks.remind", interval=daily)
PeriodicTask.objects.create(name="moved", task="shop.jobs.remind", interval=daily)
PeriodicTask.objects.create(name="off", task="shop.tasks.away", interval=daily, enabled=False)
"""


def project(root: Path, **texts: str) -> Path:
    (root / "shop").mkdir(parents=True)
    for name, text in {"shop/tasks": TASKS, "shop/views": VIEWS, "shop/__init__": "", **texts}.items():
        (root / f"{name}.py").write_text(text)
    return root


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return project(tmp_path / "site", **{"manage": IMPORTED, "shop/__init__": IMPORTED})


def migrate(*arguments: str | Path, cwd: Path, code: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command outside of any project: without settings."""
    env = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    how = ["-c", code] if code else ["-m", "tasks_celery.migrate"]
    command = [sys.executable, *how, *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env=env | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120, check=False
    )


def test_a_wrong_path_is_2_and_no_traceback(tmp_path: Path) -> None:
    ended = migrate("report", tmp_path / "away", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("tasks_celery.migrate: There is no ")
    assert "Traceback" not in ended.stderr


def test_rewrite_without_libcst_says_what_to_install_and_report_works(shop: Path) -> None:
    refused = migrate("rewrite", shop, cwd=shop.parent, code=WITHOUT_LIBCST)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "pip install 'tasks-celery[migrate]'" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert migrate("report", shop, cwd=shop.parent, code=WITHOUT_LIBCST).returncode == 0


def test_a_report_of_a_project_that_is_not_imported(shop: Path) -> None:
    page, data = shop.parent / "r.html", shop.parent / "r.json"
    ended = migrate("report", shop, "--json", data, "--html", page, "--fail-on", "unsafe", cwd=shop.parent)
    assert (ended.returncode, ended.stderr) == (1, "")
    assert ended.stdout.startswith("site: 4 files read\n2 tasks: 1 moves by itself, 1 needs a person.\n")
    assert '"QUEUES": ["celery", "default", "mail"]' in ended.stdout
    made = json.loads(data.read_text())
    assert made["tasks"] == {"moves": 1, "person": 1, "unsafe": 0, "stays": 0}
    assert [each["line"] for each in made["findings"] if each["verdict"] == "unsafe"] == [10]
    assert page.read_text().count("<tr data-verdict=") == len(made["findings"])


def test_a_rewrite_is_shown_then_done_then_nothing_is_left(shop: Path) -> None:
    shown = migrate("rewrite", shop, "--diff", cwd=shop.parent)
    assert shown.returncode == 0
    assert (shop / "shop/views.py").read_text() == VIEWS
    written = migrate("rewrite", shop, "--write", cwd=shop.parent)
    assert written.returncode == 0, written.stderr
    tasks, views = ((shop / f"shop/{name}.py").read_text() for name in ("tasks", "views"))
    assert '@task(queue_name="mail")  # by hand\ndef remind' in tasks
    assert "@shared_task(bind=True)\ndef odd" in tasks
    assert 'tasks.remind.enqueue(pk, "Pay")  # soon' in views
    assert "tasks.odd.delay(pk)" in views
    # The diff said the same, to whom it is given.
    git = ["git", "-c", "core.autocrlf=false", "apply", "--unidiff-zero", "-"]
    again = project(shop.parent / "again", **{"manage": IMPORTED, "shop/__init__": IMPORTED})
    subprocess.run(git, cwd=again, input=shown.stdout, text=True, check=True, timeout=60)
    assert [(again / f"shop/{name}.py").read_text() for name in ("tasks", "views")] == [tasks, views]
    assert "0 files changed." in migrate("rewrite", shop, "--write", cwd=shop.parent).stdout
    compiled = subprocess.run([sys.executable, "-m", "compileall", "-q", "shop"], cwd=shop, check=False, timeout=60)
    assert compiled.returncode == 0


def manage(root: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_management_command_goes_by_the_settings_in_effect(tmp_path: Path) -> None:
    root = project(tmp_path / "site", manage=MANAGE, site_settings=SETTINGS.format(more=""))
    ended = manage(root, "celery_report", "--json", "-", "--fail-on", "unsafe")
    assert ended.returncode == 1, ended.stderr
    made = json.loads(ended.stdout)
    assert made["title"] == "site"
    settings = {
        each["name"]: (each["path"], each["verdict"]) for each in made["findings"] if each["kind"] == "serializer"
    }
    assert settings == {"task_serializer": ("in effect", "unsafe")}
    refused = manage(root, "celery_report", "--schedules")
    assert refused.returncode == 2
    assert "django_celery_beat is not in INSTALLED_APPS" in refused.stderr


def test_rows_whose_task_is_gone_are_listed(tmp_path: Path) -> None:
    require_beat()
    settings = SETTINGS.format(more='"django_celery_beat"')
    root = project(tmp_path / "site", manage=MANAGE, site_settings=settings)
    assert manage(root, "migrate", "-v0").returncode == 0
    assert manage(root, "shell", "-v0", "-c", ROWS).returncode == 0
    ended = manage(root, "celery_report", "--schedules")
    assert ended.returncode == 1, ended.stderr
    assert "moved: shop.jobs.remind (perhaps now shop.tasks.remind)\n" in ended.stdout
    assert ended.stdout.startswith("PeriodicTask rows\n")
    assert "1 needs a person, 1 is unsafe today" in ended.stdout
    assert "  fine: shop.tasks.remind\n" in ended.stdout
