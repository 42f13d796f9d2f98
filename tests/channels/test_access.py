from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from channels.auth import AuthMiddlewareStack
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, get_user, login
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser, User
from django.core.cache import cache
from django.db import DatabaseError, connection, models
from django.http import HttpRequest
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext, isolate_apps
from django.utils import timezone

from tasks_celery.channels import access
from tasks_celery.channels.access import (
    Access,
    Refused,
    access_of_request,
    access_of_scope,
    access_of_token,
    allowed,
    session_tag,
    user_tag,
)
from tasks_celery.channels.groups import group_name
from tasks_celery.channels.tokens import make_token

DB = "django.contrib.sessions.backends.db"
CACHED_DB = "django.contrib.sessions.backends.cached_db"
CACHE = "django.contrib.sessions.backends.cache"
COOKIES = "django.contrib.sessions.backends.signed_cookies"


@pytest.fixture(autouse=True)
def _nothing_is_away() -> Iterator[None]:
    access._away.clear()
    cache.clear()
    yield
    access._away.clear()


def signed_in(user: User, engine: str = DB) -> HttpRequest:
    """Return the request with which `user` signed in: with a session of its own."""
    request = RequestFactory().get("/")
    request.session = __import__(engine, fromlist=["SessionStore"]).SessionStore()
    request.user = user
    login(request, user)
    request.session.save()
    return request


def listener(name: str = "ada", engine: str = DB) -> Access:
    return access_of_request(signed_in(User.objects.create_user(name), engine))


def bearer(token: str) -> HttpRequest:
    return RequestFactory().get("/", headers={"Authorization": f"Bearer {token}"})


def code_of(refused: pytest.ExceptionInfo[Refused]) -> int:
    return refused.value.code


def tenant_of_header(source: Any) -> str | None:
    return str(source["tenant"]) if isinstance(source, dict) else source.headers.get("X-Tenant")


def broken_tenant(source: Any) -> str:
    raise LookupError("no tenant today")


