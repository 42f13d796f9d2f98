"""``manage.py sweep_tasks``: what each worker's sweeper does by itself, done now."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tasks_celery.discovery import discover
from tasks_celery.exceptions import TasksCeleryError
from tasks_celery.heartbeat import RENEWALS, stores_apart
from tasks_celery.results import Results, find_store
from tasks_celery.sweeper import Found, Sweeper
from tasks_celery.twin import TwinBackend


class Command(BaseCommand):
    """Sends again what a broker lost, ends what expired, and deals with what a dead worker ran."""

    help = (
        "Look for tasks that nobody works on any more: send again those whose message was lost, end those that expired, "
        "and run again or end those whose worker is gone. Workers and beat do so by themselves, unless SWEEP_EVERY is None."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--wait",
            type=float,
            metavar="SECONDS",
            help="how long to wait before the second look, which takes a worker for dead "
            "(by default as long as a living worker takes to renew its lease)",
        )

    def handle(self, *args: Any, wait: float | None, **options: Any) -> None:
        discover()
        backends = list(stores_apart())
        if not backends:
            raise CommandError("No alias in TASKS has tasks_celery.CeleryBackend, so there is nothing to look through.")
        for backend in backends:
            try:
                self._sweep(backend, wait)
            except TasksCeleryError as error:
                raise CommandError(f"TASKS[{backend.alias!r}]: {error}") from error

    def _sweep(self, backend: TwinBackend, wait: float | None) -> None:
        backend.app.loader.import_default_modules()
        sweeper = Sweeper(backend, Results(app=backend.app, store=find_store(backend.app, backend.settings)))
        first = sweeper.look()
        if first.suspected:
            seconds = backend.settings.lease / RENEWALS if wait is None else wait
            self.stdout.write(f"{first.suspected} on a worker that seems gone; looking again in {seconds:g} s.")
            time.sleep(seconds)
            self._tell(backend, first + sweeper.look())
        else:
            self._tell(backend, first)

    def _tell(self, backend: TwinBackend, found: Found) -> None:
        said = f"{found.resent} sent again, {found.lost} ended with their worker, {found.expired} expired"
        self.stdout.write(self.style.SUCCESS(f"TASKS[{backend.alias!r}]: {said}."))
