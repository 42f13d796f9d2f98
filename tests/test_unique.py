"""What makes two calls of a task the same, and what may be asked of that."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import override_settings
from django.utils import timezone

from tasks_celery import EnqueueError, task
from tasks_celery.unique import Unique, expires_of, fields_of, key_of, unique_of
from tests.shop import tasks


def build(report: int, fmt: str = "pdf", *pages: int, draft: bool = False, **more: Any) -> None: ...


def in_context(context: Any, report: int, fmt: str = "pdf") -> None: ...


async def coroutine(report: int) -> int:
    return report


def key(
    *args: Any,
    by: Callable[..., Any] | None = None,
    name: str = "shop.build",
    function: Callable[..., Any] = build,
    takes_context: bool = False,
    **kwargs: Any,
) -> str:
    return key_of(
        Unique(key=by), name=name, function=function, takes_context=takes_context, args=list(args), kwargs=kwargs
    )


# --- refusals


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"until": "end"}, ValueError, r"until='end'.*'start', 'finish', 'time'"),
        ({"until": None}, ValueError, "until=None"),
        ({"on_conflict": "ignore"}, ValueError, r"on_conflict='ignore'.*'return', 'raise'"),
        ({"seconds": 0}, ValueError, "seconds=0"),
        ({"seconds": -1.5}, ValueError, "seconds=-1.5"),
        ({"seconds": True}, ValueError, "seconds=True"),
        ({"seconds": float("inf")}, ValueError, "seconds=inf"),
        ({"seconds": float("nan")}, ValueError, "seconds=nan"),
        ({"seconds": timedelta(1)}, ValueError, "seconds=datetime.timedelta"),
        ({"until": "time"}, ValueError, "needs the time"),
        ({"key": "report"}, TypeError, "key='report'"),
        ({"key": coroutine}, TypeError, "no coroutine"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        Unique(**given)


def test_a_key_function_that_raises_is_an_error_that_names_the_task() -> None:
    def broken(report: int) -> int:
        raise LookupError("no such report")

    with pytest.raises(EnqueueError, match=r"shop\.build.*LookupError: no such report") as caught:
        key(1, by=broken)
    assert isinstance(caught.value.__cause__, LookupError)


def test_a_key_that_json_cannot_hold_is_an_error_that_names_the_task() -> None:
    with pytest.raises(EnqueueError, match=r"shop\.build.*TypeError"):
        key(1, by=lambda report: {report})


def test_a_key_function_that_forgot_to_return_is_an_error() -> None:
    with pytest.raises(EnqueueError, match=r"shop\.build.*None"):
        key(1, by=lambda report: None)


def test_a_key_function_that_does_not_take_the_arguments_is_an_error() -> None:
    with pytest.raises(EnqueueError, match="TypeError"):
        key(1, 2, by=lambda report: report)


# --- the same call


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (((1,), {}), ((), {"report": 1})),
        (((1, "html"), {}), ((1,), {"fmt": "html"})),
        (((), {"report": 1, "fmt": "html"}), ((), {"fmt": "html", "report": 1})),
        (((1,), {}), ((1, "pdf"), {"draft": False})),
        (((1,), {"a": 1, "b": {"x": 1, "y": 2}}), ((1,), {"b": {"y": 2, "x": 1}, "a": 1})),
        (((1, "pdf", 3), {}), ((1, "pdf", 3), {})),
    ],
    ids=["by name", "default by name", "order", "defaults", "order within", "rest"],
)
def test_the_same_call_has_the_same_key_however_it_is_written(one: Any, other: Any) -> None:
    assert key(*one[0], **one[1]) == key(*other[0], **other[1])


@pytest.mark.parametrize(
    "other",
    [
        ((2,), {}),
        (("1",), {}),
        ((1.0,), {}),
        ((True,), {}),
        ((None,), {}),
        (([1],), {}),
        ((1, "html"), {}),
        ((1,), {"draft": True}),
        ((1,), {"draft": 0}),
        ((1,), {"more": 1}),
        ((1, "pdf", 2), {}),
        ((), {}),
    ],
    ids=repr,
)
def test_another_call_has_another_key(other: Any) -> None:
    assert key(1) != key(*other[0], **other[1])


def test_another_task_has_another_key() -> None:
    assert key(1) != key(1, name="shop.other")


def test_the_context_is_no_argument() -> None:
    assert key(1, function=in_context, takes_context=True) == key(report=1, function=in_context, takes_context=True)
    assert key(1, function=in_context, takes_context=True) != key(2, function=in_context, takes_context=True)


def test_arguments_that_do_not_fit_have_a_key_all_the_same() -> None:  # contract 16
    assert key(fmt="pdf") == key(fmt="pdf")
    assert key(fmt="pdf") != key(fmt="html")


def test_the_parts_of_a_key_do_not_run_together() -> None:
    assert key("a", "b") != key("ab")
    assert key(1, by=lambda report: {"report": report}) != key(1)


# --- a function's key


def test_calls_are_the_same_by_what_the_function_tells() -> None:
    def by(report: int, fmt: str = "pdf") -> Any:
        return report % 10

    assert key(1, "pdf", by=by) == key(11, fmt="html", by=by)
    assert key(1, by=by) != key(2, by=by)


def test_a_key_may_be_anything_that_json_can_hold() -> None:
    for value in (0, "", False, [], {}, (1, "a"), {"a": [1.5]}):
        assert key(1, by=lambda report, value=value: value) == key(2, by=lambda report, value=value: value)


def test_a_key_function_cannot_change_the_arguments() -> None:
    def by(rows: list[int]) -> int:
        rows.append(3)
        return len(rows)

    rows = [1, 2]
    key(rows, by=by)
    assert rows == [1, 2]


# --- what a key looks like


def test_a_key_is_short_and_tells_nothing_of_the_arguments() -> None:
    for value in ("secret", "x" * 10_000, "\ud800", "ü", "\0"):
        text = key(value)
        assert len(text) == 64
        assert text.isalnum()
        assert text.isascii()
        assert "secret" not in text


def test_a_key_is_the_same_in_every_process() -> None:
    code = (
        "from tests.test_unique import key; import sys;"
        "sys.stdout.write(key(1, 'html', draft=True, tags=['a', 'b'], more={'x': 1, 'y': None}))"
    )
    env = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONHASHSEED": "7"}
    code = "import django; django.setup();" + code
    told = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout == key(1, "html", draft=True, more={"y": None, "x": 1}, tags=["a", "b"])


# --- what a record says of it


def test_a_task_is_not_unique_unless_it_says_so() -> None:
    assert unique_of(tasks.add) is None
    assert fields_of(tasks.add, name="add", args=[1], kwargs={}) == {}


@pytest.mark.usefixtures("registry")
def test_true_means_by_arguments_until_finished() -> None:
    made = task(unique=True)(tasks.add.func)
    fields = fields_of(made, name="add", args=[1], kwargs={})
    expected = key_of(Unique(), name="add", function=tasks.add.func, args=[1], kwargs={})
    assert fields == {"unique": expected, "unique_until": "finish", "unique_expires": None}


@pytest.mark.parametrize("use_tz", [True, False])
def test_a_key_expires_its_seconds_from_now(use_tz: bool) -> None:
    with override_settings(USE_TZ=use_tz):
        expires = expires_of(Unique(until="time", seconds=90))
        assert expires is not None
        assert timezone.is_aware(expires) is use_tz
        assert abs((expires - timezone.now()).total_seconds() - 90) < 5
    assert expires_of(Unique()) is None


def test_a_key_expires_its_seconds_from_now_though_the_clock_is_put_back_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tasks_celery import unique

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime(2026, 10, 25, 0, 59, tzinfo=UTC)  # a minute before 3 becomes 2 in Berlin

    monkeypatch.setattr(unique, "datetime", Clock)
    with override_settings(USE_TZ=False, TIME_ZONE="Europe/Berlin"):
        assert expires_of(Unique(seconds=3600)) == datetime(2026, 10, 25, 2, 59)  # noqa: DTZ001
