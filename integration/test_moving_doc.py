"""Test process. The blocks of the pages on moving, put into new projects: what the pages say of them is done with them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import django
import pytest
from markdown_it import MarkdownIt

from example.servers import ROOT, Child, plan_redis, redis_answers, stop, wait_until
from integration.conftest import require, require_beat
from integration.test_readme import child, here, run

pytestmark = pytest.mark.timeout(300)

WORKER = "celery -A tasks_celery worker"
RESULTS = """
CELERY_BROKER_URL = CELERY_RESULT_BACKEND = "redis://localhost:6379/0"
CELERY_RESULT_EXTENDED = True
INSTALLED_APPS += ["shop"]
ALLOWED_HOSTS = ["testserver"]
"""
URLS = """
from django.urls import path
from shop import views

urlpatterns = [path("<str:result_id>/", views.state)]
"""
CALLS = """
import json, django
django.setup()
from shop.calls import order
print(json.dumps([each.id for each in order(7)]))
"""
STATES = """
import json, sys, time, django
django.setup()
from django.test import Client
ids, deadline = json.loads(sys.argv[1]), time.monotonic() + 60
told = []
while told.count("SUCCESSFUL") < len(ids) and time.monotonic() < deadline:
    told = [Client().get(f"/{each}/").json()["status"] for each in ids]
    time.sleep(0.2)
print(json.dumps(told))
"""
REPORTS = """
from django.tasks import task


@task
def build_report(report_id):
    return report_id
"""
ASKED = """
import json, time, django
django.setup()
from reports.calls import ask
from tasks_celery.compat import TaskResultDoesNotExist, task_backends
deadline, result_id, result = time.monotonic() + 60, ask(), None
while (result is None or not result.is_finished) and time.monotonic() < deadline:
    try:
        result = task_backends["default"].get_result(result_id)
    except TaskResultDoesNotExist:  # the second of a chain is sent when the first has ended
        pass
    time.sleep(0.1)
print(json.dumps([str(result.status), result.return_value, result.id]))
"""
ENQUEUED = """
import django
django.setup()
from datetime import timedelta
from django.utils import timezone
from reports.tasks import build_report
print(build_report.enqueue(7).id)
build_report.using(run_after=timezone.now() + timedelta(hours=9)).enqueue(report_id=8)
"""
OLD = """
import sys, django
django.setup()
from tasks_celery.compat import task_backends
print(task_backends["old"].get_result(sys.argv[1]).status)
"""
TAKEN = """
import json, sys, django
django.setup()
from tasks_celery.compat import task_backends
results = [task_backends["default"].get_result(each) for each in sys.argv[1:]]
print(json.dumps(sorted([str(each.status), each.args, each.kwargs, bool(each.task.run_after)] for each in results)))
"""


def fences(page: str) -> list[tuple[str, str, str]]:
    """Return the blocks of a page: the number of the deploy they stand under, their language and their text."""
    found, deploy, is_heading = [], "", False
    for token in MarkdownIt().parse((ROOT / "docs" / page).read_text()):
        if is_heading and (number := re.match(r"(\d)\. ", token.content)):
            deploy = number[1]
        is_heading = token.type == "heading_open"
        if token.type == "fence":
            found.append((deploy, token.info, token.content))
    return found


def python_files(page: str, deploy: str = "") -> dict[str, str]:
    blocks = [text.split("\n", 1) for number, info, text in fences(page) if info == "python" and number == deploy]
    named = {first.removeprefix("# "): rest for first, rest in blocks}
    assert all(name.endswith(".py") for name in named), f"a block of {page} does not say which file it is"
    return named


def commands(page: str) -> list[str]:
    return [line for _, info, text in fences(page) if info == "sh" for line in text.splitlines()]


def put(root: Path, files: dict[str, str], redis_url: str) -> None:
    for name, text in files.items():
        path = root / ("proj/settings.py" if name == "settings.py" else name)
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = path.read_text() if name == "settings.py" else ""
        path.write_text(kept + here(text, redis_url))


@pytest.fixture(scope="module")
def redis_url(clean_environ: dict[str, str]) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        plan = plan_redis(clean_environ, Path(directory))
        require(plan.url and plan.command, "There is no Redis server here; install redis-server.")
        redis = Child("redis", plan.command, env=clean_environ)
        try:
            wait_until(lambda: redis_answers(str(plan.url)), what="Redis", watch=[redis])
            yield str(plan.url)
        finally:
            stop([redis])


def a_project(root: Path, app: str, environ: dict[str, str]) -> dict[str, str]:
    run(["-m", "django", "startproject", "proj", "."], root, environ)
    run(["-m", "django", "startapp", app], root, environ)
    return environ | {"DJANGO_SETTINGS_MODULE": "proj.settings", "PYTHONUNBUFFERED": "1"}


@contextmanager
def a_worker(root: Path, env: dict[str, str]) -> Iterator[Child]:
    in_project = env | {"PYTHONPATH": str(root)}
    worker = child("worker", root, in_project, *WORKER.split(), "-c", "1", "-l", "INFO")
    try:
        wait_until(worker.said_ready.is_set, what="worker", watch=[worker])
        yield worker
    finally:
        stop([worker])


def test_what_each_deploy_of_the_page_has_sent_is_run_and_told_after_the_last(
    redis_url: str, clean_environ: dict[str, str], tmp_path: Path
) -> None:
    env = a_project(tmp_path, "shop", clean_environ)
    put(tmp_path, {"settings.py": RESULTS}, redis_url)
    ids: list[str] = []
    for deploy in ("1", "2", "3"):
        put(tmp_path, python_files("moving.md", deploy), redis_url)
        assert "no issues (0 silenced)" in run(["manage.py", "check"], tmp_path, env)
        ids += json.loads(run(["-c", CALLS], tmp_path, env).splitlines()[0])
    (tmp_path / "proj/urls.py").write_text(URLS)
    with a_worker(tmp_path, env) as worker:
        told = json.loads(run(["-c", STATES, json.dumps(ids)], tmp_path, env).splitlines()[0])
    assert told == ["SUCCESSFUL"] * 9, worker.last_lines(60)


def test_the_commands_of_the_page_exist() -> None:
    for line in commands("moving.md"):
        if "tasks_celery.migrate" in line:
            asked = [*line.split()[1:4], "--help"]
            done = subprocess.run(
                [sys.executable, *asked], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
            )
            assert done.returncode == 0, done.stderr
            for option in re.findall(r"--\w+", line):
                assert option in done.stdout


# --- from other systems


def test_the_tasks_of_the_page_on_django_cq_run(redis_url: str, clean_environ: dict[str, str], tmp_path: Path) -> None:
    require_beat()
    env = a_project(tmp_path, "reports", clean_environ)
    put(tmp_path, {"settings.py": 'INSTALLED_APPS += ["reports"]\n'}, redis_url)
    put(tmp_path, python_files("from-django-cq.md"), redis_url)
    assert {"python manage.py migrate", WORKER} <= set(commands("from-django-cq.md"))
    run(["manage.py", "migrate", "-v", "0"], tmp_path, env)
    assert "no issues (0 silenced)" in run(["manage.py", "check"], tmp_path, env)
    assert "+ Collect: collect, crontab 0 3 * * *" in run(["manage.py", "sync_schedules"], tmp_path, env)
    with a_worker(tmp_path, env) as worker:
        status, value, result_id = json.loads(run(["-c", ASKED], tmp_path, env).splitlines()[0])
    assert (status, value) == ("SUCCESSFUL", {"title": "A year", "numbers": [2026], "id": result_id}), (
        worker.last_lines(40)
    )


def place_of(package: str) -> str:
    """Return the folder that another backend is installed in: nothing of it is in an environment of tests."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    place = ROOT / ".venvs" / f"bench-{package}" / "lib" / version / "site-packages"
    require(django.VERSION >= (6, 0), "These pages are about Django's own tasks.")
    if find_spec(package.replace("-", "_")) is None and not place.exists():
        pytest.skip(f"{package} is not installed here.")  # CI has it in its benchmarks alone
    return str(place)


