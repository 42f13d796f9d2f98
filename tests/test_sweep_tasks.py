"""``manage.py sweep_tasks``: one look for what is due or lost, a second where a worker seems gone."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from typing import Any
from unittest import mock

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from tasks_celery.exceptions import StoreError
from tasks_celery.stores.memory import MemoryStore
from tests.shop import tasks
from tests.shop.running import empty_the_broker, the_store, waiting
from tests.test_mover import ahead, held
from tests.test_sweeper import GRACE, after, running_on_a_dead_worker


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    """Nothing in the broker, and records of these tests alone."""
    empty_the_broker()
    with override_settings(), mock.patch("tasks_celery.results.open_store", return_value=MemoryStore()):
        yield
    empty_the_broker()


def said(**options: Any) -> str:
    out = StringIO()
    call_command("sweep_tasks", stdout=out, no_color=True, **options)
    return out.getvalue()


def test_a_project_without_our_backend_is_told_so() -> None:
    backends = mock.Mock(**{"all.return_value": [object()]})
    with mock.patch("tasks_celery.heartbeat.task_backends", backends), pytest.raises(CommandError, match="Celery"):
        call_command("sweep_tasks")


def test_a_store_that_is_away_is_the_commands_error() -> None:
    with (
        mock.patch.object(MemoryStore, "waiting", side_effect=StoreError("away")),
        pytest.raises(CommandError, match=r"TASKS\['default'\]: away"),
    ):
        call_command("sweep_tasks")


def test_nothing_to_do_is_said_too() -> None:
    assert said() == "TASKS['default']: 0 sent as due, 0 sent again, 0 ended with their worker, 0 expired.\n"


def test_what_is_due_is_sent() -> None:
    record = held(the_store(), due=ahead(-1))
    later = held(the_store(), due=ahead(60))
    assert "1 sent as due, 0 sent again" in said()
    assert waiting("default") == 1
    assert [the_store().get(each.id).held for each in (record, later)] == [False, True]


def test_a_lost_message_is_sent_again() -> None:
    tasks.add.enqueue(1)
    empty_the_broker()
    with after(GRACE + 5):
        assert "1 sent again" in said()
    assert waiting("default") == 1


def test_a_worker_is_taken_for_dead_by_the_second_look() -> None:
    result = running_on_a_dead_worker(tasks.add)
    with mock.patch("time.sleep") as sleep:
        told = said()
    sleep.assert_called_once_with(10)
    assert "1 on a worker that seems gone; looking again in 10 s." in told
    assert "1 ended with their worker" in told
    result.refresh()
    assert result.status == "FAILED"


def test_how_long_it_waits_can_be_said() -> None:
    running_on_a_dead_worker(tasks.add)
    with mock.patch("time.sleep") as sleep:
        said(wait=0.5)
    sleep.assert_called_once_with(0.5)
