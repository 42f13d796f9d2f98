"""``manage.py celery_report``: what there is of Celery in this project, and what becomes of it in a move to Django's tasks."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from tasks_celery.celery import find_app
from tasks_celery.discovery import discover
from tasks_celery.exceptions import TasksCeleryError
from tasks_celery.migrate.finding import Verdict
from tasks_celery.migrate.in_effect import with_those_in_effect
from tasks_celery.migrate.report import Report
from tasks_celery.migrate.report.asking import (
    EXIT_CODES,
    NoOutputError,
    add_output_options,
    assume,
    look_through,
    read_project,
    report_of,
    write,
)
from tasks_celery.migrate.rows import find_gone
from tasks_celery.migrate.source.pool import CrashedError
from tasks_celery.migrate.where import WrongPathError, where
from tasks_celery.twin import registered


class Command(BaseCommand):
    """Reports on the project's source, or on the rows of django-celery-beat."""

    help = (
        "Say what there is of Celery in this project, what moves to Django's tasks by itself, what needs a person and why, "
        f"and what is unsafe today. Nothing is changed. {EXIT_CODES}"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "path",
            nargs="?",
            metavar="PATH",
            help="what to look at instead of BASE_DIR, or of the folder that the settings lie in where there is none",
        )
        parser.add_argument(
            "--schedules",
            action="store_true",
            help="look at the PeriodicTask rows instead, and exit with 1 if the task of one is gone",
        )
        add_output_options(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        asked = Namespace(**options)
        try:
            report = self._schedules(asked) if asked.schedules else self._source(asked)
            code = write(report, asked, self.stdout)
        except (WrongPathError, NoOutputError, CrashedError, TasksCeleryError) as error:
            raise CommandError(str(error), returncode=2) from error
        if code:
            sys.exit(code)

    def _source(self, asked: Namespace) -> Report:
        place = where(asked.path or project_folder())
        project = read_project(place, sys.stderr, quiet=asked.quiet)
        conf = find_app().conf
        assume(project, settings={name: conf[name] for name in ("task_default_queue", "task_serializer")})
        findings = look_through(place, project, sys.stderr, quiet=asked.quiet)
        return report_of(place, project, with_those_in_effect(findings, conf))

    def _schedules(self, asked: Namespace) -> Report:
        asked.fail_on = asked.fail_on or [Verdict.UNSAFE.value]
        if not apps.is_installed("django_celery_beat"):
            raise CommandError(
                "There are no PeriodicTask rows: django_celery_beat is not in INSTALLED_APPS.", returncode=2
            )
        try:
            rows = list(apps.get_model("django_celery_beat", "PeriodicTask").objects.order_by("name"))
        except DatabaseError as error:
            raise CommandError(f"The PeriodicTask rows cannot be read: {error}", returncode=2) from error
        return Report(title="PeriodicTask rows", files=0, findings=tuple(find_gone(rows, known_names())), all_told=True)


def project_folder() -> Path:
    """Return where the project is: BASE_DIR, else the folder that the settings' outermost package lies in."""
    base = getattr(settings, "BASE_DIR", None)
    if base:
        return Path(base)
    module = sys.modules.get(getattr(settings, "SETTINGS_MODULE", None) or "")
    if module is None or not module.__file__:
        raise WrongPathError("Settings say no BASE_DIR, and lie in no file: name a folder.")
    return Path(module.__file__).resolve().parents[module.__name__.count(".")]


def known_names() -> set[str]:
    """Return the names under which messages find a task here, those of aliases included. Everything that defines one is imported."""
    app = find_app()
    try:
        app.loader.import_default_modules()
    except Exception as error:  # the project's modules, which may raise what they like
        raise CommandError(
            f"The tasks cannot be known, for a module of theirs cannot be imported: {error!r}", returncode=2
        ) from error
    discover()
    return {*app.tasks, *registered()}
