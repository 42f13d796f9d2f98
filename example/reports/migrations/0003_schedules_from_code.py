"""The schedules that earlier versions wrote by hand go: `sync_schedules` writes what the code declares."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.db import migrations

from tasks_celery.beat import unschedule_task


def forget(apps: Any, schema_editor: Any) -> None:
    for name in ("Digest, nightly at 03:00", "Digest, every DIGEST_EVERY seconds"):
        unschedule_task(apps, name, using=schema_editor.connection.alias)


class Migration(migrations.Migration):

    dependencies = [('reports', '0002_reminder')]
    operations = []
    if apps.is_installed("tasks_celery.beat"):
        dependencies += [('tasks_celery_beat', '0001_initial')]
        operations += [migrations.RunPython(forget, migrations.RunPython.noop)]
