"""Settings of the sweeper's tests: those of the endings, with a sweeper in a hurry."""

from __future__ import annotations

import os

from integration.settings import *  # noqa: F403

TASKS = {
    "default": {
        "BACKEND": "tasks_celery.CeleryBackend",
        "QUEUES": [],
        "OPTIONS": {"LEASE": 3, "GRACE": 2, "SWEEP_EVERY": None if os.environ.get("NO_SWEEPER") else 1},
    }
}
INSTALLED_APPS = [*INSTALLED_APPS, "integration.sweeping"]  # noqa: F405
if CELERY_BROKER_URL.startswith("redis"):  # noqa: F405
    # As it is by default: what a killed worker held comes back after an hour, and here never.
    CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 3600}
