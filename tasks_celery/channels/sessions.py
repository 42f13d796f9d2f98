"""Web process. Which sessions are still there: one question for all of them, where Django's session engine allows it."""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.sessions.backends import cached_db, db, signed_cookies
from django.utils import timezone


def living(keys: Collection[str]) -> set[str]:
    """Return those of the session keys whose sessions have neither ended nor expired. Blocks; raises what the engine does.

    Sessions in signed cookies end nowhere but in the browser: they all live.
    """
    engine = import_module(settings.SESSION_ENGINE).SessionStore
    if issubclass(engine, signed_cookies.SessionStore):
        return set(keys)
    if _asks_the_database(engine):
        sessions = engine.get_model_class()._default_manager
        found = sessions.filter(session_key__in=set(keys), expire_date__gt=timezone.now())
        return set(found.values_list("session_key", flat=True)) if keys else set()
    store = engine()
    return {key for key in set(keys) if store.exists(key)}


def _asks_the_database(engine: Any) -> bool:
    # With cached_db the row is the truth too: the cache is filled from it. An engine with an `exists` of its own may
    # look elsewhere.
    return engine.exists in (db.SessionStore.exists, cached_db.SessionStore.exists)
