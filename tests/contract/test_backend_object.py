"""The backend object: what it says of itself, and what it leaves alone."""

from __future__ import annotations

import asyncio
import inspect
import json
import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock
from uuid import uuid4

import pytest
from celery import Celery, _state
from celery.app.task import Context as CeleryRequest
from django.test import override_settings
from django.utils import timezone
from kombu.utils.functional import LRUCache

from tasks_celery import task
from tasks_celery.compat import (
    BaseTaskBackend,
    InvalidTask,
    TaskResultDoesNotExist,
    TaskResultStatus,
    task_backends,
)
from tests.contract import jobs
from tests.shop import gate, tasks
from tests.shop.running import (
    a_foreign_task,
    a_worker,
    configured,
    eagerly,
    empty_the_broker,
    finished,
    listening,
    registry_kept,
    the_app,
)

BACKEND = "tasks_celery.CeleryBackend"
FLAGS = ["supports_defer", "supports_async_task", "supports_get_result", "supports_priority"]
#: A broker that keeps no records, and result backends that only the sender can read, or nobody.
UNREADABLE = [{"broker_url": "amqp://x", "result_backend": backend} for backend in (None, "rpc://", "disabled://")]


@pytest.fixture(autouse=True)
def _an_empty_broker() -> Iterator[None]:
    empty_the_broker()
    yield
    empty_the_broker()


def the_backend(alias: str = "default") -> Any:
    return task_backends[alias]


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        pytest.fail("connected")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)


# --- 47


@pytest.mark.parametrize("flag", FLAGS)
def test_47_a_flag_is_a_boolean_that_an_instance_may_have_otherwise(flag: str) -> None:
    assert getattr(type(the_backend()), flag) is True
    assert getattr(the_backend(), flag) is True
    with mock.patch.object(the_backend(), flag, False):
        assert getattr(the_backend(), flag) is False
    assert getattr(the_backend(), flag) is True


def test_47_what_a_flag_denies_is_refused() -> None:
    for flag, ask, reason in [
        ("supports_async_task", lambda: the_backend().validate_task(jobs.note_later), "async [Tt]asks"),
        ("supports_defer", lambda: jobs.note.using(run_after=timezone.now()), "run_after"),
        ("supports_priority", lambda: jobs.note.using(priority=1), "priority"),
    ]:
        with mock.patch.object(the_backend(), flag, False), pytest.raises(InvalidTask, match=reason):
            ask()


@pytest.mark.parametrize("place", UNREADABLE, ids=lambda place: str(place["result_backend"]))
async def test_47_where_nobody_could_read_results_they_cannot_be_asked_for(place: dict[str, Any]) -> None:
    with eagerly(**place):
        result = await jobs.note.aenqueue(1)
    with configured(the_app(), **place):
        assert the_backend().supports_get_result is False
        for ask in (lambda: jobs.note.get_result(result.id), lambda: the_backend().get_result("123"), result.refresh):
            with pytest.raises(NotImplementedError, match="does not support retrieving or refreshing results"):
                ask()
        for wait in (jobs.note.aget_result(result.id), the_backend().aget_result("123"), result.arefresh()):
            with pytest.raises(NotImplementedError):
                await wait
    assert the_backend().supports_get_result is True


def test_47_a_record_is_kept_though_celery_is_to_ignore_results(registry: None) -> None:
    # The choice: `ignore_result` is about Celery's own result, which then is not stored.
    silent = task(name="contract.silent", ignore_result=True)(jobs.give.func)
    with a_worker(), configured(the_app(), task_ignore_result=True):
        for made in (silent, jobs.give):
            result = finished(made.enqueue("tuple"))
            assert result.return_value == [1, [2]]
        assert the_app().AsyncResult(silent.enqueue("tuple").id).state == "PENDING"


# --- 48, 49


