"""Both stores keep one contract. Redis is fakeredis here; integration/test_stores.py asks a real one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4
from zoneinfo import ZoneInfo

import fakeredis
import pytest
import redis
from django.test import override_settings

from tasks_celery.exceptions import OptionsError, StoreError
from tasks_celery.stores import Store, open_store
from tasks_celery.stores.memory import MemoryStore
from tasks_celery.stores.nowhere import Nowhere
from tasks_celery.stores.redis import RedisStore, redis_url
from tests.stores.cases import StoreContract
from tests.stores.making import HOUR, WHEN, a_record, an_attempt, an_outcome


def a_fake_redis(monkeypatch: pytest.MonkeyPatch, *, key_prefix: str = "test:") -> RedisStore:
    with monkeypatch.context() as patch:
        patch.setattr(redis, "Redis", fakeredis.FakeRedis)
        return RedisStore("redis://fake:1/0", key_prefix=key_prefix, timeout=1)


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()


class TestRedisStore(StoreContract):
    @pytest.fixture
    def store(self, monkeypatch: pytest.MonkeyPatch) -> Store:
        return a_fake_redis(monkeypatch)


# --- Redis alone


def test_a_server_that_is_away_is_a_store_error_that_says_what_to_do() -> None:
    store = RedisStore("unix:///nowhere/at/all.sock", key_prefix="x:", timeout=0.5)
    for call in (
        lambda: store.get("x"),
        lambda: store.create(a_record(), lifetime=HOUR),
        lambda: store.discard("x"),
        lambda: store.claim(a_record(), an_attempt(), lifetime=HOUR),
        lambda: store.settle(a_record(), an_outcome(), lifetime=HOUR),
        lambda: store.create_many([a_record()], lifetimes=[HOUR]),
        lambda: store.cancel("x", an_outcome("FAILED")),
        store.next_due,
        lambda: store.take_due(before=WHEN, until=WHEN, limit=1),
        lambda: store.sent(["x"], at=WHEN),
    ):
        with pytest.raises(StoreError, match=r"OPTIONS\['RESULTS'\]") as caught:
            call()
        assert isinstance(caught.value.__cause__, redis.RedisError)


def test_key_prefixes_keep_projects_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    server = fakeredis.FakeServer()
    with monkeypatch.context() as patch:
        patch.setattr(
            redis.Redis, "from_url", lambda url, **options: fakeredis.FakeRedis(server=server, decode_responses=True)
        )
        one, two = (RedisStore("redis://fake", key_prefix=prefix, timeout=1) for prefix in ("one:", "two:"))
    record = a_record()
    one.create(record, lifetime=HOUR)
    assert two.get(record.id) is None
    assert one.get(record.id) == record


@pytest.mark.parametrize("expires", [None, 60.0])
def test_a_unique_key_does_not_stay_for_ever(monkeypatch: pytest.MonkeyPatch, expires: float | None) -> None:
    store = a_fake_redis(monkeypatch, key_prefix=f"{uuid4().hex}:")
    ends = datetime.now(UTC) + timedelta(seconds=expires) if expires else None
    record = a_record(unique="k", unique_expires=ends)
    for change, lifetime in (
        (lambda: store.create(record, lifetime=120), 120),
        (lambda: store.claim(record, an_attempt(), lifetime=HOUR), HOUR),
        (lambda: store.settle(record, an_outcome("READY", attempt=1), lifetime=None), None),
    ):
        change()
        left = store._client.pttl(f"{store._prefix}unique:k") / 1000
        longest = expires or lifetime
        assert (longest - 30 < left <= longest) if longest else left < 0
    store.settle(record, an_outcome("FAILED"), lifetime=None)
    assert not store._client.exists(f"{store._prefix}unique:k")


@pytest.mark.parametrize("end", ["claim", "settle", "cancel", "sent", "resend", "discard"])
def test_nothing_is_left_of_a_hold(monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    store, record = a_fake_redis(monkeypatch, key_prefix=f"{uuid4().hex}:"), a_record(held=True, due=WHEN)
    store.create(record, lifetime=HOUR)
    ends = {
        "claim": lambda: store.claim(record, an_attempt(), lifetime=HOUR),
        "settle": lambda: store.settle(record, an_outcome("FAILED"), lifetime=HOUR),
        "cancel": lambda: store.cancel(record.id, an_outcome("FAILED")),
        "sent": lambda: store.sent([record.id], at=WHEN),
        "resend": lambda: store.resend(record, due=WHEN, lifetime=HOUR),
        "discard": lambda: store.discard(record.id),
    }
    ends[end]()
    assert not store._client.exists(f"{store._prefix}held")
    assert not store._client.hexists(f"{store._prefix}result:{record.id}", "held")


def test_a_store_connects_to_nothing_when_it_is_made() -> None:  # contract 49
    assert open_store("redis://203.0.113.1:1/0", key_prefix="x", timeout=1)
    assert open_store("unix:///nowhere/at/all.sock", key_prefix="x", timeout=1)


@pytest.mark.parametrize(
    ("celery", "ours"),
    [
        ("redis://host:1/2", "redis://host:1/2"),
        ("rediss://host:1/2", "rediss://host:1/2"),
        ("redis+socket:///run/redis.sock", "unix:///run/redis.sock"),
        ("redis+socket:///run/redis.sock?virtual_host=3", "unix:///run/redis.sock?db=3"),
        ("socket:///run/redis.sock", "unix:///run/redis.sock"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=1"),
    ],
)
def test_celery_urls_of_sockets_are_read(celery: str, ours: str) -> None:
    assert redis_url(celery) == ours


@pytest.mark.parametrize("demanded", ["CERT_REQUIRED", "CERT_OPTIONAL", "CERT_NONE", "required", "optional", "none"])
def test_a_tls_url_that_celery_takes_is_taken(demanded: str) -> None:
    # Celery insists on this parameter in a rediss:// URL (celery/backends/redis.py, E_REDIS_SSL_PARAMS…).
    store = RedisStore(f"rediss://127.0.0.1:1/0?ssl_cert_reqs={demanded}", key_prefix="x:", timeout=0.2)
    with pytest.raises(StoreError) as caught:
        store.get("x")
    assert "Invalid SSL" not in str(caught.value)


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Asia/Kathmandu", "Pacific/Kiritimati"])
def test_times_come_back_naive_without_use_tz(monkeypatch: pytest.MonkeyPatch, zone: str) -> None:  # contract 43
    store = a_fake_redis(monkeypatch)
    with override_settings(USE_TZ=False, TIME_ZONE=zone):
        now = datetime(2026, 7, 1, 23, 30, 0, 7)  # noqa: DTZ001
        record = a_record(enqueued_at=now, run_after=now + timedelta(hours=3))
        store.create(record, lifetime=HOUR)
        assert store.get(record.id) == record


def test_times_come_back_as_the_same_moments_with_use_tz(monkeypatch: pytest.MonkeyPatch) -> None:
    store = a_fake_redis(monkeypatch)
    berlin = datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin"))
    record = a_record(run_after=berlin)
    store.create(record, lifetime=HOUR)
    read = store.get(record.id)
    assert read is not None
    assert read.run_after is not None
    assert read.run_after.astimezone(UTC) == berlin.astimezone(UTC)


# --- opening


def test_one_url_is_one_store() -> None:
    memory = {"key_prefix": "one", "timeout": 1.0}
    assert open_store("memory://", **memory) is open_store("memory://", **memory)
    assert open_store("memory://", **memory) is not open_store("memory://", **memory | {"key_prefix": "two"})


def test_redis_without_its_client_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.delitem(sys.modules, "tasks_celery.stores.redis")
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(OptionsError, match=r"pip install 'tasks-celery\[redis\]'"):
        open_store("redis://without-its-client", key_prefix="x", timeout=1)


# --- nowhere


def test_nowhere_keeps_nothing_and_refuses_nothing() -> None:
    store, record = Nowhere(), a_record(held=True, due=WHEN, unique="k")
    for _ in range(2):
        assert store.create(record, lifetime=HOUR) is None
        assert store.create_many([record, record], lifetimes=[HOUR, HOUR]) == [None, None]
    assert store.cancel(record.id, an_outcome("FAILED")) is None
    assert (store.next_due(), store.take_due(before=WHEN, until=WHEN, limit=1)) == (None, [])
    store.sent([record.id], at=WHEN)
    store.discard(record.id)
    for worker_id in ("one", "two"):
        claimed = store.claim(record, an_attempt(worker_id), lifetime=HOUR)
        assert claimed is not None
        assert (claimed.status, claimed.worker_ids) == ("RUNNING", (worker_id,))
        settled = store.settle(claimed, an_outcome(attempt=1, return_value=3), lifetime=HOUR)
        assert settled is not None
        assert (settled.status, settled.return_value) == ("SUCCESSFUL", 3)
    assert store.get(record.id) is None
