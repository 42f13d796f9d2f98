"""The API's names, wherever this Django has them."""

from __future__ import annotations

import runpy
import sys

import django
import pytest

from tasks_celery import compat


def test_a_django_without_tasks_and_without_the_backport_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(django, "VERSION", (5, 2, 0, "final", 0))
    monkeypatch.setitem(sys.modules, "django_tasks", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'tasks-celery\[backport\]'") as caught:
        runpy.run_path(compat.__file__)
    assert isinstance(caught.value.__cause__, ImportError)


def test_every_name_it_promises_is_there() -> None:
    assert [name for name in compat.__all__ if not hasattr(compat, name)] == []


def test_the_names_are_this_djangos_own() -> None:
    expected = "django.tasks" if django.VERSION >= (6, 0) else "django_tasks"
    assert expected == compat.API_MODULE
    for kind in (compat.Task, compat.TaskResult, compat.InvalidTask, compat.TaskResultDoesNotExist):
        assert kind.__module__.startswith(expected)


def test_the_exceptions_are_exceptions() -> None:
    for kind in (compat.InvalidTask, compat.InvalidTaskBackend, compat.TaskResultDoesNotExist):
        assert issubclass(kind, Exception)