def test_48_a_good_configuration_is_silent(no_network: None) -> None:
    assert the_backend().check() == []
    assert the_backend().check(databases=["default"], app_configs=None) == []


@pytest.mark.parametrize(
    ("options", "conf"),
    [
        ({"NONSENSE": 1}, {}),
        ({"APP": "no.such.app"}, {}),
        ({"RESULTS": "redis://203.0.113.1:no-port/0"}, {}),
        ({}, {"broker_url": "nonsense://", "result_backend": None}),
    ],
    ids=str,
)
def test_48_a_bad_one_is_told_and_raises_nothing(options: Any, conf: Any, no_network: None) -> None:
    with (
        configured(the_app(), **conf),
        override_settings(TASKS={"default": {"BACKEND": BACKEND, "OPTIONS": options}}),
    ):
        messages = the_backend().check()
    assert messages
    for message in messages:
        assert str(message.id).startswith("tasks_celery.")
        assert message.hint


def test_49_a_task_is_defined_before_the_apps_are_loaded_and_connects_nowhere() -> None:
    script = """
import socket, sys
socket.socket.connect = lambda *args: sys.exit("connected")
from django.conf import settings
settings.configure(
    TASKS={"default": {"BACKEND": "tasks_celery.CeleryBackend", "QUEUES": []}},
    CELERY_BROKER_URL="redis://203.0.113.1:1/0",
)
from django.apps import apps
from tasks_celery import task

def job(): ...

made = [task(job), task(priority=5, queue_name="x")(job)]
made.append(made[0].using(queue_name="y"))
assert not apps.ready
print([each.queue_name for each in made])
"""
    said = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert (said.stdout, said.stderr) == ("['default', 'x', 'y']\n", "")


def test_49_each_thread_makes_its_own_at_no_cost(no_network: None) -> None:
    made: list[Any] = []
    thread = threading.Thread(target=lambda: made.append(the_backend()))
    thread.start()
    thread.join()
    assert made[0] is not the_backend()
    assert set(vars(made[0])) == {"alias", "queues", "options", "_beside"}  # nothing looked up


# --- 50, 51, 52


def test_50_the_process_that_asks_need_not_know_the_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere.py").write_text("from tasks_celery import task\n\n@task\ndef job(): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        with registry_kept():
            enqueued = import_module("elsewhere").job.enqueue()
        del sys.modules["elsewhere"]
        with registry_kept():
            read = the_backend().get_result(enqueued.id)
            assert read.task.func is sys.modules["elsewhere"].job.func
            assert (read.id, read.task.module_path) == (enqueued.id, "elsewhere.job")
    finally:
        sys.modules.pop("elsewhere", None)


def test_50_every_instance_reads_the_same_results() -> None:
    result = jobs.note.enqueue()
    read: list[Any] = []
    thread = threading.Thread(target=lambda: read.append(jobs.note.get_result(result.id)))
    thread.start()
    thread.join()
    assert read == [result]
    assert type(the_backend())("default", {"BACKEND": BACKEND}).get_result(result.id) == result


@pytest.mark.parametrize("method", ["enqueue", "aenqueue", "get_result", "aget_result"])
def test_51_methods_have_djangos_names_for_their_arguments(method: str) -> None:
    ours, djangos = (inspect.signature(getattr(each, method)) for each in (type(the_backend()), BaseTaskBackend))
    assert list(ours.parameters) == list(djangos.parameters)


async def test_51_arguments_can_be_given_by_name() -> None:
    result = await the_backend().aenqueue(task=jobs.note, args=(1,), kwargs={"two": 3})
    assert await the_backend().aget_result(result_id=result.id) == result
    assert (result.args, result.kwargs) == ([1], {"two": 3})


