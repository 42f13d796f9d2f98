"""The sweeper on real workers and brokers: nothing lost, nothing ended twice, nobody taken for dead who lives."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from example.servers import ROOT, Child, plan_redis, redis_answers, stop, wait_until
from integration.conftest import require
from integration.sweeping.drive import KILLS, LOAD

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def env(clean_environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder: Path = tmp_path_factory.mktemp("redis")
    plan = plan_redis(clean_environ, folder)
    require(plan.url, f"There is no Redis server here but {plan.label}; install redis-server.")
    redis = Child("redis", plan.command, env=clean_environ)
    with ExitStack() as servers:
        servers.callback(stop, [redis])
        wait_until(lambda: redis_answers(str(plan.url)), what="Redis", watch=[redis])
        yield clean_environ | {
            "DJANGO_SETTINGS_MODULE": "integration.sweeping.settings",
            "PYTHONUNBUFFERED": "1",
            "ENDINGS_REDIS": str(plan.url).replace("unix:", "redis+socket:"),
            "ENDINGS_NOTES": str(plan.url),
            "SCRATCH": str(folder),
        }


def told(story: str, env: dict[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "integration.sweeping.drive", story]
    driven = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert driven.returncode == 0, driven.stderr
    facts: dict[str, Any] = json.loads(driven.stdout)
    return facts


def test_workers_killed_under_load_lose_no_task_and_run_each_to_its_end_once(env: dict[str, str]) -> None:
    # Redis loses a message in about half of all kills: it is out of the list and not yet among what is unacknowledged.
    facts = told("kills_under_load", env)
    assert facts["statuses"] == {"SUCCESSFUL": KILLS * LOAD}
    # Each had one child: a kill between the outcome and its announcement keeps one event from being sent.
    assert set(facts["events"]) <= {"0", "1"}
    assert facts["events"].get("0", 0) <= KILLS


def test_a_worker_that_was_frozen_past_its_lease_does_not_end_what_another_has_ended(env: dict[str, str]) -> None:
    facts = told("frozen_worker", env)
    assert (facts["status"], facts["attempts"], facts["runs"]) == ("SUCCESSFUL", 2, 2)
    assert facts["errors"] == ["billiard.exceptions.WorkerLostError"]
    assert facts["value"] == 2
    assert len(facts["finished"]) == 1


def test_a_task_that_takes_longer_than_a_lease_is_left_alone_on_a_worker_that_lives(env: dict[str, str]) -> None:
    facts = told("slow_but_alive", env)
    assert (facts["status"], facts["attempts"], facts["runs"]) == ("SUCCESSFUL", 1, 1)
    assert facts["errors"] == []


def test_the_command_ends_what_a_killed_worker_ran(env: dict[str, str]) -> None:
    facts = told("command", env | {"NO_SWEEPER": "yes"})
    assert "1 ended with their worker" in facts["said"], facts
    assert (facts["status"], facts["errors"]) == ("FAILED", ["billiard.exceptions.WorkerLostError"])
    assert len(facts["finished"]) == 1


def test_beat_finds_a_lost_message_where_no_worker_runs(env: dict[str, str]) -> None:
    facts = told("beat", env)
    assert facts["lost"] == 1
    assert (facts["status"], facts["attempts"]) == ("SUCCESSFUL", 1)
