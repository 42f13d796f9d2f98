"""A Django Task of ours: the decorator, its options, what is refused."""

from __future__ import annotations

import pickle
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import django
import pytest
from asgiref.sync import sync_to_async
from celery import Celery
from django.conf import settings
from django.test import override_settings

from tasks_celery import CeleryTask, TaskOptions, task
from tasks_celery.compat import API_MODULE, InvalidTask, Task, TaskResultMismatch, task_backends
from tasks_celery.task import _found_again
from tasks_celery.twin import Twin, registered
from tests.shop import attempts, tasks
from tests.shop.running import the_app


def an_app() -> Celery:
    """Return a Celery app that is nobody's current one."""
    return Celery("another", set_as_current=False, broker="memory://")


def plain(value: int) -> int:
    return value


def with_context(context: Any, value: int) -> int:
    return value


# --- refusals


def test_an_unknown_option_is_refused_with_the_list_of_known_ones() -> None:
    with pytest.raises(TypeError, match=r"task\(\) has no options retries, shape\. Known: .*max_retries"):
        task(retries=3, shape="round")


def test_run_after_is_refused_in_the_decorator() -> None:
    with pytest.raises(TypeError, match="run_after"):
        task(run_after=None)


@pytest.mark.parametrize(
    "function", [int, len, object(), Task.enqueue.__get__(3)], ids=["class", "builtin", "object", "method"]
)
def test_what_is_no_function_of_a_module_is_refused(function: Any) -> None:
    with pytest.raises(InvalidTask, match="module level"):
        task(function)


def test_a_function_without_a_name_is_refused_or_has_a_twin_as_any_other(registry: None) -> None:
    # Django takes it; Celery's head_from_fun makes Python code of its name, when an app is finalized.
    try:
        task(lambda: None)
    except InvalidTask:
        return
    assert an_app().tasks


def test_a_function_inside_a_function_is_refused() -> None:
    def inner() -> None: ...

    with pytest.raises(InvalidTask, match="module level"):
        task(inner)


@pytest.mark.parametrize("priority", [-101, 101, 3.5])
def test_a_priority_out_of_range_is_refused(priority: Any) -> None:
    with pytest.raises(InvalidTask, match="priority must be a whole number between -100 and 100"):
        task(priority=priority)(plain)
    with pytest.raises(InvalidTask):
        tasks.add.using(priority=priority)


def test_a_queue_that_is_not_in_queues_is_refused() -> None:
    with pytest.raises(InvalidTask, match="Queue 'elsewhere' is not valid for backend"):
        task(queue_name="elsewhere")(plain)


def test_a_task_that_takes_no_context_cannot_be_given_one() -> None:
    with pytest.raises(InvalidTask, match="context"):
        task(takes_context=True)(plain)


def test_a_refused_task_leaves_no_twin(registry: None) -> None:
    with pytest.raises(InvalidTask):
        task(queue_name="elsewhere")(plain)
    assert "tests.test_task.plain" not in registered()


# --- the decorator


def test_the_decorator_makes_a_django_task() -> None:
    assert isinstance(tasks.add, CeleryTask)
    assert isinstance(tasks.add, Task)
    assert (tasks.add.name, tasks.add.module_path) == ("add", "tests.shop.tasks.add")
    assert (tasks.add.priority, tasks.add.queue_name, tasks.add.backend) == (0, "default", "default")
    assert (tasks.add.run_after, tasks.add.takes_context) == (None, False)
    assert (tasks.urgent.priority, tasks.urgent.queue_name) == (50, "reports")
    assert tasks.tell.takes_context


def test_djangos_own_decorator_makes_the_same(registry: None) -> None:
    made = import_module(API_MODULE).task(queue_name="reports")(plain)
    assert isinstance(made, CeleryTask)
    assert made.options == TaskOptions()
    assert isinstance(the_app().tasks["tests.test_task.plain"], Twin)


def test_the_function_can_still_be_called() -> None:
    assert tasks.add.call(1, b=2) == 3
    assert tasks.add.func(1) == 1


