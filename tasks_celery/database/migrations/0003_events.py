from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tasks_celery_database", "0002_held_unique_cancelled"),
    ]

    operations = [
        migrations.CreateModel(
            name="TaskEventStream",
            fields=[
                ("name", models.CharField(max_length=255, primary_key=True, serialize=False)),
                ("epoch", models.CharField(max_length=64)),
                ("seq", models.BigIntegerField(default=0)),
                ("used", models.DateTimeField()),
            ],
            options={
                "verbose_name": "stream of task events",
                "verbose_name_plural": "streams of task events",
            },
        ),
        migrations.CreateModel(
            name="TaskEvent",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("stream", models.CharField(max_length=255)),
                ("seq", models.BigIntegerField()),
                ("key", models.CharField(blank=True, max_length=255)),
                ("body", models.TextField()),
                ("created", models.DateTimeField()),
            ],
            options={
                "verbose_name": "task event",
                "constraints": [models.UniqueConstraint(fields=("stream", "seq"), name="tasks_celery_event")],
                "indexes": [models.Index(fields=["created"], name="tasks_celery_event_age")],
            },
        ),
    ]
