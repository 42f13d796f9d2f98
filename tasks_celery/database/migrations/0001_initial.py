from django.db import migrations, models

import tasks_celery.database.fields


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="TaskLease",
            fields=[
                ("name", models.CharField(max_length=255, primary_key=True, serialize=False)),
                ("holder", models.CharField(max_length=255)),
                ("until", models.FloatField()),
            ],
            options={
                "verbose_name": "task lease",
            },
        ),
        migrations.CreateModel(
            name="TaskRecord",
            fields=[
                ("id", models.CharField(max_length=255, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=255)),
                ("path", models.TextField()),
                ("backend", models.CharField(blank=True, max_length=255)),
                ("queue_name", models.CharField(max_length=255)),
                ("priority", models.IntegerField(default=0)),
                ("args", tasks_celery.database.fields.JSONTextField(default=list)),
                ("kwargs", tasks_celery.database.fields.JSONTextField(default=dict)),
                ("run_after", models.DateTimeField(blank=True, null=True)),
                ("expires", models.DateTimeField(blank=True, null=True)),
                ("enqueued_at", models.DateTimeField(blank=True, null=True)),
                ("user_id", models.CharField(blank=True, max_length=255, null=True)),
                ("context", tasks_celery.database.fields.JSONTextField(default=dict)),
                ("sending", tasks_celery.database.fields.JSONTextField(default=dict)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("READY", "Ready"),
                            ("RUNNING", "Running"),
                            ("FAILED", "Failed"),
                            ("SUCCESSFUL", "Successful"),
                        ],
                        default="READY",
                        max_length=10,
                    ),
                ),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("last_attempted_at", models.DateTimeField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                ("worker_ids", tasks_celery.database.fields.JSONTextField(default=list)),
                ("errors", tasks_celery.database.fields.JSONTextField(default=list)),
                ("return_value", tasks_celery.database.fields.JSONTextField(default=None)),
                ("retries", models.IntegerField(default=0)),
                ("due", models.DateTimeField(blank=True, null=True)),
                ("resent", models.IntegerField(default=0)),
                ("lease", models.CharField(blank=True, max_length=255)),
                ("token", models.CharField(blank=True, max_length=255)),
                ("version", models.IntegerField(default=0)),
                ("keep_until", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "verbose_name": "task",
                "indexes": [
                    models.Index(fields=["status", "enqueued_at"], name="tasks_celery_status"),
                    models.Index(fields=["name", "enqueued_at"], name="tasks_celery_name"),
                    models.Index(fields=["user_id", "enqueued_at"], name="tasks_celery_user"),
                    models.Index(
                        condition=models.Q(("status", "READY")),
                        fields=["queue_name", "due"],
                        name="tasks_celery_waiting",
                    ),
                    models.Index(
                        condition=models.Q(("expires__isnull", False), ("status", "READY")),
                        fields=["expires"],
                        name="tasks_celery_expires",
                    ),
                    models.Index(
                        condition=models.Q(("status", "RUNNING")), fields=["lease"], name="tasks_celery_running"
                    ),
                    models.Index(fields=["keep_until"], name="tasks_celery_keep"),
                ],
            },
        ),
    ]
