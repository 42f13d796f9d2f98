"""Records that release 0.1.0 wrote into Redis stay readable, and go on from where they were.

release_0_1_0.json holds them as HGETALL gave them, and messages of its tasks as they lay in the broker; only the names
of machines and folders were replaced. integration/test_elsewhere.py runs the messages.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import uuid4

import fakeredis
import pytest
import redis

from tasks_celery.compat import task_backends
from tasks_celery.message import read_facts
from tasks_celery.moments import to_text
from tasks_celery.stores import Record
from tasks_celery.stores.redis import RedisStore
from tasks_celery.worker import seed_from
from tests.shop.running import records_in_redis, the_store
from tests.stores.making import HOUR, WHEN, a_record, an_attempt, an_outcome

KEPT = json.loads((Path(__file__).parent / "release_0_1_0.json").read_text())
KINDS = ["READY", "DEFERRED", "RUNNING", "FAILED", "SUCCESSFUL"]


@pytest.fixture
def store() -> Iterator[RedisStore]:
    """A store in which the previous release has left its records."""
    with records_in_redis():
        store = the_store()
        for record in KEPT["records"].values():
            store._client.hset(f"test:result:{record['id']}", mapping=record["hash"])
        yield store


def kept(store: RedisStore, kind: str) -> Record:
    record = store.get(KEPT["records"][kind]["id"])
    assert record is not None
    return record


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_of_the_previous_release_says_what_it_said(store: RedisStore, kind: str) -> None:
    record, said = kept(store, kind), KEPT["records"][kind]["hash"]
    facts = json.loads(said["facts"])
    for name in ("name", "path", "alias", "queue_name", "args", "kwargs", "priority", "context"):
        assert getattr(record, name) == facts[name]
    for name in ("enqueued_at", "run_after"):
        assert getattr(record, name) == (datetime.fromisoformat(facts[name]) if facts[name] else None)
    for name in ("started_at", "last_attempted_at", "finished_at"):
        assert getattr(record, name) == (datetime.fromisoformat(said[name]) if name in said else None)
    assert (record.status, record.retries, record.attempt) == (
        said["status"],
        int(said["retries"]),
        int(said["attempt"]),
    )
    assert record.return_value == json.loads(said.get("value", "null"))
    assert record.worker_ids == ("celery@worker.example",) * int(said["attempt"])


def test_the_errors_of_the_previous_release_stay(store: RedisStore) -> None:
    (error,) = kept(store, "FAILED").errors
    assert (error.exception_class_path, error.attempt) == ("builtins.ZeroDivisionError", 1)
    assert error.traceback.endswith("ZeroDivisionError: division by zero\n")
    assert [error.exception_class_path for error in kept(store, "SUCCESSFUL").errors] == ["builtins.KeyError"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_result_of_the_previous_release_is_found(store: RedisStore, kind: str) -> None:
    record = kept(store, kind)
    result = task_backends["default"].get_result(record.id)
    assert (result.status, result.args, result.backend) == (record.status, record.args, "default")
    assert result.task.module_path == record.path


@pytest.mark.parametrize("kind", ["READY", "DEFERRED"])
def test_a_task_that_the_previous_release_enqueued_is_run_here(store: RedisStore, kind: str) -> None:
    before = kept(store, kind)
    claimed = store.claim(before, an_attempt("new"), lifetime=HOUR)
    assert claimed is not None
    assert (claimed.status, claimed.worker_ids, claimed.enqueued_at) == ("RUNNING", ("new",), before.enqueued_at)
    settled = store.settle(before, an_outcome(attempt=1, return_value=2), lifetime=HOUR)
    assert settled is not None
    assert (settled.status, settled.return_value) == ("SUCCESSFUL", 2)


def test_an_attempt_that_the_previous_release_began_is_ended_here(store: RedisStore) -> None:
    running = kept(store, "RUNNING")
    assert store.claim(running, an_attempt("new"), lifetime=HOUR) is None
    settled = store.settle(running, an_outcome("FAILED", worker_id="celery@worker.example"), lifetime=HOUR)
    assert settled is not None
    assert (settled.status, settled.worker_ids) == ("FAILED", ("celery@worker.example",))


@pytest.mark.parametrize("kind", ["FAILED", "SUCCESSFUL"])
def test_what_the_previous_release_finished_is_never_run_again(store: RedisStore, kind: str) -> None:
    before = kept(store, kind)
    assert store.claim(before, an_attempt(redelivered=True, retries=5), lifetime=HOUR) is None
    assert kept(store, kind) == before


@pytest.mark.parametrize("kind", ["READY", "DEFERRED", "FAILED", "delay()"])
def test_a_message_of_the_previous_release_tells_what_its_record_told(kind: str) -> None:
    headers: dict[str, Any] = KEPT["messages"][kind]["message"]["headers"]
    seed = seed_from(headers, result_id=headers["id"], name=headers["task"], routing_key="from the message")
    told = read_facts(headers)
    assert (seed.alias, seed.path) == ("default", headers["task"])
    assert (seed.queue_name, seed.priority) == (told["queue"], told["priority"])
    assert seed.enqueued_at == datetime.fromisoformat(told["enqueued_at"]).astimezone(UTC)
    assert (seed.run_after is not None) is (kind == "DEFERRED")


# --- a worker of the previous release, beside one of this


@pytest.fixture
def empty() -> RedisStore:
    """A store with nothing in it."""
    with mock.patch.object(redis, "Redis", fakeredis.FakeRedis):
        return RedisStore(f"redis://{uuid4().hex}:1/0", key_prefix="test:", timeout=1)


def begun_there(store: RedisStore, record: Record) -> None:
    """Begin a task as the previous release does, which knows neither holds nor unique keys."""
    begun = {"status": "RUNNING", "attempt": "1", "worker:1": "celery@old", "started_at": to_text(WHEN)}
    store._client.hset(f"test:result:{record.id}", mapping=begun)


def test_a_record_is_written_as_the_previous_release_reads_it(empty: RedisStore) -> None:
    record = a_record(due=WHEN, held=True, unique="k", unique_expires=datetime.now(UTC) + timedelta(hours=1))
    empty.create(record, lifetime=HOUR)
    written = empty._client.hgetall(f"test:result:{record.id}")
    ready = KEPT["records"]["READY"]["hash"]
    assert set(json.loads(written["facts"])) == set(json.loads(ready["facts"]))
    assert {name: written[name] for name in ("status", "retries", "attempt")} == {
        name: ready[name] for name in ("status", "retries", "attempt")
    }


def test_a_held_task_that_was_begun_there_is_not_held_any_more(empty: RedisStore) -> None:
    record = a_record(due=WHEN, held=True)
    empty.create(record, lifetime=HOUR)
    begun_there(empty, record)
    assert empty.next_due() is None
    assert empty.take_due(before=WHEN, until=WHEN, limit=1) == []
    empty.sent([record.id], at=WHEN + timedelta(hours=1))
    running = empty.get(record.id)
    assert running is not None
    assert (running.status, running.held, running.due) == ("RUNNING", False, WHEN)


def test_a_held_task_that_is_to_be_tried_again_there_is_not_held_any_more(empty: RedisStore) -> None:
    record = a_record(due=WHEN, held=True)
    empty.create(record, lifetime=HOUR)
    begun_there(empty, record)
    empty._client.hset(f"test:result:{record.id}", "status", "READY")
    waits = empty.get(record.id)
    assert waits is not None
    assert not waits.held
    assert empty.take_due(before=WHEN, until=WHEN, limit=1) == []
    assert empty.next_due() is None
    assert empty.claim(record, an_attempt(retries=1), lifetime=HOUR) is not None


@pytest.mark.parametrize("kind", ["start", "finish"])
def test_a_unique_task_that_has_ended_there_keeps_nobody_out(empty: RedisStore, kind: str) -> None:
    record = a_record(unique="k", unique_until=kind)
    empty.create(record, lifetime=HOUR)
    begun_there(empty, record)
    answer = empty.create(a_record(unique="k"), lifetime=HOUR)
    assert answer == (record.id if kind == "finish" else None)
    if kind == "finish":
        empty._client.hset(f"test:result:{record.id}", "status", "FAILED")
        assert empty.create(a_record(unique="k"), lifetime=HOUR) is None


def test_a_task_unique_until_its_start_keeps_nobody_out_as_it_is_to_be_tried_again_there(empty: RedisStore) -> None:
    record = a_record(unique="k", unique_until="start")
    empty.create(record, lifetime=HOUR)
    begun_there(empty, record)
    empty._client.hset(f"test:result:{record.id}", "status", "READY")
    assert empty.create(a_record(unique="k"), lifetime=HOUR) is None


def test_a_cancelled_task_that_was_made_ready_there_is_not_run(empty: RedisStore) -> None:
    record = a_record()
    empty.claim(record, an_attempt(), lifetime=HOUR)
    empty.cancel(record.id, an_outcome("FAILED"))
    empty._client.hset(f"test:result:{record.id}", "status", "READY")
    assert empty.claim(record, an_attempt(retries=1), lifetime=HOUR) is None
