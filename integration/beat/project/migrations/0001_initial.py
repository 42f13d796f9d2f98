from __future__ import annotations

from typing import Any

from django.db import migrations

from tasks_celery.beat import crontab, every, schedule_task, unschedule_task

TELL = "integration.beat.project.tasks.tell"
NAMES = "From a migration", "Each minute"


def forwards(apps: Any, schema_editor: Any) -> None:
    schedule_task(apps, TELL, every(seconds=3), name=NAMES[0], kwargs={"said": "in a migration"})
    schedule_task(apps, TELL, crontab("* * * * *"), name=NAMES[1], kwargs={"said": "at the minute"})


def backwards(apps: Any, schema_editor: Any) -> None:
    for name in NAMES:
        unschedule_task(apps, name)


class Migration(migrations.Migration):
    initial = True
    dependencies = [("tasks_celery_beat", "0001_initial")]
    operations = [migrations.RunPython(forwards, backwards)]
