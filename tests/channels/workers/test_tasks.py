from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from channels import routing
from django.test import TestCase

from tasks_celery.channels.workers import tasks
from tasks_celery.channels.workers.tasks import deliver, task_for
from tasks_celery.compat import InvalidTask, TaskResultStatus
from tasks_celery.context import Context, asking, current
from tasks_celery.exceptions import OptionsError
from tests.channels.workers import consumers
from tests.channels.workers.consumers import done
from tests.shop.running import eagerly

NAME = "tasks_celery.channels.workers.tasks.deliver"

#: Consumers of Channels look after the connections to the database before and after each event.
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _project(settings: Any) -> Iterator[None]:
    settings.ASGI_APPLICATION = "tests.channels.workers.consumers.application"
    done.clear()
    with eagerly():
        yield
    done.clear()


def failed(result: Any) -> str:
    assert result.status == TaskResultStatus.FAILED
    (error,) = result.errors
    return f"{error.exception_class_path}: {error.traceback.strip().splitlines()[-1]}"


def test_an_event_without_a_type_is_a_failed_result_with_the_reason() -> None:
    assert "ValueError: The event has no 'type'" in failed(deliver.enqueue("thumbnails", {"id": 7}))


def test_a_channel_that_nobody_consumes_is_a_failed_result_with_the_reason() -> None:
    assert "channel name 'unknown'" in failed(deliver.enqueue("unknown", {"type": "generate"}))


def test_what_could_not_be_carried_is_a_failed_result_with_the_reason() -> None:
    assert "ValueError: it was bytes" in failed(deliver.enqueue("thumbnails", "{…}", "it was bytes"))
    assert done == []


@pytest.mark.parametrize("channel", ["thumbnails", "letters"])
def test_what_a_handler_raises_is_the_error_of_the_result(channel: str) -> None:
    assert "LookupError: no such" in failed(deliver.enqueue(channel, {"type": "fail"}))


@pytest.mark.parametrize("application", ["", "nowhere.application", "tests.channels.workers.consumers.nothing"])
def test_an_application_that_cannot_be_found_is_a_failed_result(application: str, settings: Any) -> None:
    settings.ASGI_APPLICATION = application
    assert "ImproperlyConfigured: Cannot" in failed(deliver.enqueue("thumbnails", {"type": "generate"}))


def test_the_projects_application_is_imported_where_no_loop_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    found = routing.get_default_application
    loops: list[Any] = []

    def find() -> Any:
        loops.append(asyncio._get_running_loop())
        return found()

    monkeypatch.setattr(routing, "get_default_application", find)
    deliver.enqueue("thumbnails", {"type": "generate"})
    assert (loops, len(done)) == ([None], 1)


@pytest.mark.parametrize("channel", ["thumbnails", "letters"])
def test_a_consumer_handles_the_event_and_what_it_sends_is_the_return_value(channel: str) -> None:
    result = deliver.enqueue(channel, {"type": "generate", "id": 7})
    assert (result.status, result.return_value) == (TaskResultStatus.SUCCESSFUL, [])
    ((scope, message, _),) = done
    assert scope == {"type": "channel", "channel": channel}
    assert message == {"type": "generate", "id": 7}
    assert deliver.enqueue(channel, {"type": "answer", "id": 7}).return_value[0] == {"said": 7}


def test_a_sync_handler_runs_in_the_thread_of_the_task() -> None:
    deliver.enqueue("thumbnails", {"type": "generate"})
    assert done[0][2] == threading.get_ident()


@pytest.mark.parametrize("channel", ["thumbnails", "letters"])
def test_a_handler_knows_who_asked_and_so_do_the_tasks_that_it_enqueues(
    channel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sync(consumer: Any, message: Any) -> None:
        done.append(current().user)

    async def later(consumer: Any, message: Any) -> None:
        done.append(current().user)

    monkeypatch.setattr(consumers.Thumbnails, "generate", sync)
    monkeypatch.setattr(consumers.Letters, "generate", later)
    with asking(lambda: Context(user="7")):
        deliver.enqueue(channel, {"type": "generate"})
    assert done == ["7"]


class WithinATransaction(TestCase):
    def test_a_sync_handler_has_the_database_connection_of_its_task(self) -> None:
        from django.contrib.auth import get_user_model

        get_user_model().objects.create_user("rosa")
        assert deliver.enqueue("thumbnails", {"type": "count_users"}).status == TaskResultStatus.SUCCESSFUL
        assert done == [1]


def test_what_a_worker_that_dies_has_in_hand_is_run_again() -> None:
    assert deliver.celery.acks_late is True
    assert deliver.celery.reject_on_worker_lost is True
    assert deliver.celery.name == NAME


def test_a_channel_without_settings_has_the_task_as_it_is(settings: Any) -> None:
    settings.TASK_EVENTS = {"CHANNELS": {"letters": {"QUEUE_NAME": "reports"}}}
    assert task_for("thumbnails") is deliver


def test_the_first_pattern_that_fits_says_what_the_tasks_of_a_channel_ask_for(settings: Any) -> None:
    settings.TASK_EVENTS = {
        "CHANNELS": {
            "thumbnails-*": {"QUEUE_NAME": "reports", "EXPIRES": 60, "SOFT_TIME_LIMIT": 5},
            "*": {"IGNORE_RESULT": True},
        }
    }
    asked = task_for("thumbnails-generate")
    assert asked.queue_name == "reports"
    assert (asked.asked.expires, asked.asked.soft_time_limit, asked.asked.ignore_result) == (60, 5, None)
    assert task_for("letters").asked.ignore_result is True
    assert task_for("letters").queue_name == "default"


def test_a_queue_that_the_alias_does_not_have_is_refused(settings: Any) -> None:
    settings.TASK_EVENTS = {"CHANNELS": {"*": {"QUEUE_NAME": "nowhere"}}}
    with pytest.raises(InvalidTask, match="nowhere"):
        task_for("thumbnails")


def test_settings_that_cannot_be_used_are_refused(settings: Any) -> None:
    settings.TASK_EVENTS = {"CHANNELS": {"*": {"QUEUE": "reports"}}}
    with pytest.raises(OptionsError, match="QUEUE_NAME"):
        task_for("thumbnails")


def test_the_task_is_of_an_alias_that_is_celerys_and_of_a_queue_that_it_has(settings: Any) -> None:
    immediate = {
        "BACKEND": f"{tasks.task_backends['default'].__class__.__mro__[1].__module__.rpartition('.')[0]}.immediate.ImmediateBackend"
    }
    ours = {"BACKEND": "tasks_celery.CeleryBackend", "QUEUES": ["two", "one"]}
    settings.TASKS = {"default": immediate, "celerys": ours}
    assert (tasks._alias(), tasks._queue("celerys")) == ("celerys", "one")
    assert tasks._options("celerys") == {"acks_late": True, "reject_on_worker_lost": True}
    settings.TASKS = {"default": ours | {"QUEUES": []}, "another": ours}
    assert (tasks._alias(), tasks._queue("default")) == ("default", "default")
    settings.TASKS = {"default": immediate}
    assert (tasks._alias(), tasks._queue("default"), tasks._options("default")) == ("default", "default", {})


def test_a_worker_knows_the_task() -> None:
    from celery.signals import import_modules

    receivers = [each for _, each in import_modules.receivers]
    assert "_import_tasks" in str(receivers)
