"""Every process. The project's Celery app, where Celery's guide for Django puts it."""

from __future__ import annotations

from celery import Celery

app = Celery("firing")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
