"""Web process. The address of the events over HTTP: ``path("tasks/", include("tasks_celery.channels.urls"))``."""

from __future__ import annotations

from django.urls import path

from tasks_celery.channels import views

app_name = "task_events"

urlpatterns = [path("events/", views.events, name="events")]
