"""Web process. Checks of the middleware that remembers who asks."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.core.checks import Error, Warning

from tasks_celery.channels.checks.reading import Messages, imported
from tasks_celery.channels.middleware import AudienceMiddleware
from tasks_celery.channels.notify import known_rules


def middleware_is_missing() -> Messages:
    rules = known_rules()
    all_name_their_audience = rules and all(rule.to is not None for rule in rules)
    if all_name_their_audience or _position_of(AudienceMiddleware) is not None:
        return
    yield Warning(
        "MIDDLEWARE does not have AudienceMiddleware, so nobody is remembered as the one who asked for a task, "
        "and a @notify without `to` tells nobody.",
        hint="Add 'tasks_celery.channels.middleware.AudienceMiddleware' to MIDDLEWARE, after AuthenticationMiddleware.",
        id="tasks_celery.W103",
    )


def middleware_comes_too_early() -> Messages:
    ours, auth = _position_of(AudienceMiddleware), _position_of(AuthenticationMiddleware)
    if ours is None or auth is None or ours > auth:
        return
    yield Error(
        "MIDDLEWARE has AudienceMiddleware before AuthenticationMiddleware, and signing somebody in comes after "
        "what needs it.",
        hint="Move 'tasks_celery.channels.middleware.AudienceMiddleware' below AuthenticationMiddleware.",
        id="tasks_celery.E104",
    )


def _position_of(middleware: type) -> int | None:
    for position, path in enumerate(getattr(settings, "MIDDLEWARE", None) or []):
        found = imported(path)
        if isinstance(found, type) and issubclass(found, middleware):
            return position
    return None
