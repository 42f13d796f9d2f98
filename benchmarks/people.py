"""The users of the benchmarks, who are signed in, in the database that the servers share."""

from __future__ import annotations

from datetime import timedelta


def make_people(count: int) -> list[tuple[str, str]]:
    """Return the primary key and the key of the session of so many new users."""
    from django.contrib.auth import get_user_model
    from django.contrib.sessions.models import Session
    from django.core.management import call_command
    from django.utils import timezone
    from django.utils.crypto import get_random_string

    call_command("migrate", verbosity=0)
    model, prefix = get_user_model(), get_random_string(8)
    model.objects.bulk_create([model(username=f"{prefix}.{number}", password="!") for number in range(count)])
    users = list(model.objects.filter(username__startswith=prefix))
    until = timezone.now() + timedelta(days=1)
    sessions = [
        Session(session_key=get_random_string(32).lower(), session_data=_signed_in(user), expire_date=until)
        for user in users
    ]
    Session.objects.bulk_create(sessions)
    return [(str(user.pk), session.session_key) for user, session in zip(users, sessions, strict=True)]


def _signed_in(user: object) -> str:
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore

    return SessionStore().encode(
        {
            SESSION_KEY: str(user.pk),  # type: ignore[attr-defined]
            BACKEND_SESSION_KEY: settings.AUTHENTICATION_BACKENDS[0],
            HASH_SESSION_KEY: user.get_session_auth_hash(),  # type: ignore[attr-defined]
        }
    )
