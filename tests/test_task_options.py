"""What `@task(…)` and `using(…)` take, what they refuse, and what becomes of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Task as BaseCeleryTask
from django.test import override_settings

from tasks_celery import TaskOptions, task
from tasks_celery.compat import InvalidTask
from tasks_celery.task_options import CallOptions
from tasks_celery.unique import Unique
from tests.shop import tasks


def is_meant(error: Exception) -> bool:
    return True


async def is_meant_later(error: Exception) -> bool:
    return True


def plain(value: int) -> int:
    return value


async def coroutine(value: int) -> int:
    return value


# --- refusals


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("name", 3, "a text"),
        ("autoretry_for", KeyError, "a tuple of exception classes, and of functions"),
        ("autoretry_for", (KeyError, "ValueError"), "a tuple of exception classes"),
        ("autoretry_for", (int,), "a tuple of exception classes"),
        ("autoretry_for", (is_meant_later,), "a tuple of exception classes"),
        ("dont_autoretry_for", "KeyError", "a tuple of exception classes"),
        ("max_retries", 2.5, "a whole number from 0 on, or None"),
        ("max_retries", True, "a whole number from 0 on, or None"),
        ("default_retry_delay", timedelta(1), "a number of seconds from 0 on"),
        ("retry_backoff", "fast", "True, False, a number of seconds, or a function"),
        ("retry_backoff", is_meant_later, "True, False, a number of seconds, or a function"),
        ("retry_backoff_max", "10", "a number of seconds above 0"),
        ("retry_jitter", 1, "True or False"),
        ("rate_limit", (3, "m"), "'10/s', '10/m' or '10/h'"),
        ("time_limit", "10", "a number of seconds above 0"),
        ("time_limit", True, "a number of seconds above 0"),
        ("soft_time_limit", timedelta(1), "a number of seconds above 0"),
        ("expires", "tomorrow", "a number of seconds above 0, or a timedelta"),
        ("expires", datetime(2030, 1, 1, tzinfo=UTC), "a number of seconds above 0, or a timedelta"),
        ("acks_late", 1, "True or False"),
        ("acks_late", "yes", "True or False"),
        ("reject_on_worker_lost", "no", "True or False"),
        ("ignore_result", 0, "True or False"),
        ("compression", True, "application/x-gzip"),
        ("aliases", "shop.old", "a tuple of other names"),
        ("aliases", (3,), "a tuple of other names"),
        ("enqueue_on_commit", 1, "True, False, or the alias of one of DATABASES"),
        ("atomic", 1, "True, False, or the alias of one of DATABASES"),
        ("atomic", None, "True, False, or the alias of one of DATABASES"),
        ("unique", "finish", r"True, False, or a Unique\(…\)"),
        ("unique", Unique, r"True, False, or a Unique\(…\)"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_and_told_what_may_be(name: str, value: Any, allowed: str) -> None:
    with pytest.raises(TypeError, match=rf"task\({name}=.*\): it has to be .*{allowed}"):
        task(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("name", "", "a text"),
        ("max_retries", -1, "a whole number from 0 on"),
        ("default_retry_delay", -1, "a number of seconds from 0 on"),
        ("default_retry_delay", float("nan"), "a number of seconds from 0 on"),
        ("retry_backoff", -1, "True, False, a number of seconds"),
        ("retry_backoff_max", 0, "a number of seconds above 0"),
        ("rate_limit", "10/d", "'10/s', '10/m' or '10/h'"),
        ("rate_limit", "many/s", "'10/s', '10/m' or '10/h'"),
        ("rate_limit", "-1/s", "'10/s', '10/m' or '10/h'"),
        ("time_limit", -1, "a number of seconds above 0"),
        ("time_limit", 0, "a number of seconds above 0"),
        ("soft_time_limit", float("inf"), "a number of seconds above 0"),
        ("expires", 0, "a number of seconds above 0, or a timedelta"),
        ("expires", timedelta(seconds=-1), "a number of seconds above 0, or a timedelta"),
        ("compression", "shrink", "application/x-gzip.*'gzip'"),
        ("aliases", ("shop.old", ""), "a tuple of other names, each only once"),
        ("aliases", ("shop.old", "shop.old"), "a tuple of other names, each only once"),
        ("enqueue_on_commit", "archive", "True, False, or the alias of one of DATABASES"),
        ("atomic", "archive", "True, False, or the alias of one of DATABASES"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_and_told_what_may_be(name: str, value: Any, allowed: str) -> None:
    with pytest.raises(ValueError, match=rf"task\({name}=.*\): it has to be .*{allowed}"):
        task(**{name: value})


def test_a_soft_limit_above_the_hard_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"task\(soft_time_limit=20\) is above time_limit=10"):
        task(soft_time_limit=20, time_limit=10)
    assert TaskOptions(soft_time_limit=10, time_limit=10).time_limit == 10


@pytest.mark.parametrize("more", [{"retry_backoff_max": 60}, {"retry_jitter": True}, {"retry_jitter": False}])
def test_a_backoff_that_is_a_function_takes_no_limits(more: Any) -> None:
    with pytest.raises(ValueError, match="retry_backoff_max and retry_jitter have to be left out"):
        task(retry_backoff=lambda error, retries: 1, **more)


def test_what_unique_refuses_is_refused_as_the_module_is_imported() -> None:
    with pytest.raises(ValueError, match="until"):
        task(unique=Unique(until="never"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="seconds"):
        task(unique=Unique(until="time"))


@pytest.mark.parametrize("atomic", [True, "default"])
def test_a_coroutine_cannot_be_atomic(atomic: Any, registry: None) -> None:
    with pytest.raises(InvalidTask, match=rf"atomic={atomic!r}\) cannot be had by the coroutine .*sync_to_async"):
        task(atomic=atomic)(coroutine)


def test_an_alias_that_is_the_name_itself_is_refused(registry: None) -> None:
    for options in ({"name": "shop.new", "aliases": ("shop.new",)}, {"aliases": (f"{__name__}.plain",)}):
        with pytest.raises(InvalidTask, match="is the name of the task itself"):
            task(**options)(plain)


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("expires", -1, ValueError),
        ("expires", timedelta(0), ValueError),
        ("expires", "soon", TypeError),
        ("expires", datetime(2030, 1, 1), ValueError),  # noqa: DTZ001  naive, that is the point
        ("time_limit", 0, ValueError),
        ("soft_time_limit", "1", TypeError),
        ("compression", "shrink", ValueError),
        ("ignore_result", "yes", TypeError),
        ("unique", "yes", TypeError),
    ],
)
def test_a_call_is_refused_the_same(name: str, value: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=rf"using\({name}=.*\): it has to be"):
        tasks.add.using(**{name: value})


@pytest.mark.parametrize("name", ["enqueue_on_commit", "max_retries", "autoretry_for", "atomic", "aliases", "name"])
def test_what_belongs_to_the_task_is_refused_in_a_call(name: str) -> None:
    with pytest.raises(
        TypeError, match=rf"using\(\) does not take {name}: it belongs to the task, as in @task\({name}=…\)"
    ):
        tasks.add.using(**{name: True})


def test_what_nobody_knows_is_refused_in_a_call() -> None:
    with pytest.raises(TypeError, match=r"using\(\) takes no colour\. Known: expires, .*Django's own"):
        tasks.add.using(colour="red")


def test_a_calls_limits_are_compared_with_the_tasks_own(registry: None) -> None:
    made = task(soft_time_limit=10)(plain)
    with pytest.raises(ValueError, match=r"using\(soft_time_limit=10\) is above time_limit=5"):
        made.using(time_limit=5)
    assert made.using(time_limit=5, soft_time_limit=4).asked.time_limit == 5
    with pytest.raises(ValueError, match=r"using\(soft_time_limit=20\) is above time_limit=15"):
        task(name="shop.hard", time_limit=15)(plain).using(soft_time_limit=20)


# --- what is taken


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", "shop.other"),
        ("autoretry_for", (KeyError, is_meant)),
        ("autoretry_for", ()),
        ("max_retries", 0),
        ("max_retries", None),
        ("default_retry_delay", 0),
        ("retry_backoff", 2.5),
        ("retry_backoff", is_meant),
        ("retry_backoff_max", 10),
        ("rate_limit", "10/m"),
        ("rate_limit", "1.5/h"),
        ("rate_limit", 10),
        ("rate_limit", 0),
        ("time_limit", 0.5),
        ("compression", "gzip"),
        ("compression", "application/x-bz2"),
        ("aliases", ("shop.old", "shop.older")),
        ("enqueue_on_commit", "default"),
        ("enqueue_on_commit", False),
        ("atomic", "default"),
        ("unique", Unique(seconds=5)),
    ],
)
def test_what_makes_sense_is_taken(name: str, value: Any) -> None:
    assert getattr(TaskOptions(**{name: value}), name) == value
    assert TaskOptions(**{name: value}).asked_for() == {name: value}


def test_lists_are_tuples_and_a_timedelta_is_seconds() -> None:
    options = TaskOptions(
        autoretry_for=[KeyError],  # type: ignore[arg-type]
        dont_autoretry_for=[is_meant],  # type: ignore[arg-type]
        aliases=["shop.old"],  # type: ignore[arg-type]
        expires=timedelta(minutes=1),
    )
    assert (options.autoretry_for, options.dont_autoretry_for) == ((KeyError,), (is_meant,))
    assert (options.aliases, options.expires) == (("shop.old",), 60)


def test_the_number_of_retries_is_celerys_unless_it_is_asked_for() -> None:
    assert TaskOptions().max_retries == BaseCeleryTask.max_retries
    assert TaskOptions().for_celery() == {}
    assert TaskOptions(max_retries=None).for_celery() == {"max_retries": None}


def test_celery_is_not_told_what_is_ours() -> None:
    ours = TaskOptions(
        name="shop.x", aliases=("shop.y",), enqueue_on_commit=True, atomic=True, unique=True, acks_late=True
    )
    assert ours.for_celery() == {"acks_late": True}


@pytest.mark.parametrize(
    "options",
    [
        {"autoretry_for": (KeyError, is_meant)},
        {"autoretry_for": (KeyError,), "dont_autoretry_for": (is_meant,)},
        {"autoretry_for": (KeyError,), "retry_backoff": lambda error, retries: 1},
    ],
)
def test_celery_retries_by_classes_and_numbers_alone(options: Any) -> None:
    parsed = TaskOptions(**options, max_retries=5)
    assert parsed.retries_by_function
    assert parsed.for_celery() == {"max_retries": 5}
    known = TaskOptions(autoretry_for=(KeyError,), retry_backoff=3, retry_jitter=False)
    assert not known.retries_by_function
    assert known.for_celery() == {"autoretry_for": (KeyError,), "retry_backoff": 3, "retry_jitter": False}


def test_a_naive_moment_is_the_projects_where_times_are_naive() -> None:
    with override_settings(USE_TZ=False, TIME_ZONE="America/Lima"):
        asked = CallOptions(expires=datetime(2030, 1, 1, 12))  # noqa: DTZ001
    assert asked.expires == datetime(2030, 1, 1, 17, tzinfo=UTC)
