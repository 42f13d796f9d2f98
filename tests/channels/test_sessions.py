from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.sessions.backends.cached_db import SessionStore as CachedStore
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.utils import timezone

from tasks_celery.channels import sessions
from tasks_celery.channels.sessions import living

BACKENDS = "django.contrib.sessions.backends"


def made(store: type[SessionStore] = SessionStore) -> str:
    session = store()
    session["user"] = "ada"
    session.save()
    return str(session.session_key)


class OwnStore:
    """An engine of the project's, which keeps its sessions elsewhere."""

    def exists(self, key: str) -> bool:
        return key == "there"


class OwnTable(SessionStore):
    """One on Django's, which looks at more than the row."""

    def exists(self, session_key: Any) -> bool:
        return bool(session_key) and session_key.startswith("t")


@pytest.mark.django_db
@pytest.mark.parametrize("engine", ["db", "cached_db", "cache", "file"])
def test_of_no_sessions_none_live(settings: Any, engine: str, tmp_path: Any) -> None:
    settings.SESSION_ENGINE, settings.SESSION_FILE_PATH = f"{BACKENDS}.{engine}", str(tmp_path)
    assert living([]) == set()
    assert living(["forged", "a" * 32]) == set()


@pytest.mark.django_db
def test_a_session_lives_until_it_expires_or_ends(settings: Any) -> None:
    here, over, ended = made(), made(), made()
    Session.objects.filter(pk=over).update(expire_date=timezone.now() - timedelta(seconds=1))
    SessionStore(ended).delete()
    assert living([here, over, ended]) == {here}


@pytest.mark.django_db
def test_what_is_cached_lives_no_longer_than_its_row(settings: Any) -> None:
    settings.SESSION_ENGINE = f"{BACKENDS}.cached_db"
    key = made(CachedStore)
    cache.clear()
    assert living([key]) == {key}
    Session.objects.all().delete()
    assert living([key]) == set()


@pytest.mark.parametrize("engine", [OwnStore, OwnTable])
def test_an_engine_that_looks_elsewhere_is_asked_for_each(monkeypatch: pytest.MonkeyPatch, engine: Any) -> None:
    monkeypatch.setattr(sessions, "import_module", lambda path: SimpleNamespace(SessionStore=engine))
    assert living(["there", "gone", "there"]) == {"there"}


def test_sessions_in_signed_cookies_all_live(settings: Any) -> None:
    settings.SESSION_ENGINE = f"{BACKENDS}.signed_cookies"
    assert living(["a", "b"]) == {"a", "b"}
