"""Every ending, once, on real workers: one record that tells the truth, one finished event that can be acted on.

The workers run the ready app of a project without a celery.py: ``celery -A tasks_celery worker``.
TASKS_CELERY_ENDINGS chooses: unset, the prefork pool on Redis; ``full``, every pool on every broker, and
docs/guarantees.md has to say what was seen; ``write`` has it say so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import celery
import pytest

from example.servers import ROOT, Child, plan_redis, redis_answers, stop, wait_until
from integration.conftest import require
from integration.endings.matrix import BROKERS, ENDINGS, NO_CHILD, POOLS, Seen
from integration.endings.table import GUARANTEES, replaced, table, written
from integration.rabbitmq import find_rabbitmq, rabbitmq

WANTED = os.environ.get("TASKS_CELERY_ENDINGS", "")
FULL = WANTED in ("full", "write")
SIDE_BY_SIDE = 3  # what two cores can bear: most of it is waiting
CELLS = [(pool, broker) for pool in POOLS for broker in BROKERS] if FULL else [("prefork", "Redis")]
POSSIBLE = [name for name, ending in ENDINGS.items() if ending.needs <= celery.VERSION[:2]]
CASES = [(*cell, ending) for cell in CELLS for ending in POSSIBLE]
TIMES = ("enqueued_at", "started_at", "last_attempted_at", "finished_at")

Facts = dict[str, Any]

pytestmark = pytest.mark.timeout(600)
every = pytest.mark.parametrize(("pool", "broker", "ending"), CASES, ids=lambda value: value.replace(" ", "_"))


@pytest.fixture(scope="module")
def cells(clean_environ: dict[str, str]) -> Iterator[dict[tuple[str, str], Future[dict[str, Facts]]]]:
    """What was seen, by pool and broker: being gathered, a few side by side."""
    with ExitStack() as servers:
        env = clean_environ | _redis(servers, clean_environ)
        places = {"Redis": {}, "RabbitMQ": _rabbitmq(servers)} if FULL else {"Redis": {}}
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            yield {cell: pool.submit(_drive, *cell, env | places[cell[1]], index) for index, cell in enumerate(CELLS)}


@pytest.fixture
def facts(cells: dict[tuple[str, str], Future[dict[str, Facts]]], pool: str, broker: str, ending: str) -> Facts:
    return cells[pool, broker].result()[ending]


def _redis(servers: ExitStack, environ: dict[str, str]) -> dict[str, str]:
    directory = servers.enter_context(tempfile.TemporaryDirectory())
    plan = plan_redis(environ, Path(directory))
    require(plan.url, f"There is no Redis server here but {plan.label}; install redis-server.")
    redis = Child("redis", plan.command, env=environ)
    servers.callback(stop, [redis])
    wait_until(lambda: redis_answers(str(plan.url)), what="Redis", watch=[redis])
    return {"ENDINGS_NOTES": str(plan.url)}


def _rabbitmq(servers: ExitStack) -> dict[str, str]:
    require(find_rabbitmq(), "There is no RabbitMQ here; install rabbitmq-server.")
    return {"ENDINGS_BROKER": servers.enter_context(rabbitmq())}


def _drive(pool: str, broker: str, env: dict[str, str], database: int) -> dict[str, Facts]:
    """Let every ending come about on a pool and broker; a database of its own keeps what is unacknowledged apart."""
    socket = env["ENDINGS_NOTES"].replace("unix:", "redis+socket:")
    env = env | {
        "DJANGO_SETTINGS_MODULE": "integration.settings",
        "PYTHONUNBUFFERED": "1",
        "ENDINGS_REDIS": f"{socket}?virtual_host={database}",
    }
    command = [sys.executable, "-m", "integration.endings.drive", pool, broker]
    driven = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=400, check=False)
    assert driven.returncode == 0, driven.stderr
    seen: dict[str, Facts] = json.loads(driven.stdout)
    return seen


def _seen(facts: Facts) -> Seen:
    return Seen(status=facts["status"], attempts=facts["attempts"], errors=tuple(facts["errors"]))


# --- each of them


@every
def test_the_record_tells_how_it_ended(facts: Facts, pool: str, ending: str) -> None:
    expected = ENDINGS[ending].seen[pool]
    expected = [replace(each, instead="", other=None) for each in (expected, expected.other) if each]
    assert _seen(facts) in expected, facts


@every
def test_one_finished_event_whose_receiver_can_read_the_result(facts: Facts) -> None:
    status = facts["status"]
    assert facts["finished"] == [{"status": status, "read": status, "same": True, "finished before": 0}], facts["log"]


@every
def test_each_attempt_is_announced_once_and_none_after_the_end(facts: Facts, ending: str) -> None:
    running = {"status": "RUNNING", "read": "RUNNING", "same": True, "finished before": 0}
    assert facts["started"] == [running] * facts["attempts"], facts["log"]
    assert len(facts["enqueued"]) == (
        0 if ending in ("success, sent by name", "name that the worker does not know") else 1
    )


@every
def test_times_are_in_order(facts: Facts, ending: str) -> None:
    times = [facts[name] for name in TIMES if facts[name] is not None]
    assert times == sorted(times)
    assert facts["finished_at"]
    assert bool(facts["started_at"]) == bool(facts["last_attempted_at"]) == bool(facts["attempts"])
    assert (facts["started_at"] == facts["last_attempted_at"]) == (facts["attempts"] < 2)
    if facts["run_after"]:
        assert facts["run_after"] > facts["enqueued_at"]
        assert facts["started_at"] is None or facts["started_at"] >= facts["run_after"]


@every
def test_each_attempt_names_its_worker(facts: Facts, ending: str) -> None:
    nodes = facts["nodes"].values()
    assert len(facts["worker_ids"]) == facts["attempts"]
    assert set(facts["worker_ids"]) <= set(nodes)


@every
def test_a_traceback_ends_with_the_error(facts: Facts, ending: str) -> None:
    assert len(facts["tracebacks"]) == len(facts["errors"])
    for path, traceback in zip(facts["errors"], facts["tracebacks"], strict=True):
        assert path.rpartition(".")[2] in traceback.strip().splitlines()[-1], traceback


# --- some of them


@pytest.mark.parametrize(("pool", "broker"), CELLS)
@pytest.mark.parametrize("ending", [name for name in POSSIBLE if name.startswith("child killed")])
def test_a_task_whose_child_is_killed_is_settled_within_seconds(facts: Facts, pool: str) -> None:
    if ENDINGS["child killed (SIGKILL)"].seen[pool].instead == NO_CHILD:
        assert facts["value"] == facts["main pid"]
    else:
        assert facts["finished_at"] - facts["started_at"] < 10


@pytest.mark.parametrize(("pool", "broker"), CELLS)
@pytest.mark.parametrize("ending", ["success, though a receiver of task_finished raises"])
def test_a_receiver_that_raises_is_logged_with_the_id_and_the_others_still_hear(facts: Facts) -> None:
    logged = [line for line in facts["log"] if "ERROR" in line]
    assert len(logged) == 1
    assert f"Task id={facts['id']}: the signal receiver _raise raised" in logged[0]
    assert len(facts["finished"]) == 1


@pytest.mark.parametrize(("pool", "broker"), CELLS)
def test_the_main_worker_outlived_all_that_does_not_stop_it(
    cells: dict[tuple[str, str], Future[dict[str, Facts]]], pool: str, broker: str
) -> None:
    last = cells[pool, broker].result()["success, after all these"]
    assert last["worker_ids"] == [last["nodes"]["main"]]


# --- what the documentation says


@pytest.mark.skipif(not FULL, reason="TASKS_CELERY_ENDINGS=full has every pool and broker")
def test_the_documented_table_is_what_was_seen(cells: dict[tuple[str, str], Future[dict[str, Facts]]]) -> None:
    seen = {cell: {name: _seen(facts) for name, facts in gathered.result().items()} for cell, gathered in cells.items()}
    text = GUARANTEES.read_text()
    if WANTED == "write":
        GUARANTEES.write_text(replaced(text, table(seen)))
    else:
        assert written(text) == table(seen)


def test_the_documented_table_has_a_row_for_each_ending_and_no_empty_cell() -> None:
    rows = [line for line in written(GUARANTEES.read_text()).splitlines() if line.startswith("| ")]
    cells = {row.strip("| ").split(" | ")[0]: row.strip("| ").split(" | ")[1:] for row in rows}
    assert set(ENDINGS) <= set(cells)
    assert all(len(row) == len(POOLS) and all(row) for row in cells.values())
