"""Settings of the fast suite: no server, everything in this process."""

from __future__ import annotations

from importlib.util import find_spec

from tests.conftest import WITHOUT


def _has(name: str) -> bool:
    return name not in WITHOUT and find_spec(name) is not None


SECRET_KEY = "for tests only"
DEBUG = False
ALLOWED_HOSTS = ["testserver", "localhost"]
USE_TZ = True
ROOT_URLCONF = "example.urls" if _has("channels") else "tests.urls"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "tasks_celery",
    "tasks_celery.database",
    "tests.shop",
    "tests.database",
]
if _has("channels"):
    INSTALLED_APPS += ["channels", "tasks_celery.channels", "example.reports"]
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
if _has("django_celery_beat"):
    INSTALLED_APPS += ["django.contrib.admin", "django_celery_beat", "tasks_celery.beat"]
if not find_spec("django.tasks"):
    INSTALLED_APPS += ["django_tasks"]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
if _has("channels"):
    MIDDLEWARE += ["tasks_celery.channels.middleware.AudienceMiddleware"]
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
DEMO_SIGN_IN = True
MEDIA_ROOT = ""

TASKS = {"default": {"BACKEND": "tasks_celery.CeleryBackend", "QUEUES": ["default", "reports"]}}
CELERY_BROKER_URL = "memory://"
CELERY_RESULT_BACKEND = "cache+memory://"
