"""A Django Task of ours: the decorator, its options, what is refused."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from celery import Celery
from django.test import override_settings

from tasks_celery import CeleryTask, TaskOptions, task
from tasks_celery.compat import API_MODULE, InvalidTask, Task, TaskResultMismatch, task_backends
from tasks_celery.twin import Twin, registered
from tests.shop import tasks
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


def test_tasks_are_values() -> None:
    assert tasks.add == tasks.add.using(priority=0)
    assert tasks.add != tasks.add.using(priority=1)
    assert len({tasks.add, tasks.add.using(priority=0), tasks.stumble}) == 2
