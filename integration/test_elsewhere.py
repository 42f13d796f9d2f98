"""Messages that `enqueue` did not send run, get a record on first sight, and give old callers what they always got.

One prefork worker. Sent by Celery's own API, its canvas, a real beat, a process without Django, and release 0.1.0.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from example.servers import ROOT, Child, stop
from integration.conftest import eventually
from integration.elsewhere.running import a_redis, a_worker, celery, drive, env_of

KEPT = json.loads((ROOT / "tests" / "stores" / "release_0_1_0.json").read_text())


@pytest.fixture(scope="module")
def redis_url(clean_environ: dict[str, str]) -> Iterator[str]:
    with a_redis(clean_environ) as (url, _):
        yield url


@pytest.fixture(scope="module")
def broker(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url.replace("redis+socket:", "unix:"), decode_responses=True) as client:
        yield client


@pytest.fixture(scope="module")
def env(clean_environ: dict[str, str], redis_url: str) -> dict[str, str]:
    beat = {"tick": {"task": "integration.elsewhere.tasks.tick", "schedule": 1.0}}
    tasks = {"default": {"BACKEND": "tasks_celery.CeleryBackend", "QUEUES": ["default", "reports"]}}
    return env_of(clean_environ, redis_url, TASKS=tasks, CELERY_BEAT_SCHEDULE=beat)


@pytest.fixture(scope="module")
def worker(env: dict[str, str]) -> Iterator[Child]:
    with a_worker(env, "-P", "prefork", "-c", "3") as child:
        yield child


# --- Celery's own API


@pytest.fixture(scope="module")
def sent(worker: Child, env: dict[str, str]) -> dict[str, dict[str, Any]]:
    facts: dict[str, dict[str, Any]] = drive("send", env=env, worker=worker)
    return facts


VALUES = {
    "enqueue": 2,
    "delay": 2,
    "apply_async": 2,
    "own id": 2,
    "signature": 2,
    "send_task": 2,
    "send_task to Celery's queue": 2,
    "retried": 3,
    "chain": 2,
    "chain's first": 12,
    "chord": 6,
    "chord with a plain end": 5,
    "group 0": 2,
    "group 1": 3,
    "group 2": 1,
}
PLAIN = {"chord with a plain end", "group 1"}


@pytest.mark.parametrize("way", VALUES)
def test_get_gives_the_value_and_the_record_tells_it(sent: dict[str, dict[str, Any]], way: str) -> None:
    facts = sent[way]
    assert facts["got"] == {"value": VALUES[way]}
    assert (facts["told"]["status"], facts["told"]["value"]) == ("SUCCESSFUL", VALUES[way])
    assert facts["told"]["alias"] == "default"


@pytest.mark.parametrize("way", sorted(set(VALUES) - PLAIN))
def test_a_message_gets_its_record_on_first_sight(sent: dict[str, dict[str, Any]], way: str) -> None:
    told = sent[way]["told"]
    times = [told[name] for name in ("enqueued_at", "started_at", "last_attempted_at", "finished_at") if told[name]]
    assert len(times) == (3 if "send_task" in way else 4)
    assert times == sorted(times)
    assert told["attempts"] == len(told["workers"]) == (3 if way == "retried" else 1)


@pytest.mark.parametrize("way", ["delay of one that fails", "broken chain's first"])
def test_get_raises_what_the_task_raised(sent: dict[str, dict[str, Any]], way: str) -> None:
    facts = sent[way]
    assert facts["got"] == {
        "raised": ["ZeroDivisionError", "ArithmeticError"],
        "module": "builtins",
        "text": "division by zero",
    }
    assert (facts["told"]["status"], facts["told"]["errors"]) == ("FAILED", ["builtins.ZeroDivisionError"])


def test_what_cannot_be_made_again_is_raised_as_celery_wraps_it(sent: dict[str, dict[str, Any]]) -> None:
    facts = sent["send_task of one that fails"]
    assert facts["got"]["raised"][0] == "UnpickleableExceptionWrapper"
    assert facts["told"]["errors"] == ["integration.elsewhere.far.Odd"]


def test_a_record_knows_where_the_message_went(sent: dict[str, dict[str, Any]]) -> None:
    queues = {way: sent[way]["told"]["queue"] for way in ("delay", "apply_async", "send_task to Celery's queue")}
    assert queues == {"delay": "default", "apply_async": "reports", "send_task to Celery's queue": "celery"}
    assert sent["own id"]["id"] == "an id of the caller's"


def test_what_a_broken_chain_never_sent_is_told_from_celerys_result(sent: dict[str, dict[str, Any]]) -> None:
    facts = sent["chain that breaks"]
    assert facts["got"]["raised"][0] == "ZeroDivisionError"
    assert (facts["told"]["status"], facts["told"]["errors"]) == ("FAILED", ["builtins.ZeroDivisionError"])
    assert (facts["told"]["args"], facts["told"]["attempts"], facts["told"]["started_at"]) == ([2], 0, None)


def test_a_group_gives_the_values_of_both_kinds(sent: dict[str, dict[str, Any]]) -> None:
    assert sent["group"]["got"] == {"value": [2, 3, 1]}


# --- beat


def test_what_beat_sends_has_a_record(worker: Child, env: dict[str, str], broker: redis.Redis, tmp_path: Path) -> None:
    beat = Child("beat", celery("beat", "-s", str(tmp_path / "schedule"), "-l", "INFO"), env=env)
    try:

        def ticked() -> list[Any]:
            beat.check()
            ticks: Any = broker.lrange("ticks", 0, -1)
            assert len(ticks) >= 2, beat.last_lines() + worker.last_lines(40)
            return list(ticks)

        ticks = eventually(ticked)
    finally:
        stop([beat])
    assert len(set(ticks)) == len(ticks)
    facts = drive("ask", *ticks[:2], env=env, worker=worker)
    for tick in ticks[:2]:
        told = facts[tick]["told"]
        assert (told["status"], told["path"], told["attempts"]) == ("SUCCESSFUL", "integration.elsewhere.tasks.tick", 1)
        assert told["enqueued_at"] <= told["started_at"] <= told["finished_at"]
        assert facts[tick]["got"] == {"value": None}


# --- a process without Django


def test_a_process_without_django_sends_and_gets_as_ever(worker: Child, env: dict[str, str], tmp_path: Path) -> None:
    bare = {name: value for name, value in env.items() if name not in ("DJANGO_SETTINGS_MODULE", "PYTHONPATH")}
    script = ROOT / "integration" / "elsewhere" / "plain.py"
    ran = subprocess.run(
        [sys.executable, "-P", str(script)],
        env=bare,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr + worker.last_lines(40)
    said = json.loads(ran.stdout)
    # kombu looks whether there is a django.utils.functional; that is all of Django that it saw.
    assert not {"django.conf", "django.apps", "tasks_celery", "integration"} & set(said["modules"])
    got = {name: facts["got"] for name, facts in said["facts"].items()}
    assert got["success"] == {"value": 2}
    assert got["failure"] == {"raised": "ZeroDivisionError", "module": "builtins", "text": "division by zero"}
    assert got["odd failure"]["raised"] == "Outer.Inner"
    ids = {name: facts["id"] for name, facts in said["facts"].items()}
    told = drive("ask", *ids.values(), env=env, worker=worker)
    assert told[ids["success"]]["told"]["value"] == 2
    assert told[ids["failure"]]["told"]["errors"] == ["builtins.ZeroDivisionError"]
    assert told[ids["odd failure"]]["told"]["errors"] == ["integration.elsewhere.far.Outer.Inner"]
    for each in ids.values():
        assert told[each]["told"]["enqueued_at"] is None  # nobody noted it
        assert told[each]["told"]["attempts"] == 1


# --- the previous release


@pytest.mark.parametrize(
    ("kind", "recorded"),
    [("READY", True), ("READY", False), ("DEFERRED", True), ("DEFERRED", False), ("FAILED", False), ("delay()", False)],
)
def test_a_message_of_the_previous_release_runs(
    worker: Child, env: dict[str, str], broker: redis.Redis, kind: str, recorded: bool
) -> None:
    kept = KEPT["messages"][kind]
    # Each time under another id of the same length: a finished task is never run again.
    old = kept["message"]["headers"]["id"]
    new = old[:-4] + f"{int(recorded)}{len(kind):03}"
    if recorded:
        assert KEPT["records"][kind]["id"] == old
        broker.hset(f"tasks_celery:result:{new}", mapping=KEPT["records"][kind]["hash"])
    broker.lpush(kept["queue"], json.dumps(kept["message"]).replace(old, new))
    facts = drive("ask", new, env=env, worker=worker)[new]
    told, headers = facts["told"], kept["message"]["headers"]
    values = {"READY": 2, "DEFERRED": 3, "delay()": 4}
    if kind == "FAILED":
        assert (told["status"], told["errors"]) == ("FAILED", ["builtins.ZeroDivisionError"])
        assert facts["got"]["raised"][0] == "ZeroDivisionError"
    else:
        assert (told["status"], told["value"]) == ("SUCCESSFUL", values[kind])
        assert facts["got"] == {"value": values[kind]}
    facts_sent = headers["tasks_celery"]
    assert (told["queue"], told["priority"], told["alias"]) == (facts_sent["queue"], facts_sent["priority"], "default")
    assert told["enqueued_at"] == facts_sent["enqueued_at"] < told["started_at"] <= told["finished_at"]
    assert (told["path"], told["attempts"]) == (headers["task"], 1)
