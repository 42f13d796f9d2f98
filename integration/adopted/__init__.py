"""A project with Celery tasks that `moved` adopts, and its own `tasks` know nothing of it."""

from integration.adopted.celery import app as celery_app

__all__ = ["celery_app"]
