from __future__ import annotations

from typing import Any

from django.db import migrations

from tasks_celery.beat import every, schedule_task


def schedule(apps: Any, schema_editor: Any) -> None:
    schedule_task(apps, "integration.beat.letters.tasks.count", every(seconds=1))


class Migration(migrations.Migration):
    initial = True

    dependencies = [("django_celery_beat", "0019_alter_periodictasks_options")]
    operations = [migrations.RunPython(schedule, migrations.RunPython.noop)]