def taken_over(page: str, command: str, root: Path, env: dict[str, str], redis_url: str) -> str:
    """Have what waits in another backend taken over as a page says, and return what its command says."""
    run(["manage.py", "migrate", "-v", "0"], root, env)
    old = run(["-c", ENQUEUED], root, env).split()[0]
    put(root, python_files(page), redis_url)
    for folder in (root / "reports/management", root / "reports/management/commands"):
        (folder / "__init__.py").touch()
    run(["manage.py", "migrate", "-v", "0"], root, env)
    assert run(["-c", OLD, old], root, env).split()[0] == "READY"
    said = run(["manage.py", command], root, env)
    ids = re.findall(r" is now (\S+)", said)
    assert json.loads(run(["-c", TAKEN, *ids], root, env).splitlines()[0]) == [
        ["READY", [], {"report_id": 8}, True],
        ["READY", [7], {}, False],
    ]
    return run(["manage.py", command], root, env)


def test_what_waits_in_the_table_of_django_tasks_db_is_taken_over_once(
    redis_url: str, clean_environ: dict[str, str], tmp_path: Path
) -> None:
    place = place_of("django-tasks-db")
    env = a_project(tmp_path, "reports", clean_environ)
    before = f"""
import sys
sys.path.append({place!r})
INSTALLED_APPS += ["reports", "django_tasks_db"]
TASKS = {{"default": {{"BACKEND": "django_tasks_db.DatabaseBackend"}}}}
"""
    put(tmp_path, {"settings.py": before, "reports/tasks.py": REPORTS}, redis_url)
    again = taken_over("from-django-tasks-db.md", "take_over_tasks", tmp_path, env, redis_url)
    assert " is now " not in again
    assert "no issues" in run(["manage.py", "check"], tmp_path, env)


def test_what_waits_in_the_queues_of_django_tasks_rq_is_taken_over_once(
    redis_url: str, clean_environ: dict[str, str], tmp_path: Path
) -> None:
    place = place_of("django-tasks-rq")
    env = a_project(tmp_path, "reports", clean_environ)
    before = f"""
import sys
sys.path.append({place!r})
INSTALLED_APPS += ["reports", "django_rq"]
RQ_QUEUES = {{"default": {{"URL": "{redis_url}"}}}}
TASKS = {{"default": {{"BACKEND": "django_tasks_rq.RQBackend"}}}}
"""
    put(tmp_path, {"settings.py": before, "reports/tasks.py": REPORTS}, redis_url)
    again = taken_over("from-django-tasks-rq.md", "take_over_jobs", tmp_path, env, redis_url)
    assert " is now " not in again
