from __future__ import annotations

from typing import Any

from django.db import migrations

from tasks_celery.beat import every, schedule_task, unschedule_task


def schedule(apps: Any, schema_editor: Any) -> None:
    using = schema_editor.connection.alias
    for _ in "twice":
        schedule_task(
            apps,
            "integration.beat.letters.tasks.collect",
            every(seconds=1),
            name="From a migration",
            kwargs={"box": "corner"},
            using=using,
        )


def unschedule(apps: Any, schema_editor: Any) -> None:
    for _ in "twice":
        unschedule_task(apps, "From a migration", using=schema_editor.connection.alias)


class Migration(migrations.Migration):
    dependencies = [("letters", "0001_initial"), ("tasks_celery_beat", "0001_initial")]
    operations = [migrations.RunPython(schedule, unschedule)]
