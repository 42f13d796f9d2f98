"""Settings of the priorities' tests: those of the endings, with what ORDERING says of Celery as JSON."""

from __future__ import annotations

import json
import os

from integration.settings import *  # noqa: F403

# A sweeper looks only where the test lets one, for what waits for no worker on purpose is soon overdue.
TASKS = {
    "default": {
        "BACKEND": "tasks_celery.CeleryBackend",
        "QUEUES": [],
        "OPTIONS": {"GRACE": 0.5, "SWEEP_EVERY": None},
    }
}
INSTALLED_APPS = [*INSTALLED_APPS, "integration.asking.ordering"]  # noqa: F405
del CELERY_TASK_DEFAULT_PRIORITY  # noqa: F821  of the endings': here it is as a project finds it
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, object] = {}
globals().update(json.loads(os.environ["ORDERING"]))
