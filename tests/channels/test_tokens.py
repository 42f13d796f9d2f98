from __future__ import annotations

import time
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core import signing

from tasks_celery.channels import tokens
from tasks_celery.channels.tokens import SALT, make_token, read_token
from tasks_celery.context import Context, asking

ADA = User(pk=7, username="ada", password="pbkdf2$secret", email="ada@example.org")


@pytest.mark.parametrize("user", [None, AnonymousUser(), User(), "7", object()])
def test_nobody_gets_no_token(user: Any) -> None:
    with pytest.raises(ValueError, match="users with a primary key"):
        make_token(user)


@pytest.mark.parametrize("lifetime", [0, -1, float("nan")])
def test_a_token_that_never_holds_is_not_made(lifetime: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        make_token(ADA, lifetime=lifetime)


def test_a_token_too_long_to_be_read_is_not_made() -> None:
    with pytest.raises(ValueError, match="characters"):
        make_token(ADA, tenant="x" * 1_000)


def test_a_token_that_was_changed_is_none() -> None:
    token = make_token(ADA)
    for place in range(len(token)):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        assert read_token(changed) is None, changed
    claims, _, signature = token.partition(":")
    assert read_token(claims) is None
    forged = signing.b64_encode(b'["8",null,9999999999]').decode()
    assert read_token(f"{forged}:{signature}") is None


@pytest.mark.parametrize(
    "claims", [{}, [], ["7"], [7, None, 1e12], ["7", 3, 1e12], ["7", None, "later"], ["7", None, None], "7", None]
)
def test_what_is_signed_but_says_something_else_is_none(claims: Any) -> None:
    assert read_token(signing.dumps(claims, salt=SALT)) is None


@pytest.mark.parametrize("salt", ["django.core.signing", "django.contrib.sessions.backends.signed_cookies"])
def test_what_the_project_signed_for_something_else_is_none(salt: str) -> None:
    assert read_token(signing.dumps(["7", None, time.time() + 60], salt=salt)) is None


def test_a_token_of_another_project_is_none(settings: Any) -> None:
    token = make_token(ADA)
    settings.SECRET_KEY = "another project"
    assert read_token(token) is None


def test_a_token_is_over_when_its_lifetime_is(monkeypatch: pytest.MonkeyPatch) -> None:
    token = make_token(ADA, lifetime=60)
    now = time.time()
    monkeypatch.setattr(tokens.time, "time", lambda: now + 59)
    assert read_token(token) is not None
    monkeypatch.setattr(tokens.time, "time", lambda: now + 61)
    assert read_token(token) is None


def test_a_token_says_who_where_and_until_when_and_nothing_else() -> None:
    token = make_token(ADA, tenant="a", lifetime=60)
    assert signing.loads(token, salt=SALT) == ["7", "a", pytest.approx(time.time() + 60, abs=5)]


def test_a_token_holds_for_an_hour_unless_said_otherwise() -> None:
    claims = read_token(make_token(ADA))
    assert claims is not None
    assert claims.until == pytest.approx(time.time() + 3600, abs=5)


def test_the_tenant_is_that_of_the_request_unless_said_otherwise() -> None:
    with asking(lambda: Context(user="7", tenant="a")):
        ours, theirs = read_token(make_token(ADA)), read_token(make_token(ADA, tenant="b"))
    assert ours is not None
    assert ours.tenant == "a"
    assert theirs is not None
    assert theirs.tenant == "b"


def test_a_key_of_any_type_travels() -> None:
    key = uuid.uuid4()
    claims = read_token(make_token(User(pk=key)))
    assert claims is not None
    assert claims.user == str(key)


def test_a_token_holds_on_while_the_secret_key_is_changed(settings: Any) -> None:
    token = make_token(ADA)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "the next one"
    assert read_token(token) is not None
