"""Both. Reading the settings for the checks, whatever is in them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo

from celery import Celery
from django.apps import apps
from django.core.checks import CheckMessage

from tasks_celery.backend import CeleryBackend
from tasks_celery.compat import InvalidTaskBackend, task_backends
from tasks_celery.exceptions import TasksCeleryError

PARTNER = "django_celery_beat"

Messages = Iterator[CheckMessage]


def has_partner() -> bool:
    """Whether the rows of schedules can be: without them a check of its own says all there is to say."""
    return apps.is_installed(PARTNER)


def backends() -> Iterator[CeleryBackend]:
    """Yield the backend of each alias of TASKS that is ours and can be used."""
    for alias in task_backends.settings:
        try:
            backend = task_backends[alias]
            if isinstance(backend, CeleryBackend) and backend.app.conf:
                yield backend
        except (InvalidTaskBackend, TasksCeleryError, ImportError, LookupError, ValueError, AttributeError):
            continue  # the core's own checks say what is wrong with it


def celery_apps() -> list[Celery]:
    """Return the Celery apps behind TASKS, each once."""
    return list({id(backend.app): backend.app for backend in backends()}.values())


def zone_of(app: Celery) -> tzinfo | None:
    """Return the time zone that Celery goes by; None where its setting names none."""
    try:
        zone = app.timezone
        datetime.now(UTC).astimezone(zone)
    except Exception:  # noqa: BLE001  Celery raises what a setting of the wrong kind leads to
        return None
    return zone
