"""Both. The project's Celery app, as Celery's guide for Django has it."""

from celery import Celery

app = Celery("adopted")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
