"""Two real beats on one database, one of which comes to harm: of each tick there is one run, and none is late beyond what is stated.

All stories are told side by side, a minute long: each has its own servers, beats and worker.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from example.servers import ROOT, Child, plan_redis, redis_answers, stop, wait_until
from integration.conftest import eventually, require
from integration.postgres import find_postgres, postgres
from integration.rabbitmq import find_rabbitmq, rabbitmq

pytest.importorskip("django_celery_beat", reason="No release of it installs beside this Django.")
pytestmark = pytest.mark.timeout(400)

SECONDS = 60
SCHEDULES = 2
START_WITHIN = 150.0

#: What a beat takes is another's after `RETAKE` (10 s); beats look for such every 2 s; the rest is for a busy machine.
LATEST = 10 + 2 + 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What became of a story: when its first tick was, all ticks that beats took, all runs, and of each beat what it logged.

    `ended` are the beats that had come to their end by then.
    """

    first: float
    ticks: list[dict[str, Any]]
    runs: list[dict[str, Any]]
    logs: dict[str, str]
    ended: set[str]

    @property
    def minute(self) -> list[dict[str, Any]]:
        return [tick for tick in self.ticks if self.first - 0.001 <= tick["at"] < self.first + SECONDS - 0.001]

    def latenesses(self) -> list[float]:
        began = {run["id"]: run["at"] for run in self.runs}
        return [began[tick["id"]] - tick["at"] for tick in self.minute if tick["id"] in began]


class Place:
    """The servers of one story and what runs on them, ended in order."""

    def __init__(self, folder: Path, environ: Mapping[str, str], *, broker: str, database: str, dies: str) -> None:
        self._folder, self._environ, self._dies = folder, environ, dies
        self._broker_kind, self._database_kind = broker, database
        self._servers = ExitStack()
        self.children: dict[str, Child] = {}

    def __enter__(self) -> Place:
        with self._servers:
            self.records = self._redis("records")
            self.broker = (
                self._servers.enter_context(rabbitmq()) if self._broker_kind == "rabbitmq" else self._redis("broker")
            )
            self._run("-m", "django", "migrate", "-v", "0")
            self._servers = self._servers.pop_all()
        return self

    def __exit__(self, *args: object) -> None:
        with self._servers:
            for child in self.children.values():
                self.signal(child.name, signal.SIGCONT)
            stop(list(self.children.values()))

    def _redis(self, name: str) -> str:
        folder = self._folder / name
        folder.mkdir()
        plan = plan_redis(self._environ, folder)
        server = Child(name, plan.command, env=self._environ)
        self.servers: dict[str, Child] = {**getattr(self, "servers", {}), name: server}
        self._servers.callback(stop, [server], within=2)
        wait_until(lambda: redis_answers(str(plan.url)), what=name, watch=[server])
        return str(plan.url)

    @cached_property
    def _database(self) -> dict[str, Any]:
        if self._database_kind == "sqlite":
            return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(self._folder / "db.sqlite3")}
        host = self._servers.enter_context(postgres())
        return {"ENGINE": "django.db.backends.postgresql", "HOST": host, "NAME": "postgres", "USER": "postgres"}

    @cached_property
    def env(self) -> dict[str, str]:
        return {
            **self._environ,
            "DJANGO_SETTINGS_MODULE": "integration.beat.counting.settings",
            "PYTHONUNBUFFERED": "1",
            "ENDINGS_REDIS": self.records.replace("unix:", "redis+socket:"),
            "ENDINGS_NOTES": self.records,
            "ENDINGS_BROKER": self.broker.replace("unix:", "redis+socket:"),
            "COUNTING_DATABASE": json.dumps(self._database),
        }

    def _run(self, *arguments: str) -> str:
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=self.env, capture_output=True, text=True, timeout=120, check=True
        ).stdout

    def drive(self, *arguments: str) -> Any:
        return json.loads(self._run("-m", "integration.beat.counting.drive", *arguments))

    def celery(self, name: str, *arguments: str, ready: str, **env: str) -> None:
        command = [sys.executable, "-m", "celery", "-A", "tasks_celery", *arguments, "-l", "INFO"]
        self.children[name] = Child(name, command, env=self.env | env, ready_line=ready)

    def signal(self, name: str, number: signal.Signals) -> None:
        process = (self.children.get(name) or self.servers[name]).process
        if process.poll() is None:
            os.killpg(process.pid, number)

    def begin(self) -> float:
        """Start two beats and a worker, make the schedules, and return when their first tick is."""
        self.celery("worker", "worker", "-P", "threads", "-c", "4", ready=" ready.")
        self.celery("one", "beat", "-S", "django", ready="beat: Starting", COUNTING_DIES=self._dies)
        self.celery("other", "beat", "-S", "tasks_celery.beat.scheduler:DatabaseScheduler", ready="beat: Starting")
        for child in self.children.values():
            wait_until(child.said_ready.is_set, what=child.name, watch=[child], limit=START_WITHIN)
        return float(self.drive("begin", "5", str(SCHEDULES)))

    def runs(self) -> list[dict[str, Any]]:
        import redis

        client = redis.Redis.from_url(self.records)
        try:
            return [json.loads(each) for each in client.lrange("runs", 0, -1)]
        finally:
            client.close()

    def told(self, first: float) -> Told:
        """Wait until the minute is over and all its ticks have run, or none will any more."""

        def all_have_run() -> None:
            assert time.time() > first + SECONDS
            assert len(self.runs()) >= SECONDS * SCHEDULES

        with contextlib.suppress(AssertionError):  # what is missing, the tests say
            eventually(all_have_run, within=SECONDS + 60)
        time.sleep(1)  # for one run too many
        beats = {name: self.children[name] for name in ("one", "other")}
        return Told(
            first=first,
            runs=self.runs(),  # before the ticks: what runs meanwhile has one
            ticks=self.drive("tell"),
            logs={name: child.last_lines(2_000) for name, child in beats.items()},
            ended={name for name, child in beats.items() if child.process.poll() is not None},
        )


