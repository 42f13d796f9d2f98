"""Both. A small Django project that shows what tasks_celery does; its Celery app loads with it."""

from __future__ import annotations

from example.celery import app as celery_app

__all__ = ["celery_app"]
