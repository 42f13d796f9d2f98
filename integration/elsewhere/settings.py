"""Settings of the elsewhere project; what ELSEWHERE_SETTINGS holds as JSON goes over them."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec

_redis = os.environ["ELSEWHERE_REDIS"]  # redis+socket:///path
_mine = json.loads(os.environ.get("ELSEWHERE_SETTINGS", "{}"))

SECRET_KEY = "for tests only"
USE_TZ = True
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
INSTALLED_APPS = [
    "tasks_celery",
    "integration.elsewhere",
    *([] if find_spec("django.tasks") else ["django_tasks"]),
    *_mine.pop("MORE_APPS", []),
]
TASKS = {
    "default": {
        "BACKEND": "tasks_celery.CeleryBackend",
        "QUEUES": ["default", "reports"],
        "OPTIONS": {"RESULTS": f"{_redis}?virtual_host=15"},
    }
}
CELERY_BROKER_URL = _redis
CELERY_RESULT_BACKEND = _redis
CELERY_RESULT_EXTENDED = True
CELERY_TASK_DEFAULT_PRIORITY = 5
globals().update(_mine)
