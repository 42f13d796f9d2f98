"""Settings of the endings project: the fast suite's, with real servers; run by ``celery -A tasks_celery``.

Records rest in the Redis at ENDINGS_REDIS. Messages go through ENDINGS_BROKER, which is the same Redis if unset.
"""

from __future__ import annotations

import os

from celery.exceptions import Ignore

from tests.settings import *  # noqa: F403

_redis = os.environ["ENDINGS_REDIS"]
_broker = os.environ.get("ENDINGS_BROKER", _redis)
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "tasks_celery",
    "integration.endings",
    *(["django_tasks"] if "django_tasks" in INSTALLED_APPS else []),  # noqa: F405
]
MIDDLEWARE: list[str] = []
ROOT_URLCONF = "tests.urls"
TASKS = {
    "default": {
        "BACKEND": "tasks_celery.CeleryBackend",
        "QUEUES": [],
        # A worker that is busy on a busy machine is not taken for dead, but one that is has not long to wait.
        "OPTIONS": {"LEASE": 30, "GRACE": 6, "SWEEP_EVERY": 3},
    }
}
CELERY_BROKER_URL = _broker
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_RESULT_BACKEND = _redis
CELERY_TASK_DEFAULT_PRIORITY = 5
# What a killed worker held comes back after so many seconds, and no task here is held for longer.
VISIBILITY_TIMEOUT = 8
if _broker.startswith("redis"):
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "visibility_timeout": VISIBILITY_TIMEOUT,
        # How often a worker looks for it; kombu before 5.7 does as it starts, and then every 100 s.
        "unacked_restore_interval": 2,
        "unacked_restore_throttle": 1,
    }


def _ignore(*args: object) -> None:
    raise Ignore("not even begun")


# Options of Celery's that a project sets so, for they are none of @task's.
CELERY_TASK_ANNOTATIONS = {
    "integration.endings.tasks.kill_self_retried": {"retry_on_worker_lost": True},
    "integration.endings.tasks.never_begins": {"before_start": _ignore},
    "integration.endings.tasks.overrun_once": {"acks_on_timeout": False, "acks_on_failure_or_timeout": False},
}
