from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from django.contrib.auth import logout
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.auth.signals import user_logged_out
from django.contrib.sessions.backends.cache import SessionStore
from django.http import HttpRequest

from tasks_celery import context
from tasks_celery.channels import receivers
from tasks_celery.channels.access import session_tag
from tasks_celery.channels.events import CONTROL, LARGEST, Envelope, Json
from tasks_celery.channels.groups import group_name
from tasks_celery.channels.push import publisher
from tasks_celery.channels.receivers import announce, close_sockets
from tasks_celery.compat import API_MODULE, task_finished
from tests.channels import jobs
from tests.channels.helpers import result_of

Sent = list[tuple[str, Envelope]]
Told = list[tuple[str, Json]]

KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """What was published: to which stream, and the event."""
    sent: Sent = []

    def publish(streams: Iterable[str], envelope: Envelope) -> None:
        sent.extend((stream, envelope) for stream in streams)

    monkeypatch.setattr(publisher, "publish", publish)
    return sent


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """Which messages were sent as they are, and to which group."""
    told: Told = []
    monkeypatch.setattr(publisher, "tell", lambda group, message, *, about="": told.append((group, message)))
    return told


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


def tenant_in_pieces(source: Any) -> str:
    raise LookupError("no such tenant")


def test_a_sign_out_whose_tenant_is_unknown_is_logged_and_goes_on(
    told: Told, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.TASK_EVENTS = {"TENANT": f"{__name__}.tenant_in_pieces"}
    request = request_of(User(pk=7), session_key=KEY)
    logout(request)
    assert told == []
    assert "no such tenant" in caplog.text
    assert KEY not in caplog.text


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


@ada_asks
def test_all_who_are_told_are_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(publisher, "publish", lambda streams, envelope: calls.append(list(streams)))
    announce(sender=None, task_result=result_of(jobs.tell_others, args=[list(range(1, 1001))]))
    assert calls == [[group_name(str(user)) for user in range(1, 1001)]]


def tenant(source: Any) -> str | None:
    """Return the tenant that the source of a request names."""
    return str(source.META.get("HTTP_TENANT", "acme"))


@pytest.mark.parametrize("to", [None, "8"])
def test_who_is_told_is_told_in_the_tenant_of_the_task(to: str | None, sent: Sent, settings: Any) -> None:
    settings.TASK_EVENTS = {"TENANT": f"{__name__}.tenant"}
    result = result_of(jobs.tell_others)
    object.__setattr__(result, "args", [to])
    with context.restored(context.Context(user="7", tenant="acme")):
        announce(sender=None, task_result=result)
    assert [stream for stream, _ in sent] == [group_name(to or "7", "acme")]


@ada_asks
def test_the_old_group_is_told_too(sent: Sent, told: Told, settings: Any) -> None:
    settings.TASK_EVENTS = {"OLD_GROUP": "user_{user}"}
    announce(sender=None, task_result=result_of(jobs.tell_both))
    ((stream, envelope),) = sent
    assert stream == group_name("7")
    assert told == [("user_7", {"type": "job.done", "data": envelope.data})]


# --- signing out --------------------------------------------------------------------------------------------


def request_of(user: Any, *, session_key: str | None) -> HttpRequest:
    request = HttpRequest()
    request.user = user
    request.session = SessionStore(session_key)  # type: ignore[assignment]
    return request


def test_who_signs_out_has_the_sockets_of_that_session_closed(told: Told) -> None:
    receivers.connect()
    request = request_of(User(pk=7), session_key=KEY)
    logout(request)
    stream = group_name("7")
    assert told == [(stream, {"type": CONTROL, "stream": stream, "session": session_tag(KEY)})]
    assert request.session.session_key != KEY
    assert KEY not in str(told)


def test_it_is_the_stream_in_the_tenant_of_the_request(told: Told, settings: Any) -> None:
    settings.TASK_EVENTS = {"TENANT": f"{__name__}.tenant"}
    logout(request_of(User(pk=7), session_key=KEY))
    assert [group for group, _ in told] == [group_name("7", "acme")]


@pytest.mark.parametrize(
    ("request_", "user"),
    [
        pytest.param(None, User(pk=7), id="signed out by Channels"),
        pytest.param(HttpRequest(), User(pk=7), id="without sessions"),
        pytest.param(request_of(User(pk=7), session_key=None), User(pk=7), id="without a session"),
        pytest.param(request_of(AnonymousUser(), session_key=KEY), None, id="nobody was signed in"),
    ],
)
def test_a_sign_out_that_ends_no_known_session_tells_nobody(
    request_: Any, user: Any, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    user_logged_out.send(sender=User, request=request_, user=user)
    close_sockets(request=request_, user=user)
    assert (told, caplog.records) == ([], [])
