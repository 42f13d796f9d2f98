"""Unique tasks on real workers: each has one key, no two processes get it, and it is free again however the task ends."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from example.servers import Child
from integration.asking.enqueueing.drive import KINDS
from integration.asking.enqueueing.running import RACERS, drive, env_of, race
from integration.conftest import eventually
from integration.elsewhere.running import a_redis, a_worker

pytestmark = pytest.mark.timeout(300)

ROUNDS = 200


@pytest.fixture(scope="module")
def redis_url(clean_environ: dict[str, str]) -> Iterator[str]:
    with a_redis(clean_environ) as (url, _):
        yield url


@pytest.fixture(scope="module")
def env(clean_environ: dict[str, str], redis_url: str) -> dict[str, str]:
    return env_of(clean_environ, redis_url)


@pytest.fixture
def broker(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url.replace("redis+socket:", "unix:")) as client:
        client.flushall()
        yield client


# --- every ending


@pytest.fixture(scope="module")
def enqueued(env: dict[str, str]) -> dict[str, list[str]]:
    """The ids of two enqueues of each kind, while no worker runs."""
    return {**drive("enqueue_each_kind", env=env), "lost": drive("lose", env=env)}


@pytest.fixture(scope="module")
def told(enqueued: dict[str, list[str]], env: dict[str, str]) -> dict[str, Any]:
    """What a worker with two children made of them; it has gone since."""
    with a_worker(env, "-P", "prefork", "-c", "2") as worker:
        try:
            facts: dict[str, Any] = drive("pass_through", {kind: ids[0] for kind, ids in enqueued.items()}, env=env)
        except AssertionError as error:
            error.add_note(worker.last_lines(80))
            raise
    return facts


@pytest.mark.parametrize("kind", [*KINDS, "lost"])
def test_one_that_waits_keeps_others_out(enqueued: dict[str, list[str]], kind: str) -> None:
    assert len(set(enqueued[kind])) == 1


@pytest.mark.parametrize(
    ("kind", "status", "attempts", "errors"),
    [
        ("pass_gate", "SUCCESSFUL", 1, []),
        ("pass_gate_until_start", "SUCCESSFUL", 1, []),
        ("succeed", "SUCCESSFUL", 1, []),
        ("fail", "FAILED", 1, ["ValueError"]),
        ("fail_once", "SUCCESSFUL", 2, ["KeyError"]),
        ("overrun", "FAILED", 1, ["TimeLimitExceeded"]),
        ("kill_self", "FAILED", 1, ["WorkerLostError"]),
        ("expire", "FAILED", 0, ["TaskRevokedError"]),
        ("revoked", "FAILED", 0, ["TaskRevokedError"]),
        ("lost", "SUCCESSFUL", 1, []),
    ],
)
def test_the_key_is_free_again_however_the_task_ends(
    told: dict[str, Any], kind: str, status: str, attempts: int, errors: list[str]
) -> None:
    known = {name: told[kind][name] for name in ("status", "attempts", "errors", "free")}
    assert known == {"status": status, "attempts": attempts, "errors": errors, "free": True}


def test_while_a_task_runs_its_key_is_kept_unless_it_was_until_the_start(told: dict[str, Any]) -> None:
    free = {kind: told[kind]["free while it ran"] for kind in ("pass_gate", "pass_gate_until_start")}
    assert free == {"pass_gate": False, "pass_gate_until_start": True}


def test_a_task_that_waits_for_its_retry_keeps_its_key(told: dict[str, Any]) -> None:
    assert told["fail_once"]["free while it waited"] is False


def test_a_key_for_a_time_is_kept_for_it_though_the_task_has_ended(told: dict[str, Any]) -> None:
    kept = {name: told["succeed_within_time"][name] for name in ("status", "free")}
    assert kept == {"status": "SUCCESSFUL", "free": False}


def test_a_key_for_a_time_is_free_after_it_though_the_task_still_waits(
    env: dict[str, str], broker: redis.Redis
) -> None:
    began = time.monotonic()
    ids = drive("enqueue_again_and_again", "succeed_for_a_moment", 3, env=env)
    assert (len(set(ids)), _messages(broker)) == (3, 3)
    assert time.monotonic() - began >= 2


def test_a_cancelled_task_keeps_nobody_out(env: dict[str, str]) -> None:
    assert drive("cancel", env=env) == {"status": "FAILED", "attempts": 0, "errors": ["TaskCancelled"], "free": True}


def test_a_task_whose_worker_is_killed_keeps_others_out_until_the_sweeper_ends_it(
    env: dict[str, str], broker: redis.Redis
) -> None:
    with a_worker(env, "-P", "prefork", "-c", "1") as worker:
        result_id = drive("begin", "sleep", "sleep", env=env)
        _kill(worker)
    with a_worker(env, "-P", "prefork", "-c", "1"):
        told = drive("ended", "sleep", result_id, env=env)
    assert told == {"status": "FAILED", "attempts": 1, "errors": ["WorkerLostError"], "free": True}


def _kill(worker: Child) -> None:
    os.killpg(worker.process.pid, signal.SIGKILL)
    eventually(lambda: _assert_gone(worker))


def _assert_gone(worker: Child) -> None:
    assert worker.process.poll() is not None


# --- races


@pytest.mark.parametrize("verb", ["enqueue", "enqueue_together"])
def test_of_processes_that_enqueue_the_same_at_once_one_does_and_all_get_its_id(
    env: dict[str, str], broker: redis.Redis, verb: str
) -> None:
    ids = race(verb, [ROUNDS] * RACERS, env=env)
    assert ids == [ids[0]] * RACERS
    assert len(set(ids[0])) == ROUNDS
    assert _messages(broker) == ROUNDS


def test_of_processes_that_enqueue_the_same_at_once_all_but_one_are_refused(
    env: dict[str, str], broker: redis.Redis
) -> None:
    ids = race("enqueue_refusing", [ROUNDS] * RACERS, env=env)
    assert [sum(each is not None for each in found) for found in zip(*ids, strict=True)] == [1] * ROUNDS
    assert _messages(broker) == ROUNDS


def _messages(broker: redis.Redis) -> int:
    lists = [key for key in broker.keys("default*") if broker.type(key) == b"list"]
    return sum(broker.llen(key) for key in lists)
