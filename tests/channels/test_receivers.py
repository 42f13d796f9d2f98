from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User

from tasks_celery import context
from tasks_celery.channels import publisher, receivers
from tasks_celery.channels.events import LARGEST, Envelope
from tasks_celery.channels.groups import group_name
from tasks_celery.channels.receivers import announce
from tasks_celery.compat import API_MODULE, task_finished
from tests.channels import jobs
from tests.channels.helpers import result_of

Sent = list[tuple[str, Envelope]]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """What was published: to which group, and the event."""
    sent: Sent = []
    monkeypatch.setattr(publisher, "publish", lambda group, envelope: sent.append((group, envelope)))
    return sent


@pytest.fixture
def _ada_asks() -> Iterator[None]:
    with context.restored(context.Context(user="7")):
        yield


ada_asks = pytest.mark.usefixtures("_ada_asks")


# --- what goes wrong --------------------------------------------------------------------------------------


@ada_asks
@pytest.mark.parametrize("payload", ["raise", "no dict", {1.5: object()}, {"size": 2**70}, {"half": "\ud800"}])
def test_a_payload_that_does_not_work_is_logged_and_the_event_goes_without(
    payload: Any, sent: Sent, caplog: pytest.LogCaptureFixture
) -> None:
    result = result_of(jobs.tell_payload)
    object.__setattr__(result, "args", [payload])
    announce(sender=None, task_result=result)
    assert [envelope.data["payload"] for _, envelope in sent] == [None]
    assert "Task id=0b1c: 'job.paid' goes out without payload" in caplog.text
    assert caplog.records[0].exc_info


@ada_asks
def test_an_event_that_is_too_large_goes_without_its_payload(sent: Sent, caplog: pytest.LogCaptureFixture) -> None:
    announce(sender=None, task_result=result_of(jobs.tell_payload, args=[{"text": "x" * LARGEST}]))
    (envelope,) = (envelope for _, envelope in sent)
    assert envelope.data["payload"] is None
    assert envelope.data["id"] == "0b1c"
    assert re.search(r"has 82\d\d bytes and the limit is 8000", caplog.text)


@ada_asks
@pytest.mark.parametrize("to", ["raise", 1.5, "not a number", {"user": 7}])
def test_an_audience_that_does_not_work_is_logged_and_nobody_is_told(
    to: Any, sent: Sent, caplog: pytest.LogCaptureFixture
) -> None:
    announce(sender=None, task_result=result_of(jobs.tell_others, args=[to]))
    assert sent == []
    assert "Task id=0b1c: 'job.sent' is not sent" in caplog.text


def test_who_asked_cannot_be_found_out_and_nobody_is_told(sent: Sent, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> context.Context:
        raise ConnectionError("no database")

    with context.asking(broken):
        announce(sender=None, task_result=result_of(jobs.tell_both))
    assert sent == []
    assert "no database" in caplog.text


def test_nobody_asked_and_nobody_is_told(sent: Sent, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "tasks_celery.channels"):
        announce(sender=None, task_result=result_of(jobs.tell_both))
    assert sent == []
    assert "nobody is told of 'job.done'" in caplog.text


# --- what works -------------------------------------------------------------------------------------------


@ada_asks
def test_a_task_without_rule_and_a_failure_without_name_are_not_announced(sent: Sent) -> None:
    announce(sender=None, task_result=result_of(jobs.tell_nobody))
    announce(sender=None, task_result=result_of(jobs.tell_success, failed=True))
    assert sent == []


@ada_asks
def test_who_asked_is_told_how_it_ended(sent: Sent) -> None:
    announce(sender=None, task_result=result_of(jobs.tell_both))
    announce(sender=None, task_result=result_of(jobs.tell_both, failed=True))
    assert [(group, envelope.event, envelope.data["status"]) for group, envelope in sent] == [
        (group_name("7"), "job.done", "SUCCESSFUL"),
        (group_name("7"), "job.failed", "FAILED"),
    ]


@ada_asks
def test_a_payload_is_what_the_function_returned(sent: Sent) -> None:
    announce(sender=None, task_result=result_of(jobs.tell_payload, args=[{"report": 7, "type": "close"}]))
    assert [envelope.data["payload"] for _, envelope in sent] == [{"report": 7, "type": "close"}]


@ada_asks
@pytest.mark.parametrize(
    ("to", "told"), [(None, ["7"]), (8, ["8"]), ([8, "9", 8], ["8", "9"]), ([], []), (User(pk=8), ["8"])]
)
def test_others_are_told_in_place_of_who_asked(to: Any, told: list[str], sent: Sent) -> None:
    result = result_of(jobs.tell_others)
    object.__setattr__(result, "args", [to])
    announce(sender=None, task_result=result)
    assert [group for group, _ in sent] == [group_name(user) for user in told]


def test_who_asked_is_not_looked_up_where_others_are_told(sent: Sent) -> None:
    with context.asking(lambda: pytest.fail("nobody needs to know")):
        announce(sender=None, task_result=result_of(jobs.tell_others, args=[8]))
    assert len(sent) == 1


def test_somebody_anonymous_is_nobody(sent: Sent) -> None:
    result = result_of(jobs.tell_others)
    object.__setattr__(result, "args", [AnonymousUser()])
    announce(sender=None, task_result=result)
    assert sent == []


@ada_asks
def test_it_hears_djangos_signal_once_however_often_it_is_connected(sent: Sent) -> None:
    receivers.connect()
    receivers.connect()
    task_finished.send(sender=object, task_result=result_of(jobs.tell_both))
    assert len(sent) == 1


@ada_asks
def test_the_same_code_announces_under_djangos_immediate_backend(sent: Sent, settings: Any) -> None:
    settings.TASKS = {"default": {"BACKEND": f"{API_MODULE}.backends.immediate.ImmediateBackend"}}
    jobs.tell_both.using(backend="default").enqueue()
    result = jobs.tell_both.enqueue(fails=True)
    assert [(group, envelope.event) for group, envelope in sent] == [
        (group_name("7"), "job.done"),
        (group_name("7"), "job.failed"),
    ]
    assert sent[1][1].data["id"] == result.id
