"""Settings of a project with schedules; its records are in FIRING_RECORDS, its rows and notes in FIRING_FOLDER.

What FIRING_SETTINGS holds as JSON goes over them.
"""

from __future__ import annotations

import json
import os
from importlib.util import find_spec

FOLDER = os.environ["FIRING_FOLDER"]

SECRET_KEY = "for tests only"
ALLOWED_HOSTS = ["testserver"]
USE_TZ = True
TIME_ZONE = CELERY_TIMEZONE = "Europe/Berlin"
ROOT_URLCONF = "integration.beat.project.urls"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": f"{FOLDER}/db.sqlite3",
        "OPTIONS": {"timeout": 30, "transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode = WAL"},
    }
}
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.admin",
    "django_celery_beat",
    "django_celery_results",
    "tasks_celery",
    "tasks_celery.beat",
    "channels",
    "tasks_celery.channels",
    "integration.beat.project",
    *([] if find_spec("django.tasks") else ["django_tasks"]),
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "tasks_celery.channels.middleware.AudienceMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
STATIC_URL = "/static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TASKS = {
    "default": {
        "BACKEND": "tasks_celery.CeleryBackend",
        "QUEUES": ["default", "reports"],
        "OPTIONS": {"RESULTS": os.environ["FIRING_RECORDS"]},
    }
}
TASK_EVENTS = {"LAYER": None}
TASK_SCHEDULES = {"KEEP": 1000}
CELERY_BROKER_URL = os.environ["FIRING_BROKER"]
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_RESULT_BACKEND = "django-db"
CELERY_RESULT_EXTENDED = True
CELERY_TASK_DEFAULT_PRIORITY = 5
CELERY_TASK_QUEUE_MAX_PRIORITY = 10
globals().update(json.loads(os.environ.get("FIRING_SETTINGS", "{}")))
