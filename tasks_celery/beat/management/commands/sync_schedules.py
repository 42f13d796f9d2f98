"""``manage.py sync_schedules``: writes the schedules that the code declares, or says what it would write."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from tasks_celery.beat.sync import sync
from tasks_celery.exceptions import TasksCeleryError


class Command(BaseCommand):
    """Creates, updates and disables the rows of what ``@schedule`` declares; never touches what a person made."""

    help = (
        "Make the schedules in the database those that the code declares with @schedule, and print what that changed. "
        "Schedules that were made in the admin or by a migration stay as they are."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="write nothing, and exit with 1 where something would change"
        )
        parser.add_argument(
            "--prune", action="store_true", help="delete what the code no longer declares, instead of disabling it"
        )
        parser.add_argument(
            "--database",
            choices=tuple(connections),
            help="the database of the schedules (by default the one that django-celery-beat writes to)",
        )

    def handle(self, *args: Any, check: bool, prune: bool, database: str | None, **options: Any) -> None:
        try:
            found = sync(using=database, prune=prune, check=check)
        except TasksCeleryError as error:
            raise CommandError(f"{error}\nNothing was written.") from error
        for line in found.lines():
            self.stdout.write(line)
        count = len(found.changes)
        if not count:
            self.stdout.write(self.style.SUCCESS("Nothing to do: the schedules are as the code declares them."))
        elif check:
            raise CommandError(f"{_schedules(count)} would change: run manage.py sync_schedules.")
        else:
            self.stdout.write(self.style.SUCCESS(f"{_schedules(count)} written."))


def _schedules(count: int) -> str:
    return "1 schedule" if count == 1 else f"{count} schedules"