async def test_51_awaiting_does_not_block_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    going, may_go_on = threading.Event(), threading.Event()
    store = the_backend().results.store

    def slow(do: Any) -> Any:
        def wait(*args: Any, **kwargs: Any) -> Any:
            going.set()
            assert may_go_on.wait(10)
            return do(*args, **kwargs)

        return wait

    result = jobs.note.enqueue()
    monkeypatch.setattr(store, "create", slow(store.create))
    monkeypatch.setattr(store, "get", slow(store.get))
    for wait in (jobs.note.aenqueue(1), jobs.note.aget_result(result.id), result.arefresh()):
        going.clear()
        may_go_on.clear()
        waiting = asyncio.create_task(wait)
        assert await asyncio.wait_for(asyncio.to_thread(going.wait, 10), 10)
        assert not waiting.done()
        may_go_on.set()
        await waiting


@contextmanager
def another_app(**conf: Any) -> Iterator[Celery]:
    """Make a Celery app that OPTIONS may name: another_app.app."""
    app = Celery("another", set_as_current=False, broker="memory://", backend="cache+memory://", config_source=conf)
    module = ModuleType("another_app")
    module.app = app  # type: ignore[attr-defined]
    try:
        with mock.patch.dict(sys.modules, {"another_app": module}):
            yield app
    finally:
        app.close()


def test_52_overridden_settings_are_followed_at_once_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, str]] = []
    other = {"BACKEND": BACKEND, "QUEUES": ["elsewhere"], "OPTIONS": {"APP": "another_app.app", "KEY_PREFIX": "x:"}}
    with another_app() as another:
        for name, app in (("the app", the_app()), ("another", another)):
            monkeypatch.setattr(
                app.amqp,
                "send_task_message",
                lambda producer, task, *args, name=name, **options: sent.append((name, task)),
            )
        first = jobs.note.enqueue()
        with override_settings(TASKS={"default": other}):
            second = jobs.note.using(queue_name="elsewhere").enqueue()
            with pytest.raises(InvalidTask):
                jobs.note.enqueue()
            with pytest.raises(TaskResultDoesNotExist):
                jobs.note.get_result(first.id)
        with pytest.raises(TaskResultDoesNotExist):
            jobs.note.get_result(second.id)
    assert jobs.note.get_result(first.id) == first
    assert sent == [("the app", "tests.contract.jobs.note"), ("another", "tests.contract.jobs.note")]


def test_52_a_backend_of_another_kind_takes_its_place() -> None:
    from tasks_celery.compat import API_MODULE

    with override_settings(TASKS={"default": {"BACKEND": f"{API_MODULE}.backends.dummy.DummyBackend"}}):
        result = jobs.note.enqueue()
        assert the_backend().results == [result]
    with pytest.raises(TaskResultDoesNotExist):
        jobs.note.get_result(result.id)


# --- 53


def test_53_nothing_of_the_projects_celery_is_changed() -> None:
    names = ["task_serializer", "result_serializer", "accept_content", "result_extended", "task_track_started"]
    options = {"APP": "another_app.app", "RESULTS": "memory://"}
    before = _state._tls.current_app, _state.default_app
    # Not the app of the settings, which whoever made it may have made the default one.
    with (
        another_app() as app,
        override_settings(TASKS={"default": {"BACKEND": BACKEND, "QUEUES": [], "OPTIONS": options}}),
    ):
        conf = {name: app.conf[name] for name in names}
        for eager in (False, True):
            with configured(app, task_always_eager=eager):
                jobs.note.enqueue()
        the_backend().check()
        assert {name: app.conf[name] for name in names} == conf
        assert (_state._tls.current_app, _state.default_app) == before


def test_53_a_task_of_celerys_own_is_left_alone(registry: None) -> None:
    foreign = a_foreign_task(the_app(), "contract.foreign")
    try:
        with a_worker(), listening() as heard:
            sent = foreign.apply_async(queue="default")
            assert sent.get(timeout=20, disable_sync_subtasks=False) == "foreign"
            finished(ours := jobs.note.enqueue())
        assert {one.id for one in heard} == {ours.id}
        assert the_backend().results.store.get(sent.id) is None
        assert foreign.serializer == the_app().conf.task_serializer
    finally:
        the_app()._tasks.pop("contract.foreign")


