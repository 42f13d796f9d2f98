from django.db import migrations, models

import tasks_celery.database.fields


class Migration(migrations.Migration):
    dependencies = [
        ("tasks_celery_database", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="taskrecord",
            name="cancelled",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name="taskrecord",
            name="held",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name="taskrecord",
            name="unique",
            field=tasks_celery.database.fields.JSONTextField(blank=True, default="", null=True),
        ),
        migrations.AddField(
            model_name="taskrecord",
            name="unique_digest",
            field=models.CharField(blank=True, max_length=64, null=True),
        ),
        migrations.AddField(
            model_name="taskrecord",
            name="unique_expires",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="taskrecord",
            name="unique_until",
            field=models.CharField(db_default="finish", default="finish", max_length=10),
        ),
        migrations.AddIndex(
            model_name="taskrecord",
            index=models.Index(
                condition=models.Q(("held", True), ("status", "READY")), fields=["due"], name="tasks_celery_held"
            ),
        ),
        migrations.AddConstraint(
            model_name="taskrecord",
            constraint=models.UniqueConstraint(fields=("unique_digest",), name="tasks_celery_unique"),
        ),
    ]
