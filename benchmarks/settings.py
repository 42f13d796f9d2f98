"""Settings of the benchmarks: the fast suite's, on the Redis in BENCH_REDIS."""

from __future__ import annotations

import os

from tests.settings import *  # noqa: F403

_url = os.environ["BENCH_REDIS"]
CELERY_BROKER_URL = CELERY_RESULT_BACKEND = _url.replace("unix:", "redis+socket:")
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": [{"address": _url, "socket_timeout": None, "max_connections": 5000}]},
    }
}
