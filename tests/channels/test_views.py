from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpResponse
from django.test import AsyncRequestFactory, Client, RequestFactory
from django.urls import include, path, reverse

from tasks_celery.channels import access, views
from tasks_celery.channels.events import Envelope
from tasks_celery.channels.groups import group_name
from tasks_celery.channels.log import Entry, EventLogError, Position, find_log
from tasks_celery.channels.log.base import READ_AT_ONCE
from tasks_celery.channels.log.nowhere import NoLog
from tasks_celery.channels.tokens import make_token
from tests.channels.helpers import event

urlpatterns = [path("tasks/", include("tasks_celery.channels.urls"))]

#: Each test has a user, and so a stream, of its own: the log in memory outlives a test.
keys = count(1_000_000)


@pytest.fixture(autouse=True)
def _log(settings: Any) -> Iterator[None]:
    settings.TASK_EVENTS = {"LOG": "memory://", "KEEP": 300}
    yield
    access._away.clear()


@pytest.fixture
def ada() -> User:
    return User(pk=next(keys))


def kept(user: User, *envelopes: Envelope, tenant: str | None = None) -> list[Position]:
    """Keep events for a user, and return their positions."""
    stream = group_name(str(user.pk), tenant)
    positions = find_log().append([Entry(stream, each.key, each.body) for each in envelopes])
    assert all(isinstance(position, Position) for position in positions)
    return positions  # type: ignore[return-value]


def asked(user: Any, query: str = "", *, method: str = "get", **headers: str) -> HttpResponse:
    request = getattr(RequestFactory(), method)(f"/tasks/events/{query}", headers=headers)
    request.user = user
    return views.events(request)  # type: ignore[return-value]


def told(answer: HttpResponse) -> dict[str, Any]:
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/json"
    assert answer["Cache-Control"] == "no-store"
    content: dict[str, Any] = json.loads(answer.content)
    assert set(content) == {"events", "seq", "epoch", "reset", "more"}
    return content


# --- who is told nothing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream", "*/*"])
@pytest.mark.parametrize(("user", "status"), [(None, 401), (AnonymousUser(), 401), (User(pk=7, is_active=False), 403)])
def test_who_may_not_listen_is_told_so_in_json(user: Any, status: int, accept: str) -> None:
    answer = asked(user, Accept=accept)
    assert answer.status_code == status
    assert json.loads(answer.content)["error"]
    assert answer["Cache-Control"] == "no-store"
    assert ("WWW-Authenticate" in answer) == (status == 401)


@pytest.mark.parametrize("header", ["Bearer", "Bearer forged", "bearer a:b:c"])
def test_a_token_that_does_not_hold_is_401_whoever_is_signed_in(ada: User, header: str) -> None:
    assert asked(ada, Authorization=header).status_code == 401


def test_a_token_in_the_url_is_not_read(ada: User) -> None:
    assert asked(None, f"?token={make_token(ada)}").status_code == 401


def broken_tenant(source: Any) -> str:
    raise LookupError


def test_where_the_tenant_cannot_be_told_it_is_503(settings: Any, ada: User) -> None:
    settings.TASK_EVENTS = {"LOG": "memory://", "TENANT": f"{__name__}.broken_tenant"}
    assert asked(ada).status_code == 503


@pytest.mark.parametrize("method", ["post", "put", "delete", "head"])
def test_only_get_is_answered(ada: User, method: str) -> None:
    assert asked(ada, method=method).status_code == 405


def test_a_stream_under_wsgi_is_501_with_what_to_do(ada: User) -> None:
    answer = asked(ada, Accept="text/event-stream")
    assert answer.status_code == 501
    assert "application/json" in json.loads(answer.content)["error"]
    assert "ASGI" in json.loads(answer.content)["error"]


