"""Settings of a project with workers of Channels: BROKER and LAYER are URLs of two Redis, SCRATCH a folder."""

from __future__ import annotations

import os
from importlib.util import find_spec

SECRET_KEY = "for tests only"
USE_TZ = True
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{os.environ['SCRATCH']}/db.sqlite3"}}
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "channels",
    "tasks_celery",
    "tasks_celery.channels",
    "integration.channel_workers",
]
if not find_spec("django.tasks"):
    INSTALLED_APPS += ["django_tasks"]
ASGI_APPLICATION = "integration.channel_workers.asgi.application"

TASKS = {
    "default": {
        "BACKEND": "tasks_celery.CeleryBackend",
        "QUEUES": ["default", "thumbnails"],
        "OPTIONS": {"LEASE": 3, "GRACE": 2, "SWEEP_EVERY": 1, "TIMEOUT": 2},
    }
}
CELERY_BROKER_URL = CELERY_RESULT_BACKEND = os.environ["BROKER"].replace("unix:", "redis+socket:", 1)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": [{"address": os.environ["LAYER"], "socket_timeout": None, "max_connections": 5000}]},
    }
}
TASK_EVENTS = {"LOG": "none://", "CHANNELS": {"thumb*": {"QUEUE_NAME": "thumbnails"}}}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"tasks_celery": {"handlers": ["console"], "level": "INFO"}},
}
