"""Both. Checks of TASK_SCHEDULES, INSTALLED_APPS and Celery's scheduler."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from celery import Celery
from celery.utils.imports import load_extension_class_names, symbol_by_name
from django.core.checks import Error, Warning

from tasks_celery.beat.checks.reading import PARTNER, Messages, celery_apps, has_partner
from tasks_celery.beat.options import schedule_settings
from tasks_celery.exceptions import OptionsError

DEFAULT = "celery.beat:PersistentScheduler"
OURS = "tasks_celery.beat.scheduler:DatabaseScheduler"


def settings_are_wrong() -> Messages:
    try:
        schedule_settings()
    except OptionsError as error:
        yield Error(str(error), hint="Correct TASK_SCHEDULES in the settings.", id="tasks_celery.E201")


def app_is_missing() -> Messages:
    if not has_partner():
        yield Error(
            "'tasks_celery.beat' is in INSTALLED_APPS, and 'django_celery_beat', whose rows its schedules are, is not.",
            hint=f"Add {PARTNER!r} to INSTALLED_APPS, before 'tasks_celery.beat', and run: manage.py migrate",
            id="tasks_celery.E202",
        )


def scheduler_is_another() -> Messages:
    for path in _schedulers():
        found = _imported(path)
        if found is None or not issubclass(found, _theirs()):
            yield Warning(
                f"CELERY_BEAT_SCHEDULER is {path!r}, which "
                f"{'cannot be imported' if found is None else 'knows nothing of the rows of django-celery-beat'}: "
                "celery beat sends none of the schedules.",
                hint=f"Set CELERY_BEAT_SCHEDULER = {OURS!r}.",
                id="tasks_celery.W201",
            )


def scheduler_sends_twice() -> Messages:
    for path in _schedulers():
        if _is_the_projects_own(_imported(path)):
            yield Warning(
                f"CELERY_BEAT_SCHEDULER is {path!r}, a scheduler of the project's own: each beat sends every tick, so two "
                "send it twice; and what a schedule has from tasks_celery (catch_up, skip_while_active, whom it tells) "
                "is left out.",
                hint="Derive it from tasks_celery.beat.scheduler.DatabaseScheduler.",
                id="tasks_celery.W202",
            )


def _is_the_projects_own(found: type | None) -> bool:
    # django-celery-beat's own gives its place to ours as beat starts.
    if found is None or found is _theirs() or not issubclass(found, _theirs()):
        return False
    from tasks_celery.beat.scheduler import DatabaseScheduler

    return not issubclass(found, DatabaseScheduler)


def _schedulers() -> Iterator[str]:
    """Yield the schedulers that settings name.

    Where they name none, beat's command line does: ``celery beat -S django``, which no check can see.
    """
    if has_partner():
        yield from dict.fromkeys(str(app.conf.beat_scheduler) for app in celery_apps() if _is_set(app))


def _is_set(app: Celery) -> bool:
    # Celery's default named in so many words is a choice too, as far as its release can tell.
    return bool(app.conf.beat_scheduler != DEFAULT or app.conf.value_set_for("beat_scheduler"))


def _imported(path: str) -> type | None:
    # As celery.beat's Service.get_scheduler finds it.
    try:
        aliases: Any = load_extension_class_names("celery.beat_schedulers")
        found = symbol_by_name(path, aliases=dict(aliases))
    except Exception:  # noqa: BLE001 - a module of the project's, which may raise what it likes
        return None
    return found if isinstance(found, type) else None


def _theirs() -> type:
    from django_celery_beat.schedulers import DatabaseScheduler

    return cast("type", DatabaseScheduler)