# --- who is refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", [{}, {"user": None}, {"user": AnonymousUser()}, {"user": User()}, {"user": object()}])
def test_nobody_is_refused(scope: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        access_of_scope(scope)
    assert code_of(refused) == 4401
    request = RequestFactory().get("/")
    vars(request).update(scope)
    with pytest.raises(Refused) as refused:
        access_of_request(request)
    assert code_of(refused) == 4401


def test_who_is_not_active_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        access_of_scope({"user": User(pk=7, is_active=False)})
    assert code_of(refused) == 4403


@pytest.mark.parametrize("token", ["", "forged", None, 7, ["a"], "x" * 10_000])
def test_a_forged_token_is_refused(token: Any) -> None:
    with pytest.raises(Refused) as refused:
        access_of_token(token)
    assert code_of(refused) == 4401


def test_a_token_of_another_tenant_is_refused() -> None:
    for claimed in ("a", None):
        with pytest.raises(Refused) as refused:
            access_of_token(make_token(User(pk=7), tenant=claimed), "b")
        assert code_of(refused) == 4401


@pytest.mark.django_db
def test_a_token_in_a_request_is_refused_where_its_user_is_gone_or_not_active() -> None:
    ada = User.objects.create_user("ada")
    token = make_token(ada)
    assert access_of_request(bearer(token)).user == str(ada.pk)
    User.objects.update(is_active=False)
    with pytest.raises(Refused) as refused:
        access_of_request(bearer(token))
    assert code_of(refused) == 4403
    User.objects.all().delete()
    with pytest.raises(Refused) as refused:
        access_of_request(bearer(token))
    assert code_of(refused) == 4403


@pytest.mark.django_db
def test_a_token_that_does_not_hold_is_refused_though_its_bearer_is_signed_in() -> None:
    request = signed_in(User.objects.create_user("ada"))
    request.META["HTTP_AUTHORIZATION"] = "Bearer forged"
    with pytest.raises(Refused) as refused:
        access_of_request(request)
    assert code_of(refused) == 4401


def test_where_the_tenant_cannot_be_told_nobody_is_let_in(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    settings.TASK_EVENTS = {"TENANT": f"{__name__}.broken_tenant"}
    with pytest.raises(Refused) as refused:
        access_of_scope({"user": User(pk=7)})
    assert code_of(refused) == 1013
    assert "TASK_EVENTS['TENANT']" in caplog.text
    assert "no tenant today" in caplog.text


# --- who is let in ----------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("engine", [DB, CACHED_DB, CACHE, COOKIES])
async def test_what_channels_has_loaded_is_enough_and_nothing_is_asked_on_the_loop(engine: str, settings: Any) -> None:
    from asgiref.sync import sync_to_async

    settings.SESSION_ENGINE = engine
    ada = await User.objects.acreate(username="ada")
    session = (await sync_to_async(signed_in)(ada, engine)).session
    found: list[Access] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        # Django raises SynchronousOnlyOperation for whatever would ask the database here.
        found.append(access_of_scope(scope))

    cookie = f"{settings.SESSION_COOKIE_NAME}={session.session_key}".encode()
    scope = {"type": "websocket", "path": "/", "headers": [(b"cookie", cookie)]}
    await AuthMiddlewareStack(app)(scope, None, None)
    assert found == [Access(user=str(ada.pk), session=session.session_key, session_hash=session[HASH_SESSION_KEY])]


def test_who_is_signed_in_without_a_session_has_none() -> None:
    assert access_of_scope({"user": User(pk=7)}) == Access(user="7")


class UnreadSession(dict[str, str]):
    """A session that nobody has looked at."""

    accessed = False

    def get(self, key: str, default: Any = None) -> Any:
        pytest.fail("to read it would ask the database")


def test_a_session_that_did_not_sign_the_user_in_is_left_alone() -> None:
    assert access_of_scope({"user": User(pk=7), "session": UnreadSession()}).session is None
    other = UnreadSession({SESSION_KEY: "8"})
    other.accessed = True  # type: ignore[misc]
    other.get = lambda key, default=None: dict(other).get(key, default)  # type: ignore[method-assign]
    assert access_of_scope({"user": User(pk=7), "session": other}).session is None


@pytest.mark.django_db
def test_a_user_in_no_table_is_let_in_and_never_asked_for() -> None:
    found = access_of_scope({"user": SimpleNamespace(pk="0b1c", is_authenticated=True)})
    assert found == Access(user="0b1c", has_row=False)
    assert allowed([found]) == [True]


def test_the_tenant_is_told_by_the_projects_function(settings: Any) -> None:
    settings.TASK_EVENTS = {"TENANT": f"{__name__}.tenant_of_header"}
    found = access_of_scope({"user": User(pk=7), "tenant": "a"})
    assert found.tenant == "a"
    assert found.stream == group_name("7", "a") != group_name("7")
    request = RequestFactory().get("/", headers={"X-Tenant": "b"})
    request.user = User(pk=7)
    assert access_of_request(request).tenant == "b"


def test_a_token_is_for_its_user_its_tenant_and_its_time() -> None:
    before = time.time()
    found = access_of_token(make_token(User(pk=7), tenant="a", lifetime=60), "a")
    assert (found.user, found.tenant, found.session) == ("7", "a", None)
    assert found.until is not None
    assert before + 60 <= found.until <= time.time() + 60
    assert access_of_token(make_token(User(pk=7), tenant="a")).tenant == "a"


# --- who may not stay -------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("engine", [DB, CACHED_DB, CACHE, COOKIES])
@pytest.mark.parametrize("change", [{"is_active": False}, {"password": "changed"}, None])
def test_who_is_deactivated_gone_or_has_another_password_may_not_stay(
    settings: Any, engine: str, change: dict[str, Any] | None
) -> None:
    settings.SESSION_ENGINE = engine
    ada, bob = listener("ada", engine), listener("bob", engine)
    assert allowed([ada, bob]) == [True, True]
    found = User.objects.filter(pk=ada.user)
    found.update(**change) if change else found.delete()
    assert allowed([ada, bob, ada]) == [False, True, False]


@pytest.mark.django_db
@pytest.mark.parametrize("engine", [DB, CACHED_DB, CACHE])
def test_whose_session_is_gone_may_not_stay(settings: Any, engine: str) -> None:
    settings.SESSION_ENGINE = engine
    ada = User.objects.create_user("ada")
    here, there = signed_in(ada, engine), signed_in(ada, engine)
    accesses = [access_of_request(here), access_of_request(there)]
    here.session.flush()
    assert allowed(accesses) == [False, True]


@pytest.mark.django_db
def test_whose_session_has_expired_may_not_stay() -> None:
    from django.contrib.sessions.models import Session

    ada = listener()
    Session.objects.update(expire_date=timezone.now())
    assert allowed([ada]) == [False]


@pytest.mark.django_db
def test_whose_token_is_over_may_not_stay() -> None:
    user = str(User.objects.create_user("ada").pk)
    now = time.time()
    assert allowed([Access(user=user, until=now - 1), Access(user=user, until=now + 60)]) == [False, True]


@pytest.mark.django_db
@pytest.mark.parametrize("user", ["no number", "", "12345"])
def test_a_user_that_never_was_may_not_stay(user: str) -> None:
    assert allowed([Access(user=user)]) == [False]


@pytest.mark.django_db
def test_a_session_signed_in_with_an_older_secret_key_may_stay(settings: Any) -> None:
    ada = listener()
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "the next one", [settings.SECRET_KEY]
    assert allowed([ada]) == [True]
    settings.SECRET_KEY_FALLBACKS = []
    assert allowed([ada]) == [False]


# --- what it costs, and what goes wrong -------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(("engine", "queries"), [(DB, 2), (CACHED_DB, 2), (CACHE, 1), (COOKIES, 1)])
def test_all_are_asked_for_at_once(settings: Any, engine: str, queries: int) -> None:
    settings.SESSION_ENGINE = engine
    accesses = [listener(f"user{number}", engine) for number in range(5)] * 2
    with CaptureQueriesContext(connection) as seen:
        assert allowed(accesses) == [True] * 10
    assert len(seen) == queries


@pytest.mark.django_db
def test_nobody_costs_nothing() -> None:
    with CaptureQueriesContext(connection) as seen:
        assert allowed([]) == []
    assert not seen.captured_queries


@pytest.mark.django_db
@pytest.mark.parametrize("broken", ["get_user_model", "sessions"])
def test_while_the_database_is_away_everybody_stays_and_it_is_said_once(
    broken: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    ada = listener()
    over = Access(user=ada.user, until=1.0)

    def away(*args: object) -> Any:
        raise DatabaseError("server closed the connection")

    with monkeypatch.context() as patch:
        if broken == "sessions":
            patch.setattr(access.sessions, "living", away)
        else:
            patch.setattr(User._default_manager, "in_bulk", away)
        assert allowed([ada, over]) == [True, False]
        assert allowed([ada, over]) == [True, False]
    assert caplog.text.count("Everybody stays") == 1
    assert allowed([ada]) == [True]
    assert caplog.text.count("can be looked at again") == 1
    assert str(ada.session) not in caplog.text


@pytest.mark.django_db
def test_what_one_of_both_says_holds_while_the_other_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*args: object) -> Any:
        raise OSError("no route")

    ada = listener()
    monkeypatch.setattr(access.sessions, "living", away)
    User.objects.update(is_active=False)
    assert allowed([ada]) == [False]


@pytest.mark.django_db
def test_connections_of_the_thread_are_looked_after(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(access, "close_old_connections", lambda: told.append("closed"))
    monkeypatch.setattr(access.sessions, "living", lambda keys: told.append("asked"))
    allowed([listener()])
    assert told == ["closed", "asked", "closed"]


@pytest.mark.django_db(transaction=True)
@isolate_apps("tests.shop")
@pytest.mark.parametrize("key", [models.UUIDField(primary_key=True), models.CharField(primary_key=True, max_length=40)])
def test_users_of_any_model_and_key_are_found(key: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Member(AbstractBaseUser):
        id = key
        is_active = models.BooleanField(default=True)
        USERNAME_FIELD = "id"

        class Meta:
            app_label = "shop"

    monkeypatch.setattr(access, "get_user_model", lambda: Member)
    with connection.schema_editor() as editor:
        editor.create_model(Member)
    try:
        ada, bob = Member.objects.create(id=str(uuid4())), Member.objects.create(id=str(uuid4()))
        accesses = [access_of_scope({"user": Member.objects.get(pk=each.pk)}) for each in (ada, bob)]
        assert [each.user for each in accesses] == [str(ada.pk), str(bob.pk)]
        assert allowed([*accesses, Access(user=str(uuid4())), Access(user="none")]) == [True, True, False, False]
    finally:
        with connection.schema_editor() as editor:
            editor.delete_model(Member)


# --- tags -----------------------------------------------------------------------------------------------------------


def test_tags_tell_apart_and_tell_nothing(settings: Any) -> None:
    assert session_tag("secret key") == session_tag("secret key") != session_tag("another key")
    assert "secret" not in session_tag("secret key")
    stream = group_name("7")
    assert user_tag(stream) == user_tag(stream) != user_tag(group_name("8"))
    assert user_tag(stream) not in stream
    before = user_tag("x"), session_tag("x")
    settings.SECRET_KEY = "another project"
    assert before != (user_tag("x"), session_tag("x"))
    assert user_tag("x") != session_tag("x")[:16]


def test_djangos_own_user_of_a_request_is_taken(db: None) -> None:
    ada = User.objects.create_user("ada")
    request = signed_in(ada)
    request.user = get_user(request)
    assert access_of_request(request).session == request.session.session_key
