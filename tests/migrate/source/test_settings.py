"""What a project sets of Celery's settings."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from tasks_celery.migrate.source import NOT_PLAIN, Project, is_plain


def settings(text: str, **files: str) -> dict[str, Any]:
    others = {f"{path.replace('__', '/')}.py": each for path, each in files.items()}
    return Project.of({"proj/settings.py": text, **others}).settings


APP = "from celery import Celery\napp = Celery()\n"


@pytest.mark.parametrize(
    "text",
    [
        "TASK_DEFAULT_QUEUE = 'x'\n",
        "task_default_queue = 'x'\n",
        "CELERY_NOTHING = 'x'\n",
        "def f():\n    CELERY_TASK_DEFAULT_QUEUE = 'x'\n",
        "app.conf.task_default_queue = 'x'\n",
        "self.conf.task_default_queue = 'x'\n",
        f"{APP}app.conf.nothing = 'x'\n",
        f"{APP}app.other.task_default_queue = 'x'\n",
    ],
)
def test_what_is_no_setting_of_celery_is_none(text: str) -> None:
    assert settings(text) == {}


@pytest.mark.parametrize(
    "text",
    [
        "CELERY_TASK_DEFAULT_QUEUE = env('Q')\n",
        "CELERY_TASK_DEFAULT_QUEUE = 'x'\nCELERY_TASK_DEFAULT_QUEUE = 'y'\n",
        "CELERY_TASK_DEFAULT_QUEUE = 'x'\nCELERY_TASK_DEFAULT_QUEUE += 'y'\n",
        "if DEBUG:\n    CELERY_TASK_DEFAULT_QUEUE = 'x'\nelse:\n    CELERY_TASK_DEFAULT_QUEUE = f()\n",
        "CELERY_TASK_DEFAULT_QUEUE: str = f'{x}'\n",
        f"{APP}app.conf.update(task_default_queue=QUEUE)\n",
    ],
)
def test_what_is_not_plain_is_said_to_be_so(text: str) -> None:
    assert settings(text) == {"task_default_queue": NOT_PLAIN}


@pytest.mark.parametrize(
    "text",
    [
        "CELERY_TASK_DEFAULT_QUEUE = 'x'\n",
        "CELERY_TASK_DEFAULT_QUEUE: str = 'x'\n",
        "CELERY_DEFAULT_QUEUE = 'x'\n",
        "if DEBUG:\n    CELERY_TASK_DEFAULT_QUEUE = 'x'\n",
        "class Base(Configuration):\n    CELERY_TASK_DEFAULT_QUEUE = 'x'\n",
        f"{APP}app.conf.task_default_queue = 'x'\n",
        f"{APP}app.conf['task_default_queue'] = 'x'\n",
        f"{APP}app.conf.update(task_default_queue='x')\n",
        f"{APP}app.conf.update({{'task_default_queue': 'x'}})\n",
        f"{APP}app.conf.update(dict(task_default_queue='x'))\n",
        f"{APP}app.conf.update(**{{'task_default_queue': 'x'}})\n",
        f"{APP}def f():\n    app.conf.task_default_queue = 'x'\n",
        f"{APP}app.conf.CELERY_DEFAULT_QUEUE = 'x'\n",
        "from celery import current_app\ncurrent_app.conf.task_default_queue = 'x'\n",
        "def f():\n    from celery import current_app\n    current_app.conf.task_default_queue = 'x'\n",
    ],
)
def test_a_setting_is_named_as_celery_names_it_now(text: str) -> None:
    assert settings(text) == {"task_default_queue": "x"}


def test_a_namespace_of_the_projects_own_is_taken_from_its_app() -> None:
    app = f"{APP}app.config_from_object('django.conf:settings', namespace='JOBS')\n"
    text = "JOBS_TASK_DEFAULT_QUEUE = 'x'\nCELERY_TASK_ALWAYS_EAGER = True\nCELERY_DEFAULT_QUEUE = 'y'\n"
    assert settings(text, proj__celery=app) == {"task_default_queue": "x"}


def test_a_module_that_an_app_is_configured_from_has_celerys_own_names() -> None:
    text = "task_default_queue = 'x'\n"
    assert settings("", celeryconfig=text, proj__celery=f"{APP}app.config_from_object('celeryconfig')\n") == {
        "task_default_queue": "x"
    }
    module = f"from proj import conf\n{APP}app.config_from_object(conf)\n"
    assert settings("", proj__conf=text, proj__celery=module) == {"task_default_queue": "x"}


def test_what_is_plain_within_a_dict_is_kept() -> None:
    text = "CELERY_BEAT_SCHEDULE = {'x': {'task': 'a.b', 'schedule': crontab(), 'args': (1, [2])}}\n"
    schedule = settings(text)["beat_schedule"]
    assert schedule == {"x": {"task": "a.b", "schedule": NOT_PLAIN, "args": (1, [2])}}
    assert not is_plain(schedule)
    assert is_plain(schedule["x"]["args"])
    assert settings("CELERY_TASK_ROUTES = {**MORE, 'x': 1}\n")["task_routes"] is NOT_PLAIN
    assert settings("CELERY_TASK_ROUTES = {NAME: 1}\n")["task_routes"] is NOT_PLAIN
    assert settings("CELERY_TASK_ROUTES = {'x': 1}\nCELERY_TASK_ROUTES['y'] = 2\n")["task_routes"] is NOT_PLAIN
    assert settings("CELERY_TASK_ROUTES = {'x': 1}\nCELERY_TASK_ROUTES.update(y=2)\n")["task_routes"] is NOT_PLAIN
    assert (
        settings("CELERY_ACCEPT_CONTENT = ['json']\nCELERY_ACCEPT_CONTENT.append('pickle')\n")["accept_content"]
        is NOT_PLAIN
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "USE_TZ = True\n",
        "USE_TZ: bool = True\n",
        "def f():\n    USE_TZ = False\n",
        "USE_L10N = False\n",
        "class A:\n    def f(self):\n        self.USE_TZ = False\n",
    ],
)
def test_moments_have_zones_as_they_have_by_default(text: str) -> None:
    assert settings(text).get("USE_TZ", True) is True


@pytest.mark.parametrize(
    "text",
    [
        "USE_TZ = False\n",
        "USE_TZ: bool = False\n",
        "USE_TZ = env('TZ')\n",
        "USE_TZ = True\nUSE_TZ = False\n",
        "if DEBUG:\n    USE_TZ = False\n",
        "class Base(Configuration):\n    USE_TZ = False\n",
    ],
)
def test_moments_have_no_zones_where_any_place_may_say_so(text: str) -> None:
    project = Project.of({"proj/settings/base.py": "USE_TZ = True\n", "proj/settings/local.py": text})
    assert project.settings == {"USE_TZ": False}
    assert project.settings_at == {}


def test_each_place_of_a_setting_is_known() -> None:
    project = Project.of({"a.py": "CELERY_TASK_ALWAYS_EAGER = True\n", "b.py": "\nCELERY_ALWAYS_EAGER = False\n"})
    found = [(each.path, each.line, each.written, each.value) for each in project.settings_at["task_always_eager"]]
    assert found == [("a.py", 1, "CELERY_TASK_ALWAYS_EAGER", True), ("b.py", 2, "CELERY_ALWAYS_EAGER", False)]
    assert project.settings == {"task_always_eager": NOT_PLAIN}


def test_not_plain_is_itself_in_another_process() -> None:
    assert pickle.loads(pickle.dumps(NOT_PLAIN)) is NOT_PLAIN
