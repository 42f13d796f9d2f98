"""Celery's own API on a Django Task: `delay`, `apply_async`, signatures, a direct call. What `using` asks goes along."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import chain, chord, group
from celery.canvas import Signature
from django.template import Context, Template
from django.test import override_settings
from django.utils import timezone

from tasks_celery import task
from tasks_celery.compat import API_MODULE, InvalidTask, TaskResultStatus
from tasks_celery.twin import registered
from tests.shop import tasks
from tests.shop.brokers import messages
from tests.shop.running import configured, eagerly, empty_the_broker, listening, the_app, the_store, waiting

TASKS = {"BACKEND": "tasks_celery.CeleryBackend", "QUEUES": ["default", "reports"]}


@pytest.fixture(autouse=True)
def _an_empty_broker() -> Iterator[None]:
    empty_the_broker()
    yield
    empty_the_broker()


def plain(value: int = 1) -> int:
    return value


def with_context(context: Any, value: int = 0) -> list[Any]:
    return [value, context]


def factorial(n: int) -> int:
    return n * registered()["shop.factorial"](n - 1) if n else 1


async def coroutine(value: int) -> int:
    return value


#: Each way that sends, and what it is given after the task.
SENDS: list[Any] = [
    lambda asked, *args: asked.delay(*args),
    lambda asked, *args: asked.apply_async(args),
    lambda asked, *args: asked.s(*args).apply_async(),
    lambda asked, *args: asked.si(*args).delay(),
    lambda asked, *args: asked.signature(args).apply_async(),
]
sends = pytest.mark.parametrize("send", SENDS, ids=["delay", "apply_async", "s", "si", "signature"])


# --- refusals


@sends
def test_what_celery_has_no_word_for_is_refused_and_nothing_is_sent(send: Any) -> None:
    with override_settings(TASKS={"default": TASKS, "second": TASKS}):
        for asked, what in [
            (tasks.echo.using(unique=True), "unique"),
            (tasks.echo.using(backend="second"), "backend"),
        ]:
            with pytest.raises(InvalidTask, match=rf"tests\.shop\.tasks\.echo: using\({what}=….*Use enqueue\(\)"):
                send(asked, 1)
    assert waiting("default") == 0


@pytest.mark.parametrize("name", ["delay", "apply_async", "apply", "s", "si", "signature", "celery"])
@pytest.mark.parametrize("backend", ["immediate.ImmediateBackend", "dummy.DummyBackend"])
def test_a_task_of_another_backend_says_why_it_has_none_of_it(name: str, backend: str) -> None:
    other = {"BACKEND": f"{API_MODULE}.backends.{backend}", "QUEUES": []}
    with override_settings(TASKS={"default": other}):
        made = task(plain)
        said = rf"test_celery_api\.plain has no '{name}': TASKS\['default'\] is .*Backend.*CELERY_TASK_ALWAYS_EAGER"
        with pytest.raises(AttributeError, match=said):
            getattr(made, name)
        assert not hasattr(made, name)
        with pytest.raises(AttributeError, match="no attribute 'dealy'"):
            made.dealy(1)
        assert made(4) == 4
    with override_settings(TASKS={"default": TASKS, "other": other}):
        copy = tasks.echo.using(backend="other")
        with pytest.raises(AttributeError, match=r"TASKS\['other'\]"):
            copy.delay(1)
        assert copy(1) == [[1], {}]


@pytest.mark.parametrize("given", [7, "seven", [7], None, {"a": 1}])
def test_a_direct_call_does_not_take_an_argument_for_the_context(registry: None, given: Any) -> None:
    made = task(takes_context=True)(with_context)
    with pytest.raises(TypeError, match=r"test_celery_api\.with_context takes a context, and .* is none"):
        made(given)
    with pytest.raises(TypeError, match="context"):
        made()


def test_wrong_arguments_are_refused_as_celery_does() -> None:
    with pytest.raises(TypeError):
        tasks.add.delay("too", "many", "arguments")


# --- a direct call


def test_a_direct_call_runs_the_function_and_leaves_no_record(registry: None) -> None:
    known = set(the_store()._records)
    assert tasks.add(1, b=2) == 3
    assert task(coroutine)(5) == 5
    context = object()
    assert task(takes_context=True)(with_context)(context, 3) == [3, context]
    assert set(the_store()._records) == known


def test_a_task_can_call_itself_and_others_directly(registry: None) -> None:
    made = task(name="shop.factorial")(factorial)
    with eagerly(), listening() as heard:
        assert made.enqueue(4).return_value == 24
    assert len(heard) == 3


def test_a_template_does_not_run_the_task_it_shows(registry: None) -> None:
    shown = Template("{{ task.queue_name }} {{ task.module_path }}").render(Context({"task": tasks.fail}))
    assert shown == "default tests.shop.tasks.fail"


# --- what is sent


@sends
def test_it_is_sent_with_a_record_that_get_result_reads(send: Any) -> None:
    sent = send(tasks.add, 1, 2)
    result = tasks.add.get_result(sent.id)
    assert (result.status, result.args) == (TaskResultStatus.READY, [1, 2])
    assert waiting("default") == 1


@sends
def test_the_queue_and_the_priority_go_along(send: Any) -> None:
    sent = send(tasks.echo.using(queue_name="reports", priority=100), 1)
    (message,) = messages("reports")
    assert message.properties["priority"] == 0  # the first that Redis serves
    assert tasks.echo.get_result(sent.id).task.queue_name == "reports"


@sends
def test_a_queue_that_is_named_goes_before_a_route(send: Any) -> None:
    with configured(the_app(), task_routes={"tests.shop.*": "reports"}):
        send(tasks.echo, 1)
        assert (waiting("reports"), waiting("default")) == (1, 0)
        send(tasks.echo.using(queue_name="default"), 1)
        assert (waiting("reports"), waiting("default")) == (1, 1)
        send(tasks.echo.using(priority=1), 1)
        assert (waiting("reports"), waiting("default")) == (2, 1)


@sends
def test_times_limits_and_the_rest_go_along(send: Any) -> None:
    at = timezone.now() + timedelta(hours=1)
    asked = {"expires": 7200, "time_limit": 20, "soft_time_limit": 10, "ignore_result": True, "compression": "gzip"}
    send(tasks.echo.using(run_after=at, **asked), 1)
    (message,) = messages()
    headers = message.headers
    assert datetime.fromisoformat(headers["eta"]) == at
    expires = datetime.fromisoformat(headers["expires"])
    assert timedelta(minutes=118) < expires - datetime.now(UTC) < timedelta(minutes=121)
    assert (headers["timelimit"], headers["ignore_result"]) == ([20, 10], True)
    assert headers["compression"] == "application/x-gzip"


@sends
def test_a_wait_counts_from_when_it_is_sent(send: Any) -> None:
    send(tasks.echo.using(run_after=timedelta(minutes=30)), 1)
    (message,) = messages()
    wait = datetime.fromisoformat(message.headers["eta"]) - datetime.now(UTC)
    assert timedelta(minutes=29) < wait <= timedelta(minutes=30)


def test_what_the_call_says_goes_before_what_using_asked() -> None:
    asked = tasks.echo.using(queue_name="reports", time_limit=20)
    asked.apply_async((1,), queue="default", time_limit=5)
    asked.signature((1,), options={"queue": "default"}).apply_async()
    first, second = messages()
    assert (first.headers["timelimit"], second.headers["timelimit"]) == ([5, None], [20, None])


def test_apply_runs_it_here_with_a_record() -> None:
    done = tasks.add.apply((1,), {"b": 5})
    assert done.get() == 6
    assert tasks.add.get_result(done.id).status == TaskResultStatus.SUCCESSFUL


def test_a_signature_is_celerys() -> None:
    signature = tasks.add.using(queue_name="reports").s(1, b=2)
    assert isinstance(signature, Signature)
    assert (signature.task, tuple(signature.args), signature.kwargs) == ("tests.shop.tasks.add", (1,), {"b": 2})
    assert signature.options == {"queue": "reports"}
    assert tasks.add.si(1).immutable


def test_it_is_a_step_of_any_canvas() -> None:
    with eagerly():
        assert chain(tasks.add.s(1), tasks.add.s(2) | tasks.add.s(3)).apply_async().get() == 6
        assert (group(tasks.add.s(1), tasks.add.s(2)) | tasks.echo.s()).apply_async().get() == [[[1, 2]], {}]
        assert chord([tasks.add.s(1), tasks.add.s(2)], tasks.echo.s()).apply_async().get() == [[[1, 2]], {}]
        linked = tasks.add.apply_async((1,), link=tasks.add.s(2))
        assert linked.get() == 1
