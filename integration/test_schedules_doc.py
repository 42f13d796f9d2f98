"""Test process. The blocks of docs/schedules.md, put into a project that was made as the README says: beat and a worker run them."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from example.servers import ROOT, plan_redis, redis_answers, stop, wait_until
from integration import test_readme
from integration.conftest import require, require_beat
from integration.test_readme import Child, child, here, run

pytestmark = pytest.mark.timeout(300)

TOKENS = [token for token in MarkdownIt().parse((ROOT / "docs/schedules.md").read_text()) if token.type == "fence"]
COMMANDS = [line for token in TOKENS if token.info == "sh" for line in token.content.splitlines()]
(SYNCED,) = [token.content for token in TOKENS if token.info == "text"]
URLS = """
from django.urls import path
from reports import views

urlpatterns = [path("remind/", views.remind_me), path("back/", views.take_back)]
"""
# A person in front of the project: asks for two reminders, takes one back, and looks what became of the other.
IN_USE = """
import json, time, django
django.setup()
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django_celery_beat.models import PeriodicTask
from reports.looking import last_ticks
from tasks_celery.compat import task_backends

def client_of(name):
    client = Client(headers={"host": "localhost"})
    client.force_login(User.objects.create_user(name))
    return client

ada, bob, told = client_of("ada"), client_of("bob"), {}
late = ada.post("/remind/", {"minutes": 600, "text": "Much later"}).json()["name"]
told["of another"] = bob.post("/back/", {"name": late}).status_code
told["of one's own"] = ada.post("/back/", {"name": late}).status_code
told["twice"] = ada.post("/back/", {"name": late}).status_code
now = ada.post("/remind/", {"minutes": 0, "text": "Now"}).json()["name"]
deadline = time.monotonic() + 40
while time.monotonic() < deadline:
    ticks = last_ticks(now)
    if ticks and ticks[0][1] == "sent":
        result = task_backends["default"].get_result(ticks[0][2])
        told["status"] = str(result.status)
        if result.is_finished:
            told["schedule"] = result.periodic_task_name == now
            break
    time.sleep(0.1)
PeriodicTask.objects.get(name=now).delete()
told["schedules"] = sorted(PeriodicTask.objects.exclude(name__startswith="celery.").values_list("name", flat=True))
call_command("migrate", "reports", "zero", verbosity=0)
told["without the migration"] = PeriodicTask.objects.filter(name="Digest on Sundays").exists()
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def project(clean_environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    require_beat()
    root = tmp_path_factory.mktemp("schedules")
    with tempfile.TemporaryDirectory() as directory:
        plan = plan_redis(clean_environ, Path(directory))
        require(plan.url and plan.command, "There is no Redis server here; install redis-server.")
        redis = Child("redis", plan.command, env=clean_environ)
        try:
            wait_until(lambda: redis_answers(str(plan.url)), what="Redis", watch=[redis])
            make(root, str(plan.url), clean_environ)
            yield root
        finally:
            stop([redis])


def make(root: Path, redis_url: str, environ: dict[str, str]) -> None:
    run(["-m", "django", "startproject", "proj", "."], root, environ)
    run(["-m", "django", "startapp", "reports"], root, environ)
    settings = root / "proj/settings.py"
    text = settings.read_text() + test_readme.SETTINGS + test_readme.files()["settings.py"]
    settings.write_text(here(text, redis_url))
    (root / "proj/urls.py").write_text(URLS)
    for token in TOKENS:
        if token.info == "python":
            put(root, *token.content.split("\n", 1))


def put(root: Path, first: str, rest: str) -> None:
    name = first.removeprefix("# ")
    assert name.endswith(".py"), f"a block does not say which file it is: {first}"
    if name == "settings.py":
        rest = (root / "proj/settings.py").read_text() + rest
        name = "proj/settings.py"
    (root / name).write_text(rest)


@pytest.fixture(scope="module")
def env(clean_environ: dict[str, str], project: Path) -> dict[str, str]:
    return clean_environ | {"DJANGO_SETTINGS_MODULE": "proj.settings", "PYTHONUNBUFFERED": "1"}


@pytest.fixture(scope="module")
def migrated(project: Path, env: dict[str, str]) -> str:
    assert "python manage.py migrate" in COMMANDS
    return run(["manage.py", "migrate"], project, env)


def test_migrate_writes_what_the_code_declares(migrated: str) -> None:
    for name in ("Digest of the week", "Digest of today", "Lamps", "Import"):
        assert f"+ {name}: reports.tasks." in migrated


def test_the_system_check_has_nothing_to_say(migrated: str, project: Path, env: dict[str, str]) -> None:
    assert "no issues (0 silenced)" in run(["manage.py", "check", "--database", "default"], project, env)


def test_a_changed_decorator_is_found_and_written(migrated: str, project: Path, env: dict[str, str]) -> None:
    tasks = project / "reports/tasks.py"
    tasks.write_text(tasks.read_text().replace('crontab("0 3 * * *"', 'crontab("30 4 * * *"'))
    sync, check = "python manage.py sync_schedules", "python manage.py sync_schedules --check"
    assert {sync, check} <= set(COMMANDS)
    checked = subprocess.run([sys.executable, *check.split()[1:]], cwd=project, env=env, timeout=60, check=False)
    assert checked.returncode == 1
    assert run(sync.split()[1:], project, env) == SYNCED
    run(check.split()[1:], project, env)


def test_beat_sends_a_reminder_and_a_worker_runs_it(migrated: str, project: Path, env: dict[str, str]) -> None:
    assert "celery -A tasks_celery beat -S django" in COMMANDS
    in_project = env | {"PYTHONPATH": str(project)}
    worker = child("worker", project, in_project, "celery", "-A", "tasks_celery", "worker", "-c", "1", "-l", "INFO")
    beat = child("beat", project, in_project, "celery", "-A", "tasks_celery", "beat", "-S", "django", "-l", "INFO")
    try:
        wait_until(worker.said_ready.is_set, what="worker", watch=[worker, beat])
        told = json.loads(run(["-c", IN_USE], project, in_project).splitlines()[0])
    finally:
        stop([beat, worker])
    assert any("takes the place of django-celery-beat's" in line for line in beat.lines)
    assert told == {
        "of another": 404,
        "of one's own": 200,
        "twice": 404,
        "status": "SUCCESSFUL",
        "schedule": True,
        "schedules": ["Digest of the week", "Digest of today", "Digest on Sundays", "Import", "Lamps"],
        "without the migration": False,
    }
