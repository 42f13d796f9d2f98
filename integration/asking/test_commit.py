"""Tasks that wait for a transaction, on real servers: nothing of what commits is lost, and nothing of the rest is there.

Records rest in the PostgreSQL of the transaction (the outbox), or in Redis.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from example.servers import ROOT, Child, plan_redis, redis_answers, stop, wait_until
from integration.asking.enqueueing.running import drive, env_of
from integration.conftest import require
from integration.elsewhere.running import a_redis, a_worker
from integration.postgres import find_postgres, postgres

pytestmark = pytest.mark.timeout(300)

PLACES = ["outbox", "elsewhere"]


@pytest.fixture(scope="module")
def database() -> Iterator[dict[str, Any]]:
    """A PostgreSQL of these tests' own, as DATABASES has it."""
    require(find_postgres(), "There is no PostgreSQL server here; install postgresql.")
    with postgres() as directory:
        yield {"ENGINE": "django.db.backends.postgresql", "HOST": directory, "NAME": "postgres", "USER": "postgres"}


@pytest.fixture(scope="module")
def notes(clean_environ: dict[str, str]) -> Iterator[str]:
    """A Redis that stays: for notes, and for the records that are not in the database."""
    with a_redis(clean_environ) as (url, _):
        yield url


class Broker:
    """A Redis that a test may stop and start: it is found where it was."""

    def __init__(self, environ: dict[str, str], directory: str) -> None:
        self._environ = environ
        self._plan = plan_redis(environ, Path(directory))
        require(self._plan.url, f"There is no Redis server here but {self._plan.label}; install redis-server.")
        self.plain_url = str(self._plan.url)
        self.url = self.plain_url.replace("unix:", "redis+socket:")
        self.start()

    def start(self) -> None:
        self.server = Child("broker", self._plan.command, env=self._environ)
        wait_until(lambda: redis_answers(self.plain_url), what="Redis", watch=[self.server])

    def stop(self) -> None:
        stop([self.server])

    def messages(self) -> int:
        with redis.Redis.from_url(self.plain_url) as client:
            return sum(client.llen(key) for key in client.keys("default*"))


@pytest.fixture(scope="module")
def broker(clean_environ: dict[str, str]) -> Iterator[Broker]:
    with tempfile.TemporaryDirectory() as directory:
        broker = Broker(clean_environ, directory)
        try:
            yield broker
        finally:
            broker.stop()


@pytest.fixture(scope="module")
def envs(
    clean_environ: dict[str, str], database: dict[str, Any], notes: str, broker: Broker
) -> dict[str, dict[str, str]]:
    """The environments of a project that keeps its records in the database of its transactions, and of one that does not."""
    results = {"outbox": "database://", "elsewhere": f"{notes}?virtual_host=2"}
    envs = {
        place: env_of(
            clean_environ,
            broker.url,
            notes=notes,
            DATABASES={"default": database},
            OPTIONS={"RESULTS": url, "ENQUEUE_ON_COMMIT": True},
            # What a worker that is started later has to say in Redis is not what is tried here.
            CELERY_RESULT_BACKEND=notes,
        )
        for place, url in results.items()
    }
    migrate = [sys.executable, "-m", "django", "migrate", "-v", "0"]
    subprocess.run(migrate, env=envs["outbox"], cwd=ROOT, check=True, timeout=60)
    return envs


@pytest.fixture
def env(envs: dict[str, dict[str, str]], place: str) -> dict[str, str]:
    return envs[place]


UNKNOWN = {"known": False}
READY = {"known": True, "status": "READY", "enqueued": True}
UNSENT = {"known": True, "status": "READY", "enqueued": False}


@pytest.mark.parametrize("place", PLACES)
def test_a_rollback_leaves_nothing(env: dict[str, str], broker: Broker, place: str) -> None:
    told = drive("in_a_transaction", "gone", "rolled back", env=env)
    assert told["before"] == (UNSENT if place == "outbox" else UNKNOWN)
    assert (told["after"], broker.messages()) == (UNKNOWN, 0)


# --- what commits


@pytest.fixture(scope="module", params=PLACES)
def made(request: pytest.FixtureRequest, envs: dict[str, dict[str, str]], broker: Broker) -> dict[str, Any]:
    """What was seen of tasks whose transactions committed, before a worker ran, and after."""
    place, env = request.param, envs[request.param]
    told = {"place": place, "sent": drive("in_a_transaction", f"sent {place}", "committed", env=env)}
    told["messages"] = {"of one": broker.messages()}
    told["later"] = drive("in_a_transaction", f"later {place}", "committed", AHEAD, env=env)
    if place == "outbox":
        told["killed"] = drive("in_a_transaction", f"killed {place}", "killed", env=env, returncode=-signal.SIGKILL)
    told["messages"]["of more"] = broker.messages()
    broker.stop()
    try:
        told["away"] = drive("in_a_transaction", f"away {place}", "committed", env=env)
    finally:
        broker.start()
    labels = [f"{kind} {place}" for kind in ("later", "killed", "away") if kind in told]
    with a_worker(env):
        told["ends"] = drive("told_of_each", {kind: told[kind]["id"] for kind in KINDS if kind in told}, env=env)
        told["runs"] = drive("runs_of_each", labels, env=env)
    return told


AHEAD = 20
KINDS = ("later", "killed", "away")


def test_a_commit_sends_and_nothing_before_it_does(made: dict[str, Any]) -> None:
    assert made["sent"]["before"] == (UNSENT if made["place"] == "outbox" else UNKNOWN)
    assert (made["sent"]["after"], made["messages"]["of one"]) == (READY, 1)


def test_what_is_for_later_is_enqueued_by_the_commit_and_not_sent(made: dict[str, Any]) -> None:
    assert made["later"]["after"] == READY
    assert made["messages"]["of more"] == 1


def test_what_the_broker_is_not_there_to_take_is_enqueued_all_the_same(made: dict[str, Any]) -> None:
    assert made["away"]["after"] == READY


@pytest.mark.parametrize("kind", KINDS)
def test_each_runs_once(made: dict[str, Any], kind: str) -> None:
    if kind not in made:
        pytest.skip("without an outbox, a process that dies as its transaction commits has kept nothing")
    end = made["ends"][kind]
    assert (end["status"], end["attempts"], end["errors"]) == ("SUCCESSFUL", 1, [])
    assert made["runs"][f"{kind} {made['place']}"] == [made[kind]["id"]]
    assert end["waited"] >= (AHEAD - 1 if kind == "later" else 0)


# --- unique


@pytest.mark.parametrize("place", ["outbox"])
@pytest.mark.parametrize("first_ends", ["committed", "rolled back"])
def test_of_two_transactions_with_the_same_unique_task_the_second_waits_for_what_becomes_of_the_first(
    env: dict[str, str], first_ends: str
) -> None:
    told = drive("enqueue_beside", f"beside {first_ends}", first_ends, env=env)
    assert (told["first"] == told["second"]) is (first_ends == "committed")
    first, second = (each["status"] for each in told["known"])
    assert (first, second) == ("READY" if first_ends == "committed" else "unknown", "READY")


@pytest.mark.parametrize("place", ["elsewhere"])
def test_of_two_transactions_with_the_same_unique_task_the_one_that_commits_first_has_it(env: dict[str, str]) -> None:
    told = drive("enqueue_beside", "beside elsewhere", "committed", env=env)
    assert told["first"] != told["second"]
    first, second = told["known"]
    assert first == {"status": "FAILED", "attempts": 0, "errors": ["AlreadyEnqueued"]}
    assert second["status"] == "READY"
