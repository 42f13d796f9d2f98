"""Management commands one after the other in one process, told as JSON: what each said, and the schedules after it."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import django


def main(using: str, commands: list[list[str]]) -> None:
    django.setup()
    json.dump([tell(using, command) for command in commands], sys.stdout)


def tell(using: str, command: list[str]) -> dict[str, Any]:
    from django.core.management import CommandError, call_command

    out = io.StringIO()
    try:
        call_command(*command, "--no-color", f"--database={using}", stdout=out)
    except CommandError as error:
        return {"out": out.getvalue(), "error": str(error), "schedules": schedules(using)}
    return {"out": out.getvalue(), "error": None, "schedules": schedules(using)}


def schedules(using: str) -> dict[str, Any] | None:
    """Return the schedules there; None before there are tables."""
    from django.db import connections
    from django_celery_beat.models import PeriodicTask

    if PeriodicTask._meta.db_table not in connections[using].introspection.table_names():
        return None
    rows = PeriodicTask.objects.using(using).order_by("name")
    return {row.name: [row.task, str(row.scheduler), row.kwargs, row.enabled] for row in rows}


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
