from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction, sync_to_async
from django.contrib.auth import get_user
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connection, connections
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, AsyncRequestFactory, Client, RequestFactory
from django.urls import path
from django.utils import translation
from django.utils.functional import SimpleLazyObject

from tasks_celery.channels.middleware import AudienceMiddleware, AudienceScope
from tasks_celery.context import Context, current

seen: list[Context] = []


@pytest.fixture(autouse=True)
def _nothing_is_seen_yet() -> Iterator[None]:
    seen.clear()
    yield
    seen.clear()


def sync_view(request: HttpRequest) -> HttpResponse:
    seen.append(current())
    return HttpResponse()


async def async_view(request: HttpRequest) -> HttpResponse:
    seen.append(current())
    return HttpResponse()


async def async_view_that_has_loaded_the_user(request: HttpRequest) -> HttpResponse:
    await request.auser()  # type: ignore[attr-defined]
    seen.append(current())
    return HttpResponse()


def streaming_view(request: HttpRequest) -> StreamingHttpResponse:
    def stream() -> Iterator[bytes]:
        seen.append(current())
        yield b""

    return StreamingHttpResponse(stream())


urlpatterns = [
    path("sync/", sync_view),
    path("async/", async_view),
    path("loaded/", async_view_that_has_loaded_the_user),
    path("streaming/", streaming_view),
]


def request_of(user: Any = None, **headers: str) -> HttpRequest:
    request = RequestFactory().get("/", headers=headers)
    if user is not None:
        request.user = user
    return request


def asked_by(request: HttpRequest) -> Context:
    AudienceMiddleware(sync_view)(request)
    return seen.pop()


# --- what does not hold -------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", [None, AnonymousUser(), User(), object()])
def test_where_nobody_is_signed_in_nobody_asks(user: Any) -> None:
    assert asked_by(request_of(user)).user is None


@pytest.mark.parametrize("request_id", ["", " ", "a b", "a\tb", "größe", "x" * 129, "<script>", "a\x00b", "{}"])
def test_a_request_id_that_looks_like_none_is_left_out(request_id: str) -> None:
    assert asked_by(request_of(**{"X-Request-ID": request_id})).request_id is None


def test_what_a_response_does_while_it_streams_belongs_to_nobody() -> None:
    middleware = AudienceMiddleware(streaming_view)
    b"".join(middleware(request_of(User(pk=7))))  # type: ignore[arg-type]
    assert seen[0].user is None


def test_after_the_request_nobody_asks() -> None:
    asked_by(request_of(User(pk=7)))
    assert current().user is None


def test_after_a_view_that_raised_nobody_asks() -> None:
    def broken(request: HttpRequest) -> HttpResponse:
        raise LookupError

    with pytest.raises(LookupError):
        AudienceMiddleware(broken)(request_of(User(pk=7)))
    assert current().user is None


# --- what holds -----------------------------------------------------------------------------------------------


def test_the_user_is_looked_up_only_when_asked_for() -> None:
    request = request_of(SimpleLazyObject(lambda: pytest.fail("nothing was enqueued")))
    assert AudienceMiddleware(lambda request: HttpResponse())(request)


def test_the_user_the_request_and_the_language_are_remembered() -> None:
    with translation.override("de"):
        asked = asked_by(request_of(User(pk=7), **{"X-Request-ID": "f0-1.2:3/a=b+c@d_e"}))
    assert asked == Context(user="7", request_id="f0-1.2:3/a=b+c@d_e", language="de")


def test_who_signs_in_during_the_request_is_who_asks() -> None:
    def view(request: HttpRequest) -> HttpResponse:
        request.user = User(pk=8)
        return sync_view(request)

    AudienceMiddleware(view)(request_of(AnonymousUser()))
    assert seen[0].user == "8"


async def test_it_is_async_before_an_async_view_and_sync_before_a_sync_one() -> None:
    assert iscoroutinefunction(AudienceMiddleware(async_view))
    assert not iscoroutinefunction(AudienceMiddleware(sync_view))


async def test_requests_at_once_do_not_mix() -> None:
    both_are_in = asyncio.Barrier(2)

    async def view(request: HttpRequest) -> HttpResponse:
        await both_are_in.wait()
        assert current().user == str(request.user.pk)
        await sync_to_async(lambda: seen.append(current()))()
        return HttpResponse()

    middleware = AudienceMiddleware(view)
    requests = [AsyncRequestFactory().get("/") for _ in range(2)]
    for key, request in enumerate(requests):
        request.user = User(pk=key)
    await asyncio.gather(*(middleware(request) for request in requests))  # type: ignore[arg-type]
    assert sorted(str(each.user) for each in seen) == ["0", "1"]


# --- tenants -------------------------------------------------------------------------------------------------


def tenant(source: Any) -> Any:
    return source["tenant"] if isinstance(source, dict) else source.headers.get("X-Tenant")


def tenant_that_asks_the_database(source: Any) -> str:
    return f"with {User.objects.count()} users"


def broken_tenant(source: Any) -> str:
    raise LookupError("no tenant today")


