"""What ``manage.py check`` says of options that a backend of Django's own leaves out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.test import override_settings

from tasks_celery import task
from tasks_celery.checks.options import options_are_left_out
from tasks_celery.compat import API_MODULE
from tasks_celery.plain import _left_out

NOW = {"BACKEND": f"{API_MODULE}.backends.immediate.ImmediateBackend", "QUEUES": []}
CELERY = {"BACKEND": "tasks_celery.CeleryBackend", "QUEUES": []}


def one() -> None: ...


def two() -> None: ...


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    before = dict(_left_out)
    _left_out.clear()
    yield
    _left_out.clear()
    _left_out.update(before)


def test_what_is_left_out_is_a_warning_for_each_alias_that_names_the_tasks() -> None:
    with override_settings(TASKS={"default": NOW, "other": NOW}):
        task(atomic=True, max_retries=7)(two)
        task(time_limit=5)(one)
        task(backend="other", unique=True)(one)
        first, second = options_are_left_out()
    assert (first.id, first.level) == ("tasks_celery.W005", 30)
    assert first.msg == (
        f"TASKS['default'] is {API_MODULE}.backends.immediate.ImmediateBackend, which leaves out options of its tasks "
        "(tests.checks.test_options.one: time_limit; tests.checks.test_options.two: max_retries, atomic)."
    )
    assert "SILENCED_SYSTEM_CHECKS = ['tasks_celery.W005']" in str(first.hint)
    assert second.msg.startswith("TASKS['other'] is")
    assert second.msg.endswith("(tests.checks.test_options.one: unique).")


def test_nothing_is_said_where_nothing_is_missed() -> None:
    with override_settings(TASKS={"default": NOW}):
        task(name="shop.one", aliases=("shop.two",), ignore_result=True)(one)
        assert list(options_are_left_out()) == []


def test_nothing_is_said_of_an_alias_that_is_celerys_by_now() -> None:
    with override_settings(TASKS={"default": NOW}):
        task(atomic=True)(one)
    with override_settings(TASKS={"default": CELERY}):
        assert list(options_are_left_out()) == []
