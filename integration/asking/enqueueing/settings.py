"""Settings of the enqueueing project; what ENQUEUEING_SETTINGS holds as JSON goes over them, and over the options of TASKS."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec

_redis = os.environ["ENQUEUEING_REDIS"]  # redis+socket:///path
_mine = json.loads(os.environ.get("ENQUEUEING_SETTINGS", "{}"))

SECRET_KEY = "for tests only"
USE_TZ = True
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
INSTALLED_APPS = [
    "tasks_celery",
    "tasks_celery.database",
    "integration.asking.enqueueing",
    *([] if find_spec("django.tasks") else ["django_tasks"]),
]
TASKS = {
    "default": {
        "BACKEND": "tasks_celery.CeleryBackend",
        "QUEUES": ["default", "reports"],
        "OPTIONS": {
            "RESULTS": f"{_redis}?virtual_host=1",
            "TIMEOUT": 2,
            "LEASE": 3,
            "GRACE": 2,
            "SWEEP_EVERY": 1,
            **_mine.pop("OPTIONS", {}),
        },
    }
}
CELERY_BROKER_URL = _redis
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# What a killed worker held comes back after an hour, and here never.
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 3600}
CELERY_RESULT_BACKEND = _redis
CELERY_TASK_DEFAULT_PRIORITY = 5
globals().update(_mine)
