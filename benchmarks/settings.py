"""Settings of the benchmarks: the fast suite's, on the Redis in BENCH_REDIS, and with the broker in BENCH_BROKER if it is set.

BENCH_LAYER is the channel layer: core, which is the default, or pubsub. BENCH_DATABASE is the path of a SQLite database.
"""

from __future__ import annotations

import os

from tests.settings import *  # noqa: F403

_url = os.environ["BENCH_REDIS"]
CELERY_RESULT_BACKEND = _url.replace("unix:", "redis+socket:")
CELERY_BROKER_URL = os.environ.get("BENCH_BROKER", CELERY_RESULT_BACKEND)
CELERY_RESULT_EXTENDED = True
CELERY_TASK_DEFAULT_PRIORITY = 5  # else plain tasks, with the highest of Redis, overtake ours
INSTALLED_APPS += ["benchmarks"]  # noqa: F405
TASKS = {"default": {"BACKEND": "tasks_celery.CeleryBackend", "QUEUES": [], "OPTIONS": {"RESULTS": _url}}}
ALLOWED_HOSTS = ["127.0.0.1"]
if path := os.environ.get("BENCH_DATABASE"):
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": path, "OPTIONS": {"timeout": 20}}}
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": {
            "core": "channels_redis.core.RedisChannelLayer",
            "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer",
        }[os.environ.get("BENCH_LAYER", "core")],
        "CONFIG": {"hosts": [{"address": _url, "socket_timeout": None, "max_connections": 5000}]},
    }
}
# Django logs each start and end of a task; Celery does at INFO, which its worker is not told to here.
LOGGING = {"version": 1, "disable_existing_loggers": False, "loggers": {"django.tasks": {"level": "WARNING"}}}
