from __future__ import annotations

from itertools import count
from typing import Any

import django
import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest
from django.template import Context, RequestContext, Template
from django.test import RequestFactory
from django.urls import include, path
from django.utils.functional import SimpleLazyObject

from tasks_celery.channels.groups import group_name
from tasks_celery.channels.log import Entry, EventLogError, Position, find_log
from tasks_celery.channels.since import events_since
from tests.channels.helpers import event

urlpatterns = [path("tasks/", include("tasks_celery.channels.urls"))]

#: Each test has a user, and so a stream, of its own: the log in memory outlives a test.
keys = count(3_000_000)


@pytest.fixture(autouse=True)
def _log(settings: Any) -> None:
    settings.TASK_EVENTS = {"LOG": "memory://"}
    settings.ROOT_URLCONF = __name__


@pytest.fixture
def ada() -> User:
    return User(pk=next(keys))


def request_of(user: Any) -> HttpRequest:
    request = RequestFactory().get("/")
    request.user = user
    return request


def rendered(tag: str, request: HttpRequest | None, **context: Any) -> str:
    template = Template("{% load task_events %}" + tag)
    return template.render(RequestContext(request, context) if request else Context(context))


def kept(user: User) -> Position:
    (position,) = find_log().append([Entry(group_name(str(user.pk)), "1", event().body)])
    assert isinstance(position, Position)
    return position


# --- for nobody, and what goes wrong ---------------------------------------------------------------------------------


@pytest.mark.parametrize("user", [None, AnonymousUser(), User(pk=7, is_active=False)])
@pytest.mark.parametrize("tag", ["{% task_events_since %}", "{% task_events %}"])
def test_for_nobody_nothing_is_rendered(user: Any, tag: str) -> None:
    assert rendered(tag, request_of(user)) == ""


@pytest.mark.parametrize("tag", ["{% task_events_since %}", "{% task_events %}"])
def test_without_the_request_nothing_is_rendered_and_the_log_says_why(
    tag: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert rendered(tag, None) == ""
    assert "context_processors.request" in caplog.text


def test_a_log_that_is_away_renders_no_position_and_says_so(
    ada: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(cursors: Any) -> Any:
        raise EventLogError("no route")

    monkeypatch.setattr(find_log(), "read", away)
    request = request_of(ada)
    assert rendered("{% task_events_since %}", request) == ""
    assert ' since=""' in rendered("{% task_events %}", request)
    assert caplog.text.count("does not answer") == 1  # and is asked once for a page


def test_where_no_log_is_kept_there_is_no_position(ada: User, settings: Any) -> None:
    settings.TASK_EVENTS = {"LOG": "none://"}
    assert rendered("{% task_events_since %}", request_of(ada)) == ""


def test_what_is_said_in_the_template_cannot_leave_its_attribute(ada: User) -> None:
    html = rendered("{% task_events src=evil title=evil %}", request_of(ada), evil='"><script>alert(1)</script>')
    assert "<script>alert" not in html
    assert html.count("&quot;&gt;&lt;script&gt;") == 2


# --- for somebody ---------------------------------------------------------------------------------------------------


def test_the_position_is_that_of_the_users_last_event(ada: User) -> None:
    assert rendered("{% task_events_since %}", request_of(ada)).endswith(":0")
    position = kept(ada)
    assert rendered("{% task_events_since %}", request_of(SimpleLazyObject(lambda: ada))) == str(position)
    assert rendered("{% task_events_since as since %}[{{ since }}]", request_of(ada)) == f"[{position}]"


def test_what_comes_while_the_view_reads_is_after_the_position_that_it_took_before(ada: User) -> None:
    request = request_of(ada)
    taken = events_since(request)
    kept(ada)
    assert rendered("{% task_events_since %}", request) == taken
    assert f' since="{taken}"' in rendered("{% task_events %}", request)
    assert taken.endswith(":0")


def test_the_element_has_all_it_needs(ada: User) -> None:
    position = kept(ada)
    assert rendered("{% task_events %}", request_of(ada)) == (
        '<script type="module" src="/static/tasks_celery/element.js"></script>'
        f'<task-events src="/ws/tasks/" since="{position}" fallback="/tasks/events/"></task-events>'
    )


def test_a_project_without_the_view_has_no_fallback(ada: User, settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.urls"
    assert "fallback" not in rendered("{% task_events %}", request_of(ada))


def test_attributes_can_be_said_left_out_and_added(ada: User) -> None:
    html = rendered(
        '{% task_events src="/live/" fallback=None since=False id="reports" data_page=3 hidden=True hx_trigger="a b" %}',
        request_of(ada),
    )
    assert '<task-events src="/live/" id="reports" data-page="3" hidden="" hx-trigger="a b"></task-events>' in html


def test_no_nonce_is_made_where_there_is_no_policy(ada: User) -> None:
    assert "nonce" not in rendered("{% task_events %}", request_of(ada))


def test_the_nonce_of_another_package_is_taken(ada: User) -> None:
    request = request_of(ada)
    request.csp_nonce = "abc"  # type: ignore[attr-defined]
    assert '<script type="module" src="/static/tasks_celery/element.js" nonce="abc">' in rendered(
        "{% task_events %}", request
    )


@pytest.mark.skipif(django.VERSION < (6, 0), reason="Django has policies since 6.0")
@pytest.mark.parametrize("is_in_context", [True, False])
def test_djangos_nonce_is_taken_though_nobody_has_read_it_yet(ada: User, is_in_context: bool) -> None:
    from django.middleware.csp import ContentSecurityPolicyMiddleware, get_nonce

    request = request_of(ada)
    ContentSecurityPolicyMiddleware(lambda request: None).process_request(request)  # type: ignore[arg-type, return-value]
    nonce = get_nonce(request)
    assert not nonce
    html = rendered("{% task_events %}", request, **({"csp_nonce": nonce} if is_in_context else {}))
    assert f'nonce="{nonce}"' in html
