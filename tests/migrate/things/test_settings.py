"""Celery's settings: which are told, and what they mean for a move."""

from __future__ import annotations

import pytest

from tasks_celery.migrate.finding import Verdict
from tasks_celery.migrate.source.plain import NOT_PLAIN
from tasks_celery.migrate.things.settings import advice, find
from tests.migrate.looking import by_name, look, told

SETTINGS = "shop/settings.py"
APP = "from celery import Celery\napp = Celery('shop')\napp.config_from_object('django.conf:settings', namespace='CELERY')\n"


def test_settings_of_others_are_not_told() -> None:
    text = "TASK_SERIALIZER = 'pickle'\nCACHES = {}\nMY_CELERY_TASK_SERIALIZER = 'pickle'\n"
    assert look(find, text, SETTINGS, celery=APP) == []


def test_a_local_name_is_no_setting() -> None:
    assert look(find, "def f():\n    CELERY_TASK_SERIALIZER = 'pickle'\n", SETTINGS, celery=APP) == []


def test_atomic_requests_that_are_off_are_not_told() -> None:
    assert look(find, "DATABASES = {'default': {'ATOMIC_REQUESTS': False}}\n", SETTINGS, celery=APP) == []


@pytest.mark.parametrize(
    "text",
    [
        "DATABASES = {'default': {'ENGINE': 'x', 'ATOMIC_REQUESTS': True}}\n",
        "DATABASES['default']['ATOMIC_REQUESTS'] = True\n",
    ],
)
def test_atomic_requests_make_messages_faster_than_their_rows(text: str) -> None:
    (found,) = look(find, text, SETTINGS, celery=APP)
    assert (found.name, found.verdict) == ("ATOMIC_REQUESTS", Verdict.UNSAFE)
    assert "ENQUEUE_ON_COMMIT" in found.reason


def test_pickle_is_unsafe_wherever_it_is_set() -> None:
    text = "CELERY_TASK_SERIALIZER = 'pickle'\nCELERY_ACCEPT_CONTENT = ['json', 'pickle']\nCELERY_RESULT_SERIALIZER = 'json'\n"
    assert told(sorted(look(find, text, SETTINGS, celery=APP), key=lambda each: each.anchor)) == [
        ("serializer", "task_serializer", "unsafe"),
        ("serializer", "accept_content", "unsafe"),
        ("setting", "result_serializer", "stays"),
    ]


def test_settings_on_the_app_itself_are_told() -> None:
    text = "from celery import Celery\napp = Celery('shop')\napp.conf.task_always_eager = True\n"
    assert told(look(find, text, "shop/celery.py")) == [("setting", "task_always_eager", "person")]


def test_each_is_told_where_it_stands() -> None:
    found = by_name(look(find, "\n\nCELERY_TIMEZONE = 'UTC'\n", SETTINGS, celery=APP))
    assert found["timezone"].anchor.line == 3


def test_values_are_not_quoted_for_they_may_be_secrets() -> None:
    (found,) = look(find, "CELERY_RESULT_BACKEND = 'db+postgresql://user:hidden@db/x'\n", SETTINGS, celery=APP)
    assert "hidden" not in repr(found)
    assert found.verdict is Verdict.PERSON


@pytest.mark.parametrize(
    ("setting", "value", "verdict"),
    [
        ("task_always_eager", False, Verdict.STAYS),
        ("task_always_eager", NOT_PLAIN, Verdict.STAYS),
        ("task_always_eager", True, Verdict.PERSON),
        ("result_backend", "redis://localhost/1", Verdict.STAYS),
        ("result_backend", NOT_PLAIN, Verdict.STAYS),
        ("result_backend", "django-db", Verdict.PERSON),
        ("task_routes", {"shop.*": {"queue": "x"}}, Verdict.STAYS),
        ("task_routes", NOT_PLAIN, Verdict.PERSON),
        ("task_cls", "shop.Base", Verdict.PERSON),
        ("accept_content", ["application/x-python-serialize"], Verdict.UNSAFE),
        ("accept_content", NOT_PLAIN, Verdict.PERSON),
        ("task_serializer", NOT_PLAIN, Verdict.PERSON),
        ("task_serializer", "signed-pickle", Verdict.PERSON),
        ("task_serializer", "json", Verdict.STAYS),
        ("worker_concurrency", 4, Verdict.STAYS),
    ],
)
def test_what_a_value_means(setting: str, value: object, verdict: Verdict) -> None:
    said, reason = advice(setting, value)
    assert said is verdict
    assert reason or said is Verdict.STAYS
