"""Both. The example's settings: environment variables, with what the demo needs as their defaults.

SECRET_KEY            required unless DEBUG is on
DEBUG                 1 or 0 (default 1: this is a demo)
ALLOWED_HOSTS         comma separated (default localhost,127.0.0.1,[::1])
CSRF_TRUSTED_ORIGINS  comma separated, each with its scheme (default none)
REDIS_URL             broker, task results and channel layer: redis://… or unix:///path/to.sock
VAR_DIR               where the database, the uploads and the reports live (default example/var)
TIME_ZONE             default UTC
DIGEST_EVERY          seconds between two digests; unset, there is one a night, at 03:00
REPORT_SECONDS        how long a build lasts at least, so that a person can see it happen (default 1)
DEMO_SIGN_IN          1 or 0: whether a click signs in as a demo user (default as DEBUG)
SECURE_COOKIES        1 or 0: whether cookies travel over HTTPS only (default the opposite of DEBUG)
SERVE_STATIC          1 or 0: whether daphne serves the static files too (default as DEBUG)
LOG_LEVEL             default INFO; DEBUG also shows each task that is enqueued
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import django
from django.core.exceptions import ImproperlyConfigured


def _text(name: str, default: str) -> str:
    return os.environ.get(name) or default


def _flag(name: str, default: bool) -> bool:
    value = _text(name, "1" if default else "0")
    if value not in ("0", "1"):
        raise ImproperlyConfigured(f"{name} is {value!r}; set it to 1 or 0.")
    return value == "1"


def _words(name: str, default: str) -> list[str]:
    return [word.strip() for word in _text(name, default).split(",") if word.strip()]


def _seconds(name: str, default: str) -> float:
    value = _text(name, default)
    try:
        seconds = float(value)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} is {value!r}; set it to a number of seconds.") from error
    if not 0 <= seconds < float("inf"):
        raise ImproperlyConfigured(f"{name} is {value!r}; set it to 0 or more seconds.")
    return seconds


BASE_DIR = Path(__file__).resolve().parent
VAR_DIR = Path(_text("VAR_DIR", str(BASE_DIR / "var"))).resolve()
# SQLite makes its file but not the folder of it.
VAR_DIR.mkdir(parents=True, exist_ok=True)

# --- who may ask -----------------------------------------------------------------------------------

DEBUG = _flag("DEBUG", default=True)
SECRET_KEY = _text("SECRET_KEY", "for the demo only, and the same in each of its processes" if DEBUG else "")
if not SECRET_KEY:
    raise ImproperlyConfigured(
        "SECRET_KEY is not set and DEBUG is off. Set it to 50 random characters, the same for web and worker: "
        "sessions and the names of the users' channels depend on it."
    )
ALLOWED_HOSTS = _words("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = _words("CSRF_TRUSTED_ORIGINS", "")
DEMO_SIGN_IN = _flag("DEMO_SIGN_IN", default=DEBUG)

LOGIN_URL = LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "reports:list"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _flag("SECURE_COOKIES", default=not DEBUG)
CSRF_COOKIE_HTTPONLY = True
SECURE_REFERRER_POLICY = "same-origin"

# --- the project -----------------------------------------------------------------------------------

INSTALLED_APPS = [
    "daphne",  # first, so that `runserver` is daphne's, which speaks WebSocket
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "channels",
    "tasks_celery",
    "tasks_celery.channels",
    "example.reports",
]
if django.VERSION < (6, 0):
    INSTALLED_APPS.append("django_tasks")
# No release of it installs beside Django 6.1; the example then has no schedule and works without.
if find_spec("django_celery_beat"):
    INSTALLED_APPS += ["django_celery_beat", "tasks_celery.beat"]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "tasks_celery.channels.middleware.AudienceMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "example.urls"
ASGI_APPLICATION = "example.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
            ],
        },
    },
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": VAR_DIR / "db.sqlite3",
        "OPTIONS": {
            # Web, worker and beat write to one file. WAL lets them read meanwhile; IMMEDIATE takes the
            # lock when a transaction starts, where waiting for it works (later, SQLite gives up at once).
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
        },
    },
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

MEDIA_ROOT = VAR_DIR / "media"  # no URL leads there: a view hands a report to its owner
STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
SERVE_STATIC = _flag("SERVE_STATIC", default=DEBUG)

LANGUAGE_CODE = "en"
TIME_ZONE = _text("TIME_ZONE", "UTC")
USE_TZ = True

# --- tasks -----------------------------------------------------------------------------------------

REDIS_URL = _text("REDIS_URL", "redis://127.0.0.1:6379/0")

TASKS = {"default": {"BACKEND": "tasks_celery.CeleryBackend", "QUEUES": ["default", "reports"]}}

# Celery spells a Unix socket its own way.
CELERY_BROKER_URL = CELERY_RESULT_BACKEND = REDIS_URL.replace("unix://", "redis+socket://", 1)
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # One step for each of Celery's ten priorities; without it, Redis knows four.
    "priority_steps": list(range(10)),
    # A Redis that takes the connection and never answers would hold a request for ever.
    "socket_timeout": 5,
    "socket_connect_timeout": 5,
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# The middle: a task of priority 0 is then neither before nor behind all others.
CELERY_TASK_DEFAULT_PRIORITY = 5
CELERY_TASK_TIME_LIMIT = 60
CELERY_TIMEZONE = TIME_ZONE

# What @schedule declares is written with each `migrate`, which each start of the example runs anyway.
TASK_SCHEDULES = {"SYNC_AFTER_MIGRATE": True}
DIGEST_EVERY = round(_seconds("DIGEST_EVERY", "0")) or None
REPORT_SECONDS = _seconds("REPORT_SECONDS", "1")

# --- the browser's side ----------------------------------------------------------------------------

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {
            "hosts": [
                {
                    "address": REDIS_URL,
                    # redis-py 8 gives up reading after 5 s, as long as the layer waits for a message:
                    # left as it is, an idle socket dies every 5 s.
                    "socket_timeout": None,
                    # And it allows 100 connections, where each socket that joins or leaves takes one.
                    "max_connections": 5000,
                },
            ],
        },
    },
}

# --- the log ---------------------------------------------------------------------------------------

LOG_LEVEL = _text("LOG_LEVEL", "INFO").upper()
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    # Not passed on: the worker and daphne give the root logger handlers of their own.
    "loggers": {
        name: {"handlers": ["console"], "level": LOG_LEVEL, "propagate": False}
        for name in ("django", "django_tasks", "tasks_celery", "example")
    },
}
