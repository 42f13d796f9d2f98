from __future__ import annotations

from typing import Any

from django.db import migrations

from tasks_celery.beat import every, schedule_task


def collect(apps: Any, schema_editor: Any, box: str) -> None:
    schedule_task(
        apps,
        "integration.beat.letters.tasks.collect",
        every(seconds=1),
        name="From a migration",
        kwargs={"box": box},
        using=schema_editor.connection.alias,
    )


class Migration(migrations.Migration):
    dependencies = [("letters", "0002_collect")]
    operations = [
        migrations.RunPython(
            lambda apps, editor: collect(apps, editor, "station"), lambda apps, editor: collect(apps, editor, "corner")
        )
    ]