async def test_the_function_can_be_awaited() -> None:
    assert await tasks.add_later.acall(1, 2) == 3
    assert await tasks.add.acall(1, 2) == 3


def test_using_makes_a_copy_and_keeps_the_options() -> None:
    copy = tasks.stumble.using(priority=5, queue_name="reports")
    assert (copy.priority, copy.queue_name, copy.options) == (5, "reports", tasks.stumble.options)
    assert (tasks.stumble.priority, tasks.stumble.queue_name) == (0, "default")
    assert copy.func is tasks.stumble.func


def test_under_another_backend_the_same_code_runs_without_our_options() -> None:
    with override_settings(TASKS={"default": {"BACKEND": f"{API_MODULE}.backends.immediate.ImmediateBackend"}}):
        made = task(max_retries=3, name="shop.immediate")(plain)
        assert not isinstance(made, CeleryTask)
        assert (made.call(3), made.priority) == (3, 0)
        with pytest.raises(TypeError, match="shape"):
            task(shape="round")
    assert "shop.immediate" not in registered()


def test_a_result_of_another_function_is_a_mismatch() -> None:  # contract 8
    result = tasks.add.enqueue(1)
    with pytest.raises(TaskResultMismatch, match=r"tests\.shop\.tasks\.add"):
        tasks.echo.get_result(result.id)
    assert tasks.add.using(priority=9).get_result(result.id) == result


def test_a_result_whose_task_is_gone_is_a_mismatch_to_every_other_task() -> None:  # contract 8
    from tests.stores.making import a_record

    record = a_record(path="gone.task", name="gone.task")
    task_backends["default"].results.store.create(record, lifetime=60)
    with pytest.raises(TaskResultMismatch, match=r"gone\.task"):
        tasks.add.get_result(record.id)


# --- options of Django's own decorator, and of one call


def options_of_djangos() -> bool:
    return django.VERSION[:2] != (6, 0)


@pytest.mark.skipif(not options_of_djangos(), reason="Django 6.0's own decorator takes no options")
def test_djangos_own_decorator_takes_our_options(registry: None) -> None:
    decorator = import_module(API_MODULE).task
    made = decorator(max_retries=7, name="shop.djangos", queue_name="reports")(plain)
    assert (made.options, made.queue_name) == (TaskOptions(max_retries=7, name="shop.djangos"), "reports")
    assert made.celery.max_retries == 7
    with pytest.raises(TypeError, match=r"task\(\) has no options shape\. Known: .*max_retries"):
        decorator(shape="round")(plain)
    with pytest.raises(ValueError, match=r"task\(time_limit=-1\)"):
        decorator(time_limit=-1)(plain)


def test_a_task_can_be_made_by_its_class_with_options_one_by_one(registry: None) -> None:
    made = CeleryTask(func=plain, name="shop.made", options=TaskOptions(max_retries=7), acks_late=True)
    assert made.options == TaskOptions(name="shop.made", max_retries=7, acks_late=True)
    assert (made.priority, made.queue_name, made.backend, made.run_after) == (0, "default", "default", None)


def test_a_refused_option_leaves_no_twin(registry: None) -> None:
    with pytest.raises(InvalidTask):
        task(aliases=("tests.test_task.plain",))(plain)
    assert "tests.test_task.plain" not in registered()


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("expires", 60, 60),
        ("expires", timedelta(minutes=2), 120),
        ("expires", datetime(2030, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)),
        ("time_limit", 5, 5),
        ("soft_time_limit", 4, 4),
        ("compression", "gzip", "gzip"),
        ("ignore_result", False, False),
        ("ignore_result", True, True),
    ],
)
def test_a_call_can_ask_for_more_and_the_task_stays_as_it_is(name: str, value: Any, kept: Any) -> None:
    copy = tasks.add.using(**{name: value})
    assert copy.sending_options() == {name: kept}
    assert copy.using(priority=5).sending_options() == {name: kept}
    assert copy.using(time_limit=9).sending_options()["time_limit"] == 9
    assert tasks.add.sending_options() == {}
    assert copy.options == tasks.add.options