def test_a_log_that_is_away_is_503_and_the_page_asks_again(
    ada: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(cursors: Any) -> Any:
        raise EventLogError("no route")

    monkeypatch.setattr(find_log(), "read", away)
    answer = asked(ada)
    assert answer.status_code == 503
    assert int(answer["Retry-After"]) > 0
    assert "no route" in caplog.text
    assert "no route" not in answer.content.decode()


# --- a list at a time --------------------------------------------------------------------------------------------------


def test_without_a_position_the_list_begins_now(ada: User) -> None:
    assert told(asked(ada)) | {"epoch": ""} == {"events": [], "seq": 0, "epoch": "", "reset": False, "more": False}
    *_, last = kept(ada, event(1), event(2))
    assert told(asked(ada)) == {"events": [], "seq": 2, "epoch": last.epoch, "reset": False, "more": False}


def test_what_came_after_the_position_is_listed_as_on_the_socket(ada: User) -> None:
    first, second, third = kept(ada, event(1), event(2), event(3))
    page = told(asked(ada, f"?since={first}"))
    assert page["events"] == [
        {"type": "task.event", "seq": 2, "epoch": first.epoch, "event": "report.ready", "data": event(2).data},
        {"type": "task.event", "seq": 3, "epoch": first.epoch, "event": "report.ready", "data": event(3).data},
    ]
    assert Position(page["epoch"], page["seq"]) == third
    assert told(asked(ada, f"?since={third}"))["events"] == []
    # What the browser says of a stream that it takes up again is newer than what the page said as it began.
    assert [
        each["seq"] for each in told(asked(ada, f"?since={first}", **{"Last-Event-ID": str(second)}))["events"]
    ] == [3]


def test_more_than_one_answer_holds_is_asked_for_again(ada: User) -> None:
    since, *rest = kept(ada, *map(event, range(READ_AT_ONCE + 6)))
    heard: list[int] = []
    for more in (True, False):
        page = told(asked(ada, f"?since={since}"))
        assert page["more"] is more
        assert not page["reset"]
        heard += [each["seq"] for each in page["events"]]
        since = Position(page["epoch"], page["seq"])
    assert heard == [position.seq for position in rest]


@pytest.mark.parametrize("since", ["another:1", "{epoch}:99", "nonsense", "{epoch}:-1", "{epoch}", ":", "\x00", "0"])
def test_a_position_that_never_was_is_a_reset_and_tells_nothing(ada: User, since: str) -> None:
    (top,) = kept(ada, event())
    page = told(asked(ada, f"?since={since.format(epoch=top.epoch)}"))
    assert page == {"events": [], "seq": 1, "epoch": top.epoch, "reset": True, "more": False}


def test_the_position_of_somebody_else_is_a_reset(ada: User) -> None:
    bob = User(pk=next(keys))
    (theirs,) = kept(bob, event("of bob"))
    kept(ada, event())
    answer = asked(ada, f"?since={theirs.epoch}:0")
    assert told(answer)["reset"] is True
    assert b"of bob" not in answer.content


def test_an_empty_position_is_none(ada: User) -> None:
    assert told(asked(ada, "?since="))["reset"] is False


def test_where_no_log_is_kept_there_is_no_position(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "find_log", NoLog)
    assert told(asked(ada, "?since=a:1")) == {"events": [], "seq": None, "epoch": None, "reset": False, "more": False}


def tenant(source: Any) -> Any:
    return source.headers.get("X-Tenant")


def test_each_tenant_has_its_own_events(settings: Any, ada: User) -> None:
    settings.TASK_EVENTS = {"LOG": "memory://", "TENANT": f"{__name__}.tenant"}
    (position,) = kept(ada, event(), tenant="a")
    assert told(asked(ada, f"?since={position.epoch}:0", **{"X-Tenant": "a"}))["events"]
    assert told(asked(ada, f"?since={position.epoch}:0", **{"X-Tenant": "b"}))["events"] == []


def test_the_wsgi_view_needs_no_channels(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "tasks_celery.channels.sse", None)
    assert told(asked(ada))


# --- within a project --------------------------------------------------------------------------------------------------


@pytest.mark.urls(__name__)
@pytest.mark.django_db
def test_the_address_is_the_projects_and_sessions_and_tokens_open_it(settings: Any, client: Client) -> None:
    # Comes before the view, and would send an app with a token to a page to sign in at.
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    address = reverse("task_events:events")
    assert address == "/tasks/events/"
    assert client.get(address).status_code == 401
    ada, bob = User.objects.create_user("ada"), User.objects.create_user("bob")
    kept(bob, event("of bob"))
    (position,) = kept(ada, event("of ada"))
    by_token = {"Authorization": f"Bearer {make_token(ada)}"}
    since = f"?since={position.epoch}:{position.seq - 1}"
    assert [each["data"]["id"] for each in client.get(address + since, headers=by_token).json()["events"]] == ["of ada"]
    client.force_login(ada)
    assert [each["data"]["id"] for each in client.get(address + since).json()["events"]] == ["of ada"]
    User.objects.update(is_active=False)
    # Django takes who is not active for nobody; the token names somebody.
    assert client.get(address).status_code == 401
    assert client.get(address, headers=by_token).status_code == 403


# --- as a stream --------------------------------------------------------------------------------------------------------


def test_under_asgi_a_page_that_accepts_a_stream_gets_one(ada: User) -> None:
    request = AsyncRequestFactory().get("/tasks/events/", headers={"Accept": "text/event-stream"})
    request.user = ada
    answer = views.events(request)
    assert answer.status_code == 200
    assert answer.streaming
    assert {name: answer[name] for name in ("Content-Type", "Cache-Control", "X-Accel-Buffering")} == {
        "Content-Type": "text/event-stream",
        "Cache-Control": "no-store",
        "X-Accel-Buffering": "no",
    }


def test_a_stream_is_not_compressed(ada: User) -> None:
    from django.middleware.gzip import GZipMiddleware

    request = AsyncRequestFactory().get(
        "/tasks/events/", headers={"Accept": "text/event-stream", "Accept-Encoding": "gzip"}
    )
    request.user = ada
    assert GZipMiddleware(views.events)(request)["Content-Encoding"] == "identity"  # type: ignore[index]
