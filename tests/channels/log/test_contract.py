"""All logs keep one contract. Redis is fakeredis here; integration/events/test_logs.py asks a real one, and PostgreSQL."""

from __future__ import annotations

from functools import partial
from typing import Any
from unittest import mock
from uuid import uuid4

import fakeredis
import pytest
import redis

from tasks_celery.channels.log.database import DatabaseLog
from tasks_celery.channels.log.memory import MemoryLog
from tasks_celery.channels.log.redis import RedisLog
from tests.channels.log.cases import LogContract, Make

OPTIONS: dict[str, Any] = {"keep": 1_000, "keep_for": 3_600.0}


def a_fake_redis(host: str, **options: Any) -> RedisLog:
    """A log on a server of its own: fakeredis goes by the name of the host."""
    with mock.patch.object(redis, "Redis", fakeredis.FakeRedis):
        return RedisLog(f"redis://{host}:1/0", **{**OPTIONS, "key_prefix": "test:", "timeout": 5, **options})


def in_the_database(**options: Any) -> DatabaseLog:
    return DatabaseLog("default", **{**OPTIONS, "timeout": 5, **options})


class TestMemory(LogContract):
    @pytest.fixture
    def make(self) -> Make:
        return lambda **options: MemoryLog(**{**OPTIONS, **options})


class TestRedis(LogContract):
    @pytest.fixture
    def make(self) -> Make:
        return partial(a_fake_redis, uuid4().hex)


@pytest.mark.django_db
class TestDatabase(LogContract):
    """Inside a transaction of the caller's; outside of one, it is asked for in integration/."""

    @pytest.fixture
    def make(self) -> Make:
        return in_the_database