def at(moment: float) -> None:
    time.sleep(max(0.0, moment - time.time()))


# --- the stories: what happens to the beat named "one", or to the broker


def killed(place: Place, first: float) -> None:
    at(first + SECONDS / 2)
    place.signal("one", signal.SIGKILL)


def kills_itself(place: Place, first: float) -> None:
    """Leave it to the beat, see `integration.beat.counting.apps`."""


def frozen(place: Place, first: float) -> None:
    for second in (10, 35):
        at(first + second + 0.003)
        place.signal("one", signal.SIGSTOP)
        at(first + second + 15)
        place.signal("one", signal.SIGCONT)


def broker_frozen(place: Place, first: float) -> None:
    at(first + 20)
    place.signal("broker", signal.SIGSTOP)
    at(first + 28)
    place.signal("broker", signal.SIGCONT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    tell: Callable[[Place, float], None]
    broker: str
    database: str
    dies: str = ""


STORIES = {
    "killed, on Redis and SQLite": Story(tell=killed, broker="redis", database="sqlite"),
    "killed before its message leaves, on RabbitMQ and PostgreSQL": Story(
        tell=kills_itself, broker="rabbitmq", database="postgres", dies="before 40"
    ),
    "killed after its message left, on Redis and SQLite": Story(
        tell=kills_itself, broker="redis", database="sqlite", dies="after 40"
    ),
    "frozen twice, on Redis and PostgreSQL": Story(tell=frozen, broker="redis", database="postgres"),
    "with a broker that freezes, on Redis and PostgreSQL": Story(
        tell=broker_frozen, broker="redis", database="postgres"
    ),
}


@pytest.fixture(scope="module")
def telling(
    clean_environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[dict[str, Future[Told]]]:
    """Every story that is asked for and that this machine has the servers for, being told."""
    asked = {item.callspec.params["name"] for item in request.session.items if item.path == request.path}

    def tell(name: str, story: Story) -> Told:
        folder = tmp_path_factory.mktemp("counting")
        with Place(folder, clean_environ, broker=story.broker, database=story.database, dies=story.dies) as place:
            first = place.begin()
            story.tell(place, first)
            return place.told(first)

    with ThreadPoolExecutor(len(STORIES)) as pool:
        yield {name: pool.submit(tell, name, story) for name, story in STORIES.items() if name in asked and _can(story)}


def _can(story: Story) -> bool:
    return bool((story.broker != "rabbitmq" or find_rabbitmq()) and (story.database != "postgres" or find_postgres()))


@pytest.mark.parametrize("name", STORIES)
def test_of_each_tick_there_is_one_run_in_time(telling: dict[str, Future[Told]], name: str) -> None:
    require(_can(STORIES[name]), "There is no RabbitMQ, or no PostgreSQL here: install rabbitmq-server and postgresql.")
    told = telling[name].result()
    assert told.ended == ({"one"} if name.startswith("killed") else set())
    assert "takes the place of django-celery-beat's" in told.logs["one"]
    assert all("sent integration.beat.counting.tasks.count" in log for log in told.logs.values())
    names, seconds = [f"schedule {number}" for number in range(SCHEDULES)], range(SECONDS)
    wanted = Counter((name, round(told.first) + second) for name in names for second in seconds)
    assert Counter((tick["name"], round(tick["at"])) for tick in told.minute) == wanted
    assert [tick for tick in told.minute if tick["outcome"] != "sent"] == [], told.logs
    runs = Counter(run["id"] for run in told.runs)
    assert {tick["id"]: runs[tick["id"]] for tick in told.minute} == {tick["id"]: 1 for tick in told.minute}, told.logs
    assert set(runs) <= {tick["id"] for tick in told.ticks}
    late = sorted(told.latenesses())
    print(f"{name}: half within {statistics.median(late):.3f} s, the latest {late[-1]:.1f} s")
    assert late[-1] < LATEST
