"""``manage.py sweep_tasks``: what each worker's mover and sweeper do by themselves, done now."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tasks_celery.discovery import discover
from tasks_celery.exceptions import TasksCeleryError
from tasks_celery.heartbeat import RENEWALS, stores_apart
from tasks_celery.mover import Mover
from tasks_celery.results import Results, find_store
from tasks_celery.sweeper import Found, Sweeper
from tasks_celery.twin import TwinBackend


class Command(BaseCommand):
    """Sends what is due and again what a broker lost, ends what expired, and deals with what a dead worker ran."""

    help = (
        "Send the tasks that are due (run_after), and look for those that nobody works on any more: send again those whose "
        "message was lost, end those that expired, and run again or end those whose worker is gone. Workers and beat do so "
        "by themselves, unless MOVE_EVERY and SWEEP_EVERY are None."
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
                self._look(backend, wait)
            except TasksCeleryError as error:
                raise CommandError(f"TASKS[{backend.alias!r}]: {error}") from error

    def _look(self, backend: TwinBackend, wait: float | None) -> None:
        backend.app.loader.import_default_modules()
        store = find_store(backend.app, backend.settings)
        sent = Mover(backend, store).look(datetime.now(UTC))
        found = self._sweep(Sweeper(backend, Results(app=backend.app, store=store)), backend, wait)
        self._tell(backend, sent, found)

    def _sweep(self, sweeper: Sweeper, backend: TwinBackend, wait: float | None) -> Found:
        first = sweeper.look()
        if not first.suspected:
            return first
        seconds = backend.settings.lease / RENEWALS if wait is None else wait
        self.stdout.write(f"{first.suspected} on a worker that seems gone; looking again in {seconds:g} s.")
        time.sleep(seconds)
        return first + sweeper.look()

    def _tell(self, backend: TwinBackend, sent: int, found: Found) -> None:
        said = f"{sent} sent as due, {found.resent} sent again, {found.lost} ended with their worker, {found.expired} expired"
        self.stdout.write(self.style.SUCCESS(f"TASKS[{backend.alias!r}]: {said}."))
