"""Receivers of Celery's signals."""

from __future__ import annotations

import pytest

from tasks_celery.migrate.things.signals import find
from tests.migrate.looking import look, told


@pytest.mark.parametrize(
    "text",
    [
        "from django.db.models.signals import post_save\npost_save.connect(f)\n",
        "from celery.signals import task_success\ntask_success.disconnect(f)\n",
        "from celery.signals import task_success\ntask_success = mine()\ntask_success.connect(f)\n",
        "def f(task_success):\n    task_success.connect(f)  # celery\n",
    ],
)
def test_what_is_no_receiver_of_celerys(text: str) -> None:
    assert look(find, text) == []


@pytest.mark.parametrize(
    "text",
    [
        "from celery.signals import task_success\n@task_success.connect\ndef f(**kwargs): ...\n",
        "from celery import signals\n@signals.task_success.connect()\ndef f(**kwargs): ...\n",
        "import celery.signals\ncelery.signals.task_success.connect(f)\n",
    ],
)
def test_a_receiver_goes_on_and_is_told_the_signal_of_djangos(text: str) -> None:
    (found,) = look(find, text)
    assert told([found]) == [("signal", "task_success", "stays")]
    assert "task_finished" in found.reason


def test_a_receiver_of_one_task_has_another_sender_once_that_moved() -> None:
    text = "from celery.signals import task_success\nfrom shop.tasks import add\ntask_success.connect(f, sender=add)\n"
    (found,) = look(find, text)
    assert told([found]) == [("signal", "task_success", "person")]
    assert "the_task.celery" in found.reason


@pytest.mark.parametrize("signal", ["task_retry", "worker_ready", "setup_logging"])
def test_what_django_has_no_signal_for_stays(signal: str) -> None:
    (found,) = look(find, f"from celery.signals import {signal}\n{signal}.connect(f)\n")
    assert told([found]) == [("signal", signal, "stays")]
    assert "django" not in found.facts
