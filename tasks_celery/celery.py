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

from tasks_celery.exceptions import AppNotReady, OptionsError


def find_app(path: str | None = None) -> Celery:
    """Return the Celery app at `path`; without one the project's own, else the ready one.

    Raise OptionsError where `path` leads to no Celery app, AppNotReady where the project's is only being made.
    """
    if path:
        return _import_app(path)
    return _conventional_app() or _made_app() or ready_app()


def _import_app(path: str) -> Celery:
    try:
        app = import_string(path.replace(":", "."))
    except Exception as error:  # the project's module, which may raise what it likes
        raise OptionsError(f"OPTIONS['APP'] is {path!r}, which cannot be imported: {error}") from error
    if not isinstance(app, Celery):
        raise OptionsError(f"OPTIONS['APP'] is {path!r}, which is a {type(app).__name__} and no Celery app.")
    return app


def _made_app() -> Celery | None:
    """Return the app that the project made; of several the same in each thread, unlike `celery.current_app`.

    That one also makes an app where there is none yet, and keeps it as the default of every thread.
    """
    state: Any = _state  # its stub leaves out what it keeps
    if state.default_app is not None and not _is_stopgap(state.default_app):
        return cast("Celery", state.default_app)
    # An app that is not to be current is a library's, which keeps it for itself.
    made = [app for app in list(state._get_active_apps()) if app.set_as_current]
    return min(made, key=lambda app: str(app.main), default=None)


def _is_stopgap(app: Any) -> bool:
    """Whether no project made this app: it is the ready one, or Celery's own for who asked too early."""
    is_ready = bool(ready_app.cache_info().currsize) and app is ready_app()
    return is_ready or bool(app.main == "default" and not app.set_as_current)


def _conventional_app() -> Celery | None:
    """Return `app` of the celery module beside the settings, where Celery's Django guide puts it."""
    package = (getattr(settings, "SETTINGS_MODULE", None) or "").rpartition(".")[0]
    while package:
        if app := _app_in(f"{package}.celery"):
            return app
        package = package.rpartition(".")[0]  # settings in a package of their own: proj.settings.production
    return None


def _app_in(name: str) -> Celery | None:
    if name not in sys.modules and not _exists(name):
        return None
    try:
        module = import_module(name)
    except Exception as error:  # the project's module, which may raise what it likes
        raise OptionsError(f"The project's Celery app in {name} cannot be imported: {error}") from error
    app = getattr(module, "app", None)
    if app is None and getattr(module.__spec__, "_initializing", False):
        raise AppNotReady(
            f"{name} is still being imported and has made no app yet. Make the app before the tasks are imported."
        )
    return app if isinstance(app, Celery) else None


def _exists(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # not even the package: settings may be configured by hand
        return False


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
