"""The backend object: what Django asks of any backend, asked of this one."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import threading
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from celery import _state
from django.test import override_settings
from django.utils import timezone
from kombu import Queue

from tasks_celery import CeleryBackend, CeleryTask, OptionsError, task
from tasks_celery.compat import (
    BaseTaskBackend,
    InvalidTask,
    TaskResultDoesNotExist,
    TaskResultStatus,
    task_backends,
    task_enqueued,
)
from tasks_celery.publish import sender
from tests.shop import tasks
from tests.shop.running import configured, eagerly, empty_the_broker, the_app

BACKEND = "tasks_celery.CeleryBackend"
NO_PLACE = {"result_backend": None, "broker_url": "amqp://nobody@localhost:1//"}


def the_backend(alias: str = "default") -> CeleryBackend:
    return task_backends[alias]


# --- refusals


ODD_IDS = ["", " ", "nobody", "a" * 5000, "../x", "a:b*c?[d]", "a\nb", "a\0b", "☃", "%s", "{0}", "\ud800", 7, None]


@pytest.mark.parametrize("odd", ODD_IDS, ids=ascii)
def test_an_unknown_id_does_not_exist(odd: Any) -> None:  # contract 1, 11
    with pytest.raises(TaskResultDoesNotExist):
        the_backend().get_result(odd)
    with pytest.raises(TaskResultDoesNotExist):
        tasks.add.get_result(odd)


async def test_an_unknown_id_does_not_exist_for_who_awaits() -> None:  # contract 1, 51
    with pytest.raises(TaskResultDoesNotExist):
        await the_backend().aget_result("nobody")
    with pytest.raises(TaskResultDoesNotExist):
        await tasks.add.aget_result("nobody")


def test_unknown_options_are_refused_when_the_backend_is_used() -> None:
    broken = {"default": {"BACKEND": BACKEND, "OPTIONS": {"RESULT": "x"}}}
    with override_settings(TASKS=broken), pytest.raises(OptionsError, match="'RESULT'"):
        tasks.add.enqueue(1)


def test_unknown_options_do_not_keep_a_module_of_tasks_from_being_imported() -> None:  # contract 48, 49
    # `manage.py check` imports the URLs, and those the tasks: it could not say what is wrong.
    from tasks_celery import task

    with override_settings(TASKS={"default": {"BACKEND": BACKEND, "OPTIONS": {"RESULT": "x"}}}):
        assert task(tasks.add.func).priority == 0


@pytest.mark.parametrize("odd", ["2100-01-01", 3600, timezone.now], ids=repr)
def test_a_time_that_is_none_is_refused(odd: Any) -> None:  # contract 41
    with pytest.raises(InvalidTask, match="must be a datetime or a timedelta"):
        tasks.add.using(run_after=odd)


def test_a_time_may_be_a_timedelta_and_all_else_is_validated_with_it() -> None:
    assert tasks.add.using(run_after=timedelta(hours=1)).run_after == timedelta(hours=1)
    with pytest.raises(InvalidTask, match="Queue 'no such' is not valid"):
        tasks.add.using(run_after=timedelta(hours=1), queue_name="no such")
    with mock.patch.object(the_backend(), "supports_defer", new=False), pytest.raises(InvalidTask, match="run_after"):
        tasks.add.using(run_after=timedelta(hours=1))


@pytest.mark.parametrize(("flag", "what"), [("supports_async_task", "async"), ("supports_defer", "run_after")])
def test_a_capability_can_be_taken_away_on_the_instance(flag: str, what: str) -> None:  # contract 47
    with mock.patch.object(the_backend(), flag, new=False), pytest.raises(InvalidTask, match=what):
        tasks.add_later.using(run_after=timezone.now())
    assert getattr(the_backend(), flag) is True


def test_priorities_can_be_taken_away_on_the_instance() -> None:  # contract 40, 47
    with (
        mock.patch.object(the_backend(), "supports_priority", new=False),
        pytest.raises(InvalidTask, match="does not support setting priority"),
    ):
        tasks.add.using(priority=1)
    tasks.add.using(priority=1)


@pytest.mark.parametrize("broker", ["amqp://localhost:1//", "amqps://x", "pyamqp://x", "sqs://", "filesystem://", None])
def test_a_broker_without_priorities_takes_only_zero(broker: str | None) -> None:  # contract 40
    with configured(the_app(), broker_url=broker):
        assert the_backend().supports_priority is False
        with pytest.raises(InvalidTask, match="priority"):
            tasks.add.using(priority=1)
        assert tasks.add.using(priority=0)


@pytest.mark.parametrize(
    "broker",
    [
        "redis://x",
        "rediss://x",
        "redis+socket:///x",
        "sentinel://x;sentinel://y",
        "valkey://x",
        "redis://one;redis://two",
        ["redis://one", "redis://two"],
    ],
    ids=str,
)
def test_redis_has_priorities_under_each_of_its_names(broker: Any) -> None:  # contract 40
    with configured(the_app(), broker_url=broker):
        assert the_backend().supports_priority is True
        assert the_backend().scale_of("default").order == "lowest first"


@pytest.mark.parametrize("broker", ["amqp://", "pyamqp://", None], ids=str)  # none said is RabbitMQ, to Celery
def test_rabbitmq_has_priorities_where_the_queues_are_given_them(broker: str | None) -> None:  # contract 40
    with configured(the_app(), broker_url=broker, task_queue_max_priority=10):
        assert the_backend().supports_priority is True
        assert the_backend().scale_of("default").place(100) == 10


@pytest.mark.parametrize(
    "queues",
    [
        [Queue("default", max_priority=10), Queue("reports", queue_arguments={"x-max-priority": 5})],
        {"default": {"queue_arguments": {"x-max-priority": 10}}, "reports": {"queue_arguments": {"x-max-priority": 5}}},
        {"default": Queue("default", max_priority=10), "reports": Queue("reports", max_priority=5)},
    ],
    ids=["list", "dicts", "mapping"],
)
def test_rabbitmq_has_priorities_where_every_queue_has_them(queues: Any) -> None:  # contract 40
    with configured(the_app(), broker_url="amqp://", task_queues=queues):
        assert the_backend().supports_priority is True
        assert the_backend().scale_of("reports").largest == 5


def test_rabbitmq_has_no_priorities_where_one_queue_has_none() -> None:  # contract 40
    with configured(the_app(), broker_url="amqp://", task_queues=[Queue("default", max_priority=10), Queue("reports")]):
        assert the_backend().supports_priority is False


def test_defining_a_task_does_not_settle_the_queues_of_the_app(registry: None) -> None:  # contract 53
    the_app().amqp.__dict__.pop("queues", None)
    try:
        task(name="shop.early", priority=3)(tasks.add.func)
        assert "queues" not in the_app().amqp.__dict__
    finally:
        the_app().amqp.__dict__.pop("queues", None)


# --- no place for records (contract 47)


@pytest.mark.parametrize(
    "place", [NO_PLACE, NO_PLACE | {"result_backend": "rpc://"}, NO_PLACE | {"result_backend": "disabled://"}], ids=str
)
def test_without_a_place_for_records_results_cannot_be_read_and_tasks_are_sent(
    place: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    with (
        configured(the_app(), **place),
        override_settings(TASKS={"default": {"BACKEND": BACKEND}}),
    ):
        monkeypatch.setattr(sender, "send", lambda backend, producer, record, **options: sent.append(record.id))
        assert the_backend().supports_get_result is False
        result = tasks.add.enqueue(1)
        assert (result.status, sent) == (TaskResultStatus.READY, [result.id])
        for ask in (lambda: tasks.add.get_result(result.id), result.refresh):
            with pytest.raises(NotImplementedError, match="does not support retrieving or refreshing results"):
                ask()


def test_without_a_place_for_records_tasks_still_run_and_are_announced(signals_seen: list[Any]) -> None:
    with (
        eagerly(**NO_PLACE),
        override_settings(TASKS={"default": {"BACKEND": BACKEND}}),
    ):
        tasks.add.enqueue(1, b=2)
        tasks.fail.enqueue()
    assert [name for name, _ in signals_seen] == ["task_enqueued", "task_started", "task_finished"] * 2
    assert [str(r.status) for name, r in signals_seen if name == "task_finished"] == ["SUCCESSFUL", "FAILED"]


def test_with_a_place_results_can_be_read() -> None:
    assert the_backend().supports_get_result is True


# --- what it is


def test_it_is_a_backend_with_a_task_class_of_its_own() -> None:
    assert issubclass(CeleryBackend, BaseTaskBackend)
    assert CeleryBackend.task_class is CeleryTask


@pytest.mark.parametrize("flag", ["supports_defer", "supports_async_task", "supports_get_result", "supports_priority"])
def test_the_flags_are_booleans_on_the_class_too(flag: str) -> None:  # contract 47
    assert getattr(CeleryBackend, flag) is True
    assert getattr(the_backend(), flag) is True


def test_making_one_looks_nothing_up_and_connects_nowhere() -> None:  # contract 49
    backend = CeleryBackend("x", {"OPTIONS": {"APP": "no.such.app", "RESULTS": "redis://203.0.113.1:1/0"}})
    assert backend.alias == "x"
    assert "app" not in vars(backend)


def test_a_task_can_be_defined_before_the_projects_app_exists() -> None:  # contract 49
    # A tasks module may be imported on the way to the module that makes the app.
    from tasks_celery import task

    missing = {"BACKEND": BACKEND, "OPTIONS": {"APP": "not_yet_there.app"}}
    with override_settings(TASKS={"default": missing}):
        assert task(tasks.add.func).queue_name == "default"


def test_nothing_of_celery_is_made_current_by_enqueueing() -> None:  # contract 53
    before = _state._tls.current_app, _state.default_app
    tasks.add.enqueue(1)
    assert (_state._tls.current_app, _state.default_app) == before


def test_overridden_settings_are_followed() -> None:  # contract 52
    first = the_backend()
    with override_settings(TASKS={"default": {"BACKEND": BACKEND, "OPTIONS": {"KEY_PREFIX": "other:"}}}):
        assert the_backend() is not first
        assert the_backend().settings.key_prefix == "other:"
        assert the_backend().results.store is not first.results.store
        with pytest.raises(InvalidTask):
            tasks.add.using(queue_name="reports")
    assert the_backend().settings.key_prefix == "tasks_celery:"
    assert the_backend().results.store is first.results.store
    tasks.add.using(queue_name="reports")


def test_every_thread_reads_what_another_has_enqueued() -> None:  # contract 50
    result, read = tasks.add.enqueue(1), []
    thread = threading.Thread(target=lambda: read.append(tasks.add.get_result(result.id)))
    thread.start()
    thread.join()
    assert read == [result]


@pytest.mark.parametrize(
    ("method", "names"),
    [("enqueue", ["task", "args", "kwargs"]), ("aenqueue", ["task", "args", "kwargs"]), ("get_result", ["result_id"])],
)
def test_methods_keep_djangos_names_of_arguments(method: str, names: list[str]) -> None:  # contract 51
    assert list(inspect.signature(getattr(the_backend(), method)).parameters) == names


async def test_awaiting_does_not_block_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:  # contract 51
    empty_the_broker()
    going, gone_on = threading.Event(), threading.Event()

    def slow(*args: Any, **kwargs: Any) -> None:
        going.set()
        assert gone_on.wait(10)

    monkeypatch.setattr(sender, "send", slow)
    enqueueing = asyncio.create_task(tasks.add.aenqueue(1))
    await asyncio.wait_for(asyncio.to_thread(going.wait, 10), 10)
    gone_on.set()
    result = await enqueueing
    read = await tasks.add.aget_result(result.id)
    assert read == result
    await read.arefresh()
    assert read == result


async def test_an_awaited_enqueue_keeps_who_asked() -> None:
    from tasks_celery.context import Context, asking

    with asking(lambda: Context(user="7")):
        result = await tasks.add.aenqueue(1)
    assert the_backend().results.store.get(result.id).context["user"] == "7"


def test_two_aliases_keep_apart_what_they_are_told() -> None:  # contract 7
    one = {"BACKEND": BACKEND, "QUEUES": ["default"]}
    with override_settings(TASKS={"default": one, "other": one | {"QUEUES": ["others"]}}):
        result = tasks.add.using(backend="other", queue_name="others").enqueue(1)
        assert (result.backend, result.task.backend) == ("other", "other")
        read = the_backend("other").get_result(result.id)
        assert (read.backend, read.task.backend, read.task.queue_name) == ("other", "other", "others")
        with pytest.raises(InvalidTask):
            tasks.add.using(queue_name="others")


def test_no_message_needs_a_pickled_task() -> None:  # contract 54
    record = the_backend().results.store.get(tasks.add.enqueue(1).id)
    assert pickle.loads(pickle.dumps(record)) == record


def test_the_class_is_the_sender(signals_seen: list[Any]) -> None:  # contract 18, 32
    senders = []

    class Mine(CeleryBackend):
        pass

    def hear(sender: type, **kwargs: Any) -> None:
        senders.append(sender)

    task_enqueued.connect(hear)
    try:
        with (
            mock.patch("tests.test_backend.Mine", Mine, create=True),
            override_settings(TASKS={"default": {"BACKEND": "tests.test_backend.Mine"}}),
        ):
            tasks.add.enqueue(1)
    finally:
        task_enqueued.disconnect(hear)
    assert senders == [Mine]