def test_a_tenant_that_cannot_be_told_is_logged_and_keeps_nobody_from_asking(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.TASK_EVENTS = {"TENANT": f"{__name__}.broken_tenant"}
    assert asked_by(request_of(User(pk=7))) == Context(user="7", language="en-us")
    assert "TASK_EVENTS['TENANT'] does not work" in caplog.text
    assert "no tenant today" in caplog.text


def test_the_tenant_of_the_request_is_remembered(settings: Any) -> None:
    assert asked_by(request_of(User(pk=7), **{"X-Tenant": "a"})).tenant is None
    settings.TASK_EVENTS = {"TENANT": f"{__name__}.tenant"}
    assert asked_by(request_of(User(pk=7), **{"X-Tenant": "a"})).tenant == "a"
    assert asked_by(request_of(User(pk=7))).tenant is None


def test_the_tenant_is_looked_up_only_when_asked_for(settings: Any) -> None:
    settings.TASK_EVENTS = {"TENANT": f"{__name__}.broken_tenant"}
    request = request_of(SimpleLazyObject(lambda: pytest.fail("nothing was enqueued")))
    assert AudienceMiddleware(lambda request: HttpResponse())(request)


async def test_the_tenant_of_the_scope_is_remembered(settings: Any) -> None:
    settings.TASK_EVENTS = {"TENANT": f"{__name__}.tenant"}
    assert (await asked_in({"user": User(pk=7), "tenant": 12})).tenant == "12"


@pytest.mark.django_db(transaction=True)
async def test_in_an_async_view_a_tenant_may_be_looked_up_in_the_database(settings: Any) -> None:
    settings.TASK_EVENTS = {"TENANT": f"{__name__}.tenant_that_asks_the_database"}
    request = AsyncRequestFactory().get("/")
    request.user = User(pk=7)
    await AudienceMiddleware(async_view)(request)  # type: ignore[misc]
    assert seen[0].tenant == "with 0 users"


# --- with a database ---------------------------------------------------------------------------------------------


@pytest.mark.urls(__name__)
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("page", ["/sync/", "/async/", "/loaded/"])
def test_under_wsgi_a_view_knows_who_asks(page: str, client: Client) -> None:
    ada = User.objects.create_user("ada")
    client.force_login(ada)
    assert client.get(page).status_code == 200
    assert seen[0].user == str(ada.pk)


@pytest.mark.urls(__name__)
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("page", ["/sync/", "/async/", "/loaded/"])
async def test_under_asgi_a_view_knows_who_asks(page: str) -> None:
    ada = await User.objects.acreate(username="ada")
    client = AsyncClient()
    await client.aforce_login(ada)
    assert (await client.get(page)).status_code == 200
    assert seen[0].user == str(ada.pk)


@pytest.mark.django_db(transaction=True)
async def test_in_an_async_view_a_user_that_is_not_loaded_is_loaded_in_a_thread_that_hangs_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ada = await User.objects.acreate(username="ada")
    here = threading.get_ident()
    threads: list[int] = []
    closed: list[int] = []

    def load() -> Any:
        if threading.get_ident() == here:
            raise SynchronousOnlyOperation("You cannot call this from an async context")
        threads.append(threading.get_ident())
        connection.ensure_connection()
        return ada

    close_all = connections.close_all
    monkeypatch.setattr(connections, "close_all", lambda: (closed.append(threading.get_ident()), close_all()))
    request = AsyncRequestFactory().get("/")
    request.user = SimpleLazyObject(load)
    await AudienceMiddleware(async_view)(request)  # type: ignore[misc]
    assert seen[0].user == str(ada.pk)
    assert closed == threads
    assert len(threads) == 1


@pytest.mark.django_db(transaction=True)
async def test_djangos_own_lazy_user_is_loaded_in_an_async_view(settings: Any) -> None:
    ada = await User.objects.acreate(username="ada")
    client = AsyncClient()
    await client.aforce_login(ada)
    request = AsyncRequestFactory().get("/")
    request.session = SessionStore(session_key=client.cookies[settings.SESSION_COOKIE_NAME].value)
    request.user = SimpleLazyObject(lambda: get_user(request))
    await AudienceMiddleware(async_view)(request)  # type: ignore[misc]
    assert seen[0].user == str(ada.pk)
    assert request.user == ada


# --- in a consumer's scope -----------------------------------------------------------------------------------


async def asked_in(scope: dict[str, Any], *, change: Any = None) -> Context:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if change:
            scope["user"] = change
        seen.append(await asyncio.create_task(_current()))

    async def _current() -> Context:
        return current()

    await AudienceScope(app)(scope, None, None)  # type: ignore[arg-type]
    assert current().user is None
    return seen.pop()


@pytest.mark.parametrize("scope", [{}, {"user": None}, {"user": AnonymousUser()}])
async def test_a_scope_without_user_has_nobody_who_asks(scope: dict[str, Any]) -> None:
    assert (await asked_in(scope)).user is None


async def test_what_a_consumer_enqueues_belongs_to_the_user_of_its_scope() -> None:
    assert (await asked_in({"user": User(pk=7)})).user == "7"


async def test_who_signs_in_on_a_socket_is_who_asks_from_then_on() -> None:
    assert (await asked_in({"user": AnonymousUser()}, change=User(pk=8))).user == "8"
