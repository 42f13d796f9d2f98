"""Both. The project's Celery app, and a ready one for a project that has none.

``celery -A tasks_celery worker`` runs the ready app: it reads the ``CELERY_…`` settings of Django, as
Celery's own Django guide has it, and imports the tasks modules of the installed apps.
"""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, cast

from celery import Celery, _state
from django.conf import settings
from django.utils.module_loading import import_string

from tasks_celery.exceptions import OptionsError


def find_app(path: str | None = None) -> Celery:
    """Return the Celery app at `path`; without one the project's own, else the ready one.

    Raise OptionsError where `path` leads to no Celery app.
    """
    if path:
        return _import_app(path)
    return _current_app() or _conventional_app() or ready_app()


def _import_app(path: str) -> Celery:
    try:
        app = import_string(path.replace(":", "."))
    except ImportError as error:
        raise OptionsError(f"OPTIONS['APP'] is {path!r}, which cannot be imported: {error}") from error
    if not isinstance(app, Celery):
        raise OptionsError(f"OPTIONS['APP'] is {path!r}, which is a {type(app).__name__} and no Celery app.")
    return app


def _current_app() -> Celery | None:
    """Return the app that the project made, in whatever thread it did so.

    Not `celery.current_app`: where there is no app yet, that makes one and keeps it as the default
    of every other thread, which would take this place from the project's own.
    """
    state: Any = _state  # its stub leaves out what it keeps
    made = [app for app in list(state._get_active_apps()) if app is not _made_ready() and not _is_placeholder(app)]
    for app in (state._tls.current_app, state.default_app):
        if app in made:
            return cast("Celery", app)
    return made[0] if len(made) == 1 else None


def _is_placeholder(app: Any) -> bool:
    """Whether Celery itself made this app because somebody asked for a current one too early."""
    return bool(app.main == "default" and not app.set_as_current)


def _conventional_app() -> Celery | None:
    """Return `app` of the celery module beside the settings, where Celery's Django guide puts it."""
    package = (getattr(settings, "SETTINGS_MODULE", None) or "").rpartition(".")[0]
    name = f"{package}.celery"
    if not package or (name not in sys.modules and find_spec(name) is None):
        return None
    app = getattr(import_module(name), "app", None)
    return app if isinstance(app, Celery) else None


def _made_ready() -> Celery | None:
    return ready_app() if ready_app.cache_info().currsize else None


@cache
def ready_app() -> Celery:
    """Return the app for projects that have none, made on first use."""
    app = Celery("tasks_celery", set_as_current=False)
    app.config_from_object("django.conf:settings", namespace="CELERY")
    app.autodiscover_tasks()
    return app


def __getattr__(name: str) -> Any:
    # `celery -A tasks_celery` looks for an attribute `app` in a module `celery`.
    if name == "app":
        return ready_app()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
