"""Tasks that stand outside the tasks modules: found by their source, imported, and given a twin."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from django.apps import apps
from django.test import override_settings
from django.utils.functional import SimpleLazyObject

from tasks_celery import discovery
from tasks_celery.compat import API_MODULE
from tasks_celery.discovery import discover, modules_with_tasks
from tasks_celery.twin import registered
from tests.shop.running import the_app

BACKEND = "tasks_celery.CeleryBackend"
Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write a module of an installed app `found_app`, whose tasks are forgotten afterwards."""
    folder = tmp_path / "found_app"
    folder.mkdir()
    (folder / "__init__.py").touch()
    config = SimpleNamespace(name="found_app", path=str(folder))
    monkeypatch.setattr(apps, "get_app_configs", lambda: [config])
    monkeypatch.syspath_prepend(tmp_path)

    def into(name: str, source: str, *, app: str = "found_app") -> None:
        config.name = app
        if app != "found_app":
            config.path = str(tmp_path / app)
        path = Path(config.path, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source))

    yield into
    for name in [name for name in sys.modules if name.partition(".")[0] == "found_app"]:
        del sys.modules[name]


# --- what must not stop a worker


def test_a_module_that_breaks_is_logged_and_the_others_are_found(
    write: Write,
    registry: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write("a_broken.py", "from tasks_celery import task\nraise ValueError('broken')\n")
    write("b_sound.py", "from tasks_celery import task\n\n@task\ndef sound(): ...\n")
    discover()
    assert "found_app.b_sound.sound" in registered()
    assert "found_app.a_broken defines tasks and cannot be imported" in caplog.text


def test_a_link_that_leads_nowhere_is_passed_by(write: Write, tmp_path: Path) -> None:
    # Emacs locks the file that it edits with one: .#views.py
    write("services.py", "from tasks_celery import task\n")
    (tmp_path / "found_app" / ".#views.py").symlink_to("somebody@somewhere")
    assert list(modules_with_tasks()) == ["found_app.services"]


def test_a_file_that_is_no_text_is_passed_by(write: Write, tmp_path: Path) -> None:
    write("services.py", "from tasks_celery import task\n")
    (tmp_path / "found_app" / "binary.py").write_bytes(b"\xff\xfe\0")
    (tmp_path / "found_app" / "folder.py").mkdir()
    assert list(modules_with_tasks()) == ["found_app.services"]


def test_lazy_objects_of_others_are_not_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("somebodys_module")
    module.lazy = SimpleLazyObject(lambda: pytest.fail("woken"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    discover()


@pytest.mark.parametrize("odd", [None, SimpleNamespace(), object()], ids=str)
def test_odd_entries_of_sys_modules_hurt_nobody(monkeypatch: pytest.MonkeyPatch, odd: object) -> None:
    monkeypatch.setitem(sys.modules, "odd_entry", odd)
    discover()


# --- what is found


@pytest.mark.parametrize(
    "line",
    [
        "from tasks_celery import task",
        "from tasks_celery import CeleryBackend, task as job",
        "from tasks_celery import (\n    task,\n)",
        "import tasks_celery",
        "from django.tasks import task",
        "import django.tasks",
        "import django.tasks as t",
        "from django import tasks",
        "from django import forms, tasks",
        "from django_tasks import task",
        "from  tasks_celery   import  task",
        "from tasks_celery.task import task",
        "import tasks_celery.task",
        "if True:\n    from tasks_celery import task",
    ],
)
def test_a_module_that_imports_the_decorator_is_found(write: Write, line: str) -> None:
    write("services.py", line + "\n")
    assert list(modules_with_tasks()) == ["found_app.services"]


@pytest.mark.parametrize(
    "line",
    [
        "# from tasks_celery import task",
        "from django.forms import Form",
        "from django import forms",
        "import tasks_celery_of_others",
        "from .tasks import add",
        "x = 'from tasks_celery import task'",
    ],
)
def test_a_module_that_does_not_is_left_alone(write: Write, line: str) -> None:
    write("services.py", line + "\n")
    assert list(modules_with_tasks()) == []


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("views.py", "found_app.views"),
        ("__init__.py", "found_app"),
        ("deep/down/__init__.py", "found_app.deep.down"),
        ("deep/down/jobs.py", "found_app.deep.down.jobs"),
    ],
)
def test_names_are_those_of_python(write: Write, path: str, name: str) -> None:
    write(path, "from tasks_celery import task\n")
    assert list(modules_with_tasks()) == [name]


@pytest.mark.parametrize(
    "path",
    [
        "tests/test_views.py",
        "tests.py",
        "test_views.py",
        "conftest.py",
        "migrations/0001_initial.py",
        "scripts/load-orders.py",
    ],
)
def test_tests_migrations_and_scripts_are_not_imported_by_a_worker(write: Write, path: str) -> None:
    write(path, "from tasks_celery import task\n")
    assert list(modules_with_tasks()) == []


@pytest.mark.parametrize("app", ["channels_of_ours", "daphne_tools", "tasks_celery_extras", "django_tasks_admin"])
def test_an_app_whose_name_only_starts_like_a_partners_is_looked_through(write: Write, app: str) -> None:
    write("services.py", "from tasks_celery import task\n", app=app)
    assert list(modules_with_tasks()) == [f"{app}.services"]


@pytest.mark.parametrize(
    "app", ["channels", "daphne", "tasks_celery", "tasks_celery.channels", "django.contrib.auth", "django_celery_beat"]
)
def test_partners_and_django_are_not(write: Write, app: str) -> None:
    write("services.py", "from tasks_celery import task\n", app=app)
    assert list(modules_with_tasks()) == []


def test_a_task_in_the_views_of_an_installed_app_is_found() -> None:
    assert "tests.shop.views" in set(modules_with_tasks())
    sys.modules.pop("tests.shop.views", None)
    discover()
    assert "tests.shop.views.from_a_view" in the_app().tasks


def test_a_task_of_another_backend_gets_a_twin_too(write: Write, registry: None) -> None:
    write("jobs.py", f"from {API_MODULE} import task\n\n@task(backend='here')\ndef elsewhere(): ...\n")
    here = {"BACKEND": f"{API_MODULE}.backends.immediate.ImmediateBackend"}
    with override_settings(TASKS={"default": {"BACKEND": BACKEND}, "here": here}):
        discover()
        assert "found_app.jobs.elsewhere" in the_app().tasks
        assert registered()["found_app.jobs.elsewhere"].backend == "default"


def test_a_task_that_cannot_run_here_is_left_to_its_backend(write: Write, registry: None) -> None:
    write("jobs.py", f"from {API_MODULE} import task\n\n@task(backend='here', queue_name='own')\ndef own(): ...\n")
    here = {"BACKEND": f"{API_MODULE}.backends.immediate.ImmediateBackend", "QUEUES": ["own"]}
    with override_settings(TASKS={"default": {"BACKEND": BACKEND}, "here": here}):
        discover()
        assert "found_app.jobs.own" not in registered()


def test_looking_twice_changes_nothing() -> None:
    discover()
    before = dict(registered())
    discover()
    assert dict(registered()) == before
    assert discovery.logger.name == "tasks_celery"
