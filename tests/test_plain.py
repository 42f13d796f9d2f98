"""The same code under the backends of Django's own, which have no Celery: what is left out, and what is remembered of it."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import django
import pytest
from django.test import override_settings
from django.utils import timezone

from tasks_celery import CeleryTask, TaskOptions, task
from tasks_celery.compat import API_MODULE, InvalidTask, Task, TaskContext, TaskResultStatus, task_backends
from tasks_celery.plain import PlainTask, left_out, note_left_out, plain_kind
from tasks_celery.unique import Unique

EVERYTHING: dict[str, Any] = {
    "name": "shop.everything",
    "aliases": ("shop.all",),
    "autoretry_for": (KeyError, lambda error: True),
    "max_retries": 7,
    "time_limit": 20,
    "soft_time_limit": 10,
    "atomic": True,
    "unique": Unique(seconds=5),
    "enqueue_on_commit": True,
    "compression": "gzip",
    "ignore_result": True,
}


@task
def plain(value: int = 1) -> int:
    return value


@task
async def coroutine(value: int = 1) -> int:
    return value


@task(takes_context=True)
def with_context(context: Any) -> str:
    assert type(context) is TaskContext
    return str(context.attempt)


@pytest.fixture(params=["immediate.ImmediateBackend", "dummy.DummyBackend"])
def other(request: pytest.FixtureRequest) -> Iterator[str]:
    """A backend of Django's own; what was left out so far is forgotten afterwards."""
    before = dict(left_out())
    with override_settings(TASKS={"default": {"BACKEND": f"{API_MODULE}.backends.{request.param}", "QUEUES": []}}):
        yield request.param
    left_out().clear()  # type: ignore[attr-defined]
    left_out().update(before)  # type: ignore[attr-defined]


# --- refusals


@pytest.mark.usefixtures("other")
def test_what_makes_no_sense_is_refused_there_too() -> None:
    with pytest.raises(ValueError, match=r"task\(time_limit=-1\)"):
        task(time_limit=-1)
    with pytest.raises(InvalidTask, match="cannot be had by the coroutine"):
        task(atomic=True)(coroutine.func)
    made = task(plain.func)
    with pytest.raises(ValueError, match=r"using\(expires=-1\)"):
        made.using(expires=-1)
    with pytest.raises(TypeError, match=r"using\(\) does not take max_retries"):
        made.using(max_retries=3)
    with pytest.raises(TypeError, match="pair of arguments"):
        made.enqueue_many([7])


# --- what runs


@pytest.mark.usefixtures("other")
def test_a_task_with_every_option_is_djangos_own_and_can_be_enqueued() -> None:
    made = task(**EVERYTHING)(plain.func)
    assert isinstance(made, Task)
    assert not isinstance(made, CeleryTask)
    result = made.using(expires=60, time_limit=3, compression="gzip", ignore_result=False, unique=False).enqueue(3)
    assert result.status in (TaskResultStatus.SUCCESSFUL, TaskResultStatus.READY)
    assert (result.task, result.args) == (made, [3])


async def test_many_are_enqueued_one_after_the_other(other: str) -> None:
    results = await task(plain.func).aenqueue_many([([1], {}), ([], {"value": 2})])
    assert [(result.args, result.kwargs) for result in results] == [([1], {}), ([], {"value": 2})]
    if other.startswith("immediate"):
        assert [result.return_value for result in results] == [1, 2]


def test_many_are_enqueued_in_line_too(other: str) -> None:
    results = task(plain.func).enqueue_many([([1], {}), ([2], {})])
    assert [result.args for result in results] == [[1], [2]]


def test_a_context_is_djangos(other: str) -> None:
    result = task(takes_context=True)(with_context.func).enqueue()
    if other.startswith("immediate"):
        assert result.return_value == "1"


def test_djangos_own_options_of_a_call_are_kept(other: str) -> None:
    made = task(plain.func).using(queue_name="default", backend="default", time_limit=5)
    assert (made, type(made)) == (task(plain.func), PlainTask)
    if other.startswith("dummy"):
        before = timezone.now()
        due = made.using(run_after=timedelta(minutes=5)).run_after
        assert timedelta(minutes=5) <= due - before < timedelta(minutes=6)


@pytest.mark.skipif(django.VERSION < (6, 1), reason="Django pickles tasks from 6.1 on")
@pytest.mark.usefixtures("other")
def test_a_task_can_be_pickled_as_djangos() -> None:
    made = task(plain.func).using(priority=0)
    again = pickle.loads(pickle.dumps(made))
    assert (type(again), again) == (PlainTask, made)


def test_a_backend_with_a_task_class_of_its_own_keeps_it() -> None:
    class Theirs(Task):  # type: ignore[type-arg]
        pass

    assert (plain_kind(Theirs), plain_kind(Task)) == (Theirs, PlainTask)


# --- what is remembered


@pytest.mark.usefixtures("other")
def test_what_makes_a_difference_and_was_left_out_is_remembered() -> None:
    task(**EVERYTHING)(plain.func)
    assert left_out()["default", f"{__name__}.plain"] == (
        "autoretry_for",
        "max_retries",
        "time_limit",
        "soft_time_limit",
        "enqueue_on_commit",
        "atomic",
        "unique",
    )
    task(name="shop.everything", aliases=("shop.all",))(plain.func)
    assert ("default", f"{__name__}.plain") not in left_out()


def test_nothing_is_left_out_by_celery(registry: None) -> None:
    before = dict(left_out())
    task(name="shop.celerys", max_retries=7)(plain.func)
    assert left_out() == before
    note_left_out(task_backends["default"].task_class(func=plain.func, name="shop.celerys"), TaskOptions())
    assert left_out() == before