def test_a_call_can_be_unique_or_not() -> None:
    copy = tasks.add.using(unique=True)
    assert (copy.options.unique, tasks.add.options.unique) == (True, False)
    assert copy.using(priority=3).options.unique is True
    assert copy.using(unique=False).options.unique is False
    assert copy.sending_options() == {}


def test_what_a_call_asks_for_makes_no_other_task() -> None:  # contract 4
    # Else a result that is read back would not equal the one that was returned.
    assert tasks.add.using(time_limit=9, unique=True) == tasks.add
    assert hash(tasks.add.using(time_limit=9)) == hash(tasks.add)


def test_a_copy_that_is_due_later_says_how_much_later() -> None:
    assert tasks.add.using(run_after=timedelta(minutes=3)).run_after == timedelta(minutes=3)


@pytest.mark.parametrize(
    "copied", [lambda task: pickle.loads(pickle.dumps(task)), deepcopy], ids=["pickle", "deepcopy"]
)
def test_a_task_can_be_pickled_with_what_a_call_asks_for(copied: Any) -> None:
    for made in (attempts.pick, tasks.urgent.using(priority=-4, time_limit=9, unique=True)):
        again = copied(made)
        assert (again, again.func) == (made, made.func)
        assert (again.options, again.asked) == (made.options, made.asked)


def test_a_task_that_is_gone_cannot_be_unpickled(registry: None) -> None:
    with pytest.raises(ValueError, match=r"'tests\.test_task\.plain' to point to a task of CeleryBackend"):
        pickle.loads(pickle.dumps(task(plain)))


def test_a_module_that_is_gone_has_no_task_to_unpickle() -> None:
    with pytest.raises(ValueError, match=r"no task at 'gone\.away'"):
        _found_again("gone.away", {})


# --- many at once


class Many:
    """A backend that notes what it is asked."""

    asked: Any = None

    def enqueue_many(self, calls: Any) -> list[str]:
        self.asked = list(calls)
        return [f"result of {call[1]}" for call in calls]

    async def aenqueue_many(self, calls: Any) -> list[str]:
        return self.enqueue_many(calls)


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> Many:
    backend = Many()
    monkeypatch.setattr(CeleryTask, "get_backend", lambda self: backend)
    return backend


@pytest.mark.parametrize("call", [7, "ab", ([1],), ([1], {}, 3), ([1], [2]), ("ab", {}), {"a": 1}])
def test_what_is_no_pair_of_arguments_is_refused_before_anything_is_sent(call: Any, many: Many) -> None:
    with pytest.raises(
        TypeError, match=r"Call number 1 of enqueue_many is .*it has to be a pair of arguments and keyword"
    ):
        tasks.add.enqueue_many([([1], {}), call])
    assert many.asked is None


async def test_many_calls_are_the_backends_to_enqueue(many: Many) -> None:
    calls = [([1], {"b": 2}), ((3,), {})]
    expected = [(tasks.add, [1], {"b": 2}), (tasks.add, [3], {})]
    assert tasks.add.enqueue_many(iter(calls)) == ["result of [1]", "result of [3]"]
    assert many.asked == expected
    many.asked = None
    assert await tasks.add.aenqueue_many(calls) == ["result of [1]", "result of [3]"]
    assert many.asked == expected


async def test_many_calls_are_enqueued_one_by_one_where_the_backend_knows_no_better() -> None:
    immediate = {"BACKEND": f"{API_MODULE}.backends.immediate.ImmediateBackend"}
    with override_settings(TASKS={**settings.TASKS, "now": immediate}):
        made = tasks.add.using(backend="now")
        assert [result.return_value for result in await made.aenqueue_many([([1], {}), ([2], {"b": 2})])] == [1, 4]
        assert [result.return_value for result in await sync_to_async(made.enqueue_many)([([1], {})])] == [1]


def test_tasks_are_values() -> None:
    assert tasks.add == tasks.add.using(priority=0)
    assert tasks.add != tasks.add.using(priority=1)
    assert len({tasks.add, tasks.add.using(priority=0), tasks.stumble}) == 2
