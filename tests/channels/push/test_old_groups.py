from __future__ import annotations

import logging
from typing import Any

import pytest

from tasks_celery.channels.events import Json
from tasks_celery.channels.push import publisher
from tasks_celery.channels.push.old_groups import tell_old_groups
from tests.channels.helpers import event

Told = list[tuple[str, Json, str]]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """What was sent: to which group, the message, and the task that it is about."""
    told: Told = []
    monkeypatch.setattr(publisher, "tell", lambda group, message, *, about="": told.append((group, message, about)))
    return told


def flat(name: str, data: Json) -> Any:
    """Return the message that a consumer of the project's past understands; and what it does not, where asked to."""
    if data["id"] == "raise":
        raise LookupError("no such shape")
    if data["id"] in WRONG:
        return WRONG[data["id"]]
    return {"type": "task_message", "text": f"{name} {data['id']}"}


WRONG = {"nothing": None, "text": "report.ready", "no type": {"data": 1}, "no text": {"type": 7}}
HERE = f"{__name__}.flat"


@pytest.mark.parametrize("number", ["raise", *WRONG])
def test_a_function_that_does_not_work_is_logged_with_the_task_and_nobody_is_told(
    number: str, told: Told, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.TASK_EVENTS = {"OLD_GROUP": "user_{user}", "OLD_MESSAGE": HERE}
    tell_old_groups(["7"], event(number))
    assert told == []
    assert f"Task id={number}: 'report.ready' is not sent to old groups" in caplog.text
    assert caplog.records[0].exc_info


def test_a_function_that_is_not_there_is_one_that_does_not_work(
    told: Told, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.TASK_EVENTS = {"OLD_GROUP": "user_{user}", "OLD_MESSAGE": "tests.channels.nowhere.function"}
    tell_old_groups(["7"], event(1))
    assert told == []
    assert "Task id=1: " in caplog.text
    assert "tests.channels.nowhere" in caplog.text


@pytest.mark.parametrize("user", ["a b", "a:b", "ä", "7\n", "x" * 95])
def test_a_name_that_channels_refuses_is_logged_with_the_task_and_the_others_are_told(
    user: str, told: Told, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.TASK_EVENTS = {"OLD_GROUP": "user_{user}"}
    tell_old_groups([user, "8"], event(1))
    assert [group for group, _, _ in told] == ["user_8"]
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith(f"Task id=1: 'report.ready' is not sent to the old group {f'user_{user}'!r}")


def test_without_the_setting_nobody_is_told(told: Told, settings: Any) -> None:
    tell_old_groups(["7"], event())
    settings.TASK_EVENTS = {"OLD_MESSAGE": HERE}
    tell_old_groups(["7"], event())
    assert told == []


def test_the_old_group_of_each_user_is_told_in_the_usual_shape(told: Told, settings: Any) -> None:
    settings.TASK_EVENTS = {"OLD_GROUP": "user_{user}"}
    tell_old_groups(["7", "a-B.c_9", "x" * 94], event("0b1c"))
    message = {"type": "report.ready", "data": {"id": "0b1c", "payload": None}}
    assert told == [(f"user_{user}", message, "0b1c") for user in ("7", "a-B.c_9", "x" * 94)]


def test_a_function_of_the_projects_makes_another_shape(told: Told, settings: Any) -> None:
    settings.TASK_EVENTS = {"OLD_GROUP": "{user}", "OLD_MESSAGE": HERE}
    tell_old_groups(["7"], event("0b1c"))
    assert told == [("7", {"type": "task_message", "text": "report.ready 0b1c"}, "0b1c")]