@pytest.mark.parametrize(
    "send", [lambda task: task.enqueue(), lambda task: task.celery.delay()], ids=["enqueue", "delay"]
)
def test_53_our_messages_are_json_whatever_the_project_sends(send: Any) -> None:
    options = {"APP": "another_app.app", "RESULTS": "memory://"}
    with (
        another_app(task_serializer="pickle") as app,
        override_settings(TASKS={"default": {"BACKEND": BACKEND, "QUEUES": [], "OPTIONS": options}}),
        app.connection_for_write() as connection,
    ):
        send(jobs.note)
        with connection.SimpleQueue("default") as there:
            message = there.get(block=False)
            message.ack()
        assert app.conf.task_serializer == "pickle"
    assert message.content_type == "application/json"


@pytest.mark.parametrize("extended", [False, True])
def test_53_a_result_is_whole_though_the_project_keeps_none_of_celerys_details(extended: bool) -> None:
    with a_worker(), configured(the_app(), result_extended=extended, task_track_started=extended):
        result = finished(jobs.note.enqueue(1, two=3))
        assert (result.args, result.kwargs, result.attempts) == ([1], {"two": 3}, 1)
        assert result.task == jobs.note


def test_53_a_worker_that_would_refuse_json_is_told_by_the_check() -> None:
    with configured(the_app(), accept_content=["pickle"]):
        (message,) = the_backend().check()
    assert "JSON" in message.msg
    assert "CELERY_ACCEPT_CONTENT" in message.hint


# --- 54, 55


def test_54_a_message_is_plain_json_all_through() -> None:
    jobs.describe.using(run_after=timezone.now(), priority=3).enqueue({"a": [1]}, two=None)
    with the_app().connection_for_write() as connection, connection.SimpleQueue("default") as there:
        message = there.get(block=False)
        message.ack()
    assert json.loads(message.body)[:2] == [[{"a": [1]}], {"two": None}]
    assert json.loads(json.dumps(message.headers)) == message.headers
    assert b"Task" not in pickle.dumps([message.headers, message.properties])


def stored_by_celery(result_id: str, value: Any) -> None:
    """Store a result as a worker without tasks_celery does."""
    request = CeleryRequest(id=result_id, task="tests.contract.jobs.note", args=[], kwargs={})
    the_app().backend.store_result(result_id, value, "SUCCESS", request=request)


def test_55_a_result_is_read_anew_though_celery_remembers_one(monkeypatch: pytest.MonkeyPatch) -> None:
    # What CELERY_RESULT_CACHE_MAX makes of a result backend.
    monkeypatch.setattr(the_app().backend, "_cache", LRUCache(limit=100))
    result_id = uuid4().hex
    with configured(the_app(), result_extended=True):
        stored_by_celery(result_id, 1)
        assert the_app().backend.get_task_meta(result_id)["result"] == 1
        result = jobs.note.get_result(result_id)
        assert result.return_value == 1
        the_app().backend.delete(the_app().backend.get_key_for_task(result_id))
        stored_by_celery(result_id, 2)
        assert the_app().backend.get_task_meta(result_id)["result"] == 1
        result.refresh()
        assert result.return_value == 2


async def test_55_refresh_tells_what_has_become_of_a_task_since() -> None:
    gate.close()
    with a_worker():
        first = tasks.wait_at_gate.enqueue()
        assert gate.at_the_gate.wait(20)
        result = jobs.note.enqueue(1)
        result.refresh()
        awaited = await jobs.note.aget_result(result.id)
        assert result.status == awaited.status == TaskResultStatus.READY
        gate.opened.set()
        finished(first)
        assert finished(result).return_value == [[1], {}]
    await awaited.arefresh()
    assert awaited == result == jobs.note.get_result(result.id)
