"""Web process. The WebSocket URL of the events, for a project's ``asgi.py``."""

from __future__ import annotations

from django.urls import path

from tasks_celery.channels.consumers import TaskEventsConsumer

websocket_urlpatterns = [path("ws/tasks/", TaskEventsConsumer.as_asgi())]
