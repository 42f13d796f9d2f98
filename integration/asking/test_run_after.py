"""`run_after` on real servers and workers: never early, on time within a second, and once, whatever is killed meanwhile.

The stories are told side by side, for each is a wait of its own; the flood comes last, for it leaves nobody else alone.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis

from example.servers import Child, plan_redis, redis_answers, stop, wait_until
from integration.asking.deferring.site import Run, Site
from integration.conftest import eventually, require
from integration.elsewhere.running import manage
from integration.rabbitmq import find_rabbitmq, rabbitmq

pytestmark = pytest.mark.timeout(600)

FAR = 45  # seconds
#: What a broker that is given a far ETA runs into meanwhile, in seconds.
VISIBILITY_TIMEOUT = 5
CONSUMER_TIMEOUT = 20
RESULT_EXPIRES = 3
ON_TIME = 1.0
#: How long the native delivery may take beyond that: its queues pass a message on up to 28 times.
ON_TIME_NATIVELY = 1.5
FLOOD = 10_000
#: Without what takes as long as the task itself: a line for each of its states, and a result of Celery's.
QUIETLY: dict[str, Any] = {
    "CELERY_TASK_IGNORE_RESULT": True,
    "LOGGING": {"version": 1, "disable_existing_loggers": False, "loggers": {"django.tasks": {"level": "WARNING"}}},
}
#: When the others have ended, however long they take on a busy machine.
FLOOD_AFTER = 80.0
#: A mover sends a task in well under a millisecond here; a busy machine of two cores takes several times as long.
FLOOD_WITHIN = 60.0


@dataclass
class Told:
    """What came of a story, for each label: the ids that were enqueued, the runs that were noted, and how often a
    worker got the message of each task."""

    ids: dict[str, list[str]]
    runs: dict[str, list[Run]] = field(default_factory=dict)
    received: dict[str, list[int]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def late(self, label: str) -> list[float]:
        return [run.late for run in self.runs[label]]

    def times(self, label: str) -> Counter[int]:
        """Return how many tasks ran how often."""
        counted = Counter(run.id for run in self.runs[label])
        return Counter(counted[each] for each in self.ids[label])


@dataclass
class Server:
    """A Redis that keeps its data when it is stopped and started again."""

    environ: dict[str, str]
    folder: Path
    child: Child | None = None

    def start(self) -> str:
        plan = plan_redis(self.environ, self.folder)
        require(plan.url, f"There is no Redis server here but {plan.label}; install redis-server.")
        url = str(plan.url)
        self.child = Child("redis", [*plan.command, "--appendonly", "yes", "--loglevel", "warning"], env=self.environ)
        wait_until(lambda: redis_answers(url), what="Redis", watch=[self.child])
        return url

    def stop(self) -> None:
        if self.child:
            stop([self.child])


Play = Callable[[], Told]


def in_redis(url: str, number: int, *, visibility_timeout: int = 3600, expires: int = 3600) -> dict[str, Any]:
    """Return the settings of a project with messages, and beside them records, in a database of a Redis."""
    broker = url.replace("unix:", "redis+socket:") + f"?virtual_host={number}"
    return {
        "broker": broker,
        "CELERY_RESULT_BACKEND": broker,
        "CELERY_RESULT_EXPIRES": expires,
        "CELERY_BROKER_TRANSPORT_OPTIONS": {
            "visibility_timeout": visibility_timeout,
            "unacked_restore_interval": 2,
            "unacked_restore_throttle": 1,
        },
        "TASKS": {"default": alias(RESULTS=broker)},
    }


def in_rabbitmq(url: str, folder: Path) -> dict[str, Any]:
    """Return the settings of a project with messages in RabbitMQ and records in SQLite, and a queue that can wait."""
    return {
        "broker": url,
        "MORE_APPS": ["integration.asking.deferring", "tasks_celery.database"],
        "DATABASES": {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "db.sqlite3")}},
        "CELERY_RESULT_BACKEND": None,
        "CELERY_TASK_QUEUES": {
            "default": {"exchange": "default", "routing_key": "default"},
            "native": {
                "exchange": "native",
                "exchange_type": "topic",
                "routing_key": "native",
                "queue_arguments": {"x-queue-type": "quorum"},
            },
        },
        "TASKS": {"default": alias(), "native": alias(DELAYED_DELIVERY=True)},
    }


def alias(**options: Any) -> dict[str, Any]:
    return {"BACKEND": "tasks_celery.CeleryBackend", "QUEUES": [], "OPTIONS": options}


def noted(site: Site, told: Told) -> Told:
    """Wait for what was enqueued, then for what may come once too often, and note the runs."""
    for label, ids in told.ids.items():
        site.wait_for(label, ids)
    # What runs a second time does so when it comes again: the visibility timeout, or what a mover has taken.
    settle = time.monotonic() + VISIBILITY_TIMEOUT + 3
    eventually(lambda: _assert(time.monotonic() > settle))
    told.runs = {label: site.runs(label) for label in told.ids}
    told.received = {label: site.received(ids) for label, ids in told.ids.items()}
    return told


def _assert(holds: bool) -> None:
    assert holds


# --- the stories


def crowd(site: Site) -> Play:
    """Two workers and a beat, of which one worker is left."""
    site.start_worker("one")
    site.start_worker("two")
    site.start_beat()

    def play() -> Told:
        ids, statuses = site.enqueue_and_look(
            RESULT_EXPIRES + 1,
            crowd={"after": 12, "count": 100, "spread": 6},
            outliving={"after": FAR},
            orphaned={"after": FAR, "count": 10, "spread": 3},
        )
        site.wait_for("crowd", ids["crowd"])
        site.kill("one", "beat")
        return noted(site, Told(ids, facts={"status": statuses["outliving"]}))

    return play


def restart(site: Site, server: Server) -> Play:
    """A worker, beat and Redis that are all killed, and come back before the tasks are due."""
    site.start_worker("one")
    site.start_beat()

    def play() -> Told:
        ids = site.enqueue(restarted={"after": FAR, "count": 5, "spread": 1})
        site.kill("one", "beat")
        server.stop()
        server.start()
        site.start_worker("one", "-P", "solo")
        site.start_beat()
        return noted(site, Told(ids))

    return play


def rabbit(site: Site) -> Play:
    """RabbitMQ, which holds a task back itself where it is asked to, and records in a database."""
    manage("migrate", "-v0", env=site.env)
    site.start_worker("one", "-P", "prefork", "-c", "1", "-Q", "default,native")

    def play() -> Told:
        far, native = {"after": FAR}, {"after": FAR - 0.3, "queue": "native", "alias": "native"}
        ids, statuses = site.enqueue_and_look(3, **{"far on RabbitMQ": far, "native": native})
        meanwhile = site.received(ids["native"])
        return noted(site, Told(ids, facts={"status": statuses["native"], "received": meanwhile}))

    return play


def greenlets(site: Site) -> Play:
    """One worker with greenlets, and nobody else who could move anything."""
    site.start_worker("one", "-P", "gevent", "-c", "10")
    return lambda: noted(site, Told(site.enqueue(gevent={"after": 10, "count": 5, "spread": 2})))


def killed_movers(site: Site) -> Play:
    """A mover that was killed with what it had taken, and another; then a worker, on a broker that gives back what it holds."""
    labels = ("unsent", "unsaid")
    ids = dict(zip(labels, site.drive("die", *labels), strict=True))
    eventually(lambda: _assert(": 2 sent as due" in manage("sweep_tasks", env=site.env)))
    site.start_worker("one")
    return lambda: noted(site, Told(ids | site.enqueue(far={"after": FAR})))


def flood(site: Site, url: str, number: int, due: float, ids: dict[str, list[str]]) -> Told:
    """Many tasks that are due in one second, with two movers and nobody who takes the messages at first."""
    site.start_worker("mover", "-P", "prefork", "-c", "1", "-Q", "nothing")
    site.start_beat()
    site.wait_ready()
    began = max(due, time.time())
    with redis.Redis.from_url(f"{url}?db={number}") as client:
        eventually(lambda: _assert(_length(client, "flood") >= FLOOD), within=100)
        facts = {"sent within": time.time() - began}
        # In the middle of a batch as like as not: what they have not said they sent is sent again, and runs once.
        site.kill("mover", "beat")
        facts["messages"] = _length(client, "flood")
    site.start_worker("one", "-P", "prefork", "-c", "2", "-Q", "flood", "-l", "WARNING")
    site.wait_for("flood", ids["flood"], within=300)
    return Told(ids, {"flood": site.runs("flood")}, facts=facts)


def enqueue_flood(site: Site, due: float) -> dict[str, list[str]]:
    return site.enqueue(flood={"from": due, "after": 0, "count": FLOOD, "spread": 1, "queue": "flood"})


def _length(client: redis.Redis, queue: str) -> int:
    """Return how many messages wait in the lists of a queue, of which kombu has one for each priority."""
    return sum(int(client.llen(key)) for key in client.scan_iter(f"{queue}*", _type="list"))


# --- all of them


@pytest.fixture(scope="module")
def stories(
    clean_environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Told]]]:
    """What came of each story, by its name: those that wait side by side, then the flood."""
    require(find_rabbitmq(), "There is no RabbitMQ here; install rabbitmq-server.")

    def folder(name: str) -> Path:
        return tmp_path_factory.mktemp(name)

    with ExitStack() as running, ThreadPoolExecutor(8) as pool:
        redis_url = running.enter_context(_serving(Server(clean_environ, folder("redis"))))
        restarted = Server(clean_environ, folder("restarted"))
        restarted_url = running.enter_context(_serving(restarted))
        # Its channels look once a minute by themselves whether a consumer has taken too long.
        amqp_url = running.enter_context(
            rabbitmq(
                config={"consumer_timeout": f"{CONSUMER_TIMEOUT}000"}, parameters={"channel_tick_interval": "2000"}
            )
        )

        def site(name: str, **settings: Any) -> Site:
            new = Site(clean_environ, notes=redis_url, folder=folder(name), **settings)
            running.callback(new.stop)
            return new

        sites = {
            "crowd": site("crowd", **in_redis(redis_url, 1, expires=RESULT_EXPIRES)),
            "restart": site("restart", **in_redis(restarted_url, 1)),
            "rabbit": site("rabbit", **in_rabbitmq(amqp_url, folder("rows"))),
            "gevent": site("gevent", **in_redis(redis_url, 2)),
            "killed": site(
                "killed", **in_redis(redis_url, 3, visibility_timeout=VISIBILITY_TIMEOUT, expires=RESULT_EXPIRES)
            ),
        }
        begin: dict[str, Callable[[Site], Play]] = {
            "crowd": crowd,
            "restart": lambda site: restart(site, restarted),
            "rabbit": rabbit,
            "gevent": greenlets,
            "killed": killed_movers,
        }
        plays = dict(zip(sites, pool.map(lambda name: begin[name](sites[name]), sites), strict=True))
        for each in sites.values():
            each.wait_ready()
        told = {name: pool.submit(play) for name, play in plays.items()}
        # Enqueued meanwhile, for later.
        many, due = site("flood", **QUIETLY, **in_redis(redis_url, 4)), time.time() + FLOOD_AFTER
        ids = pool.submit(enqueue_flood, many, due).result()
        wait(told.values())
        for each in sites.values():
            each.stop()
        told["flood"] = pool.submit(flood, many, redis_url, 4, due, ids)
        wait(told.values())
        yield told


@contextmanager
def _serving(server: Server) -> Iterator[str]:
    try:
        yield server.start()
    finally:
        server.stop()


LABELS = {
    "far": "killed",
    "crowd": "crowd",
    "outliving": "crowd",
    "orphaned": "crowd",
    "restarted": "restart",
    "far on RabbitMQ": "rabbit",
    "native": "rabbit",
    "gevent": "gevent",
    "unsent": "killed",
    "unsaid": "killed",
    "flood": "flood",
}
#: What is late because somebody was killed with it, or for want of hands.
LATE = {"unsent", "unsaid", "flood"}


@pytest.fixture
def told(stories: dict[str, Future[Told]], label: str) -> Told:
    """What came of the story that tasks with this label belong to."""
    return stories[LABELS[label]].result()


@pytest.mark.parametrize("label", LABELS)
def test_each_task_runs_once(told: Told, label: str) -> None:
    assert told.times(label) == {1: len(told.ids[label])}


@pytest.mark.parametrize("label", LABELS)
def test_no_task_runs_before_it_is_due(told: Told, label: str) -> None:  # contract 41
    assert min(told.late(label)) >= 0


@pytest.mark.parametrize("label", sorted(set(LABELS) - LATE))
def test_each_task_runs_within_a_second_of_its_time(told: Told, label: str) -> None:
    late = told.late(label)
    print(f"{label}: late by {statistics.median(late) * 1000:.0f} ms (median), {max(late) * 1000:.0f} ms (most)")
    assert max(late) < (ON_TIME_NATIVELY if label == "native" else ON_TIME)


@pytest.mark.parametrize("label", sorted(set(LABELS) - {"unsaid", "flood"}))
def test_each_message_is_sent_once_however_many_look(told: Told, label: str) -> None:
    assert set(told.received[label]) == {1}


@pytest.mark.parametrize("label", ["unsaid"])
def test_what_a_mover_had_sent_before_it_was_killed_is_sent_again_and_runs_once(told: Told, label: str) -> None:
    assert told.received[label] == [2]
    assert told.times(label) == {1: 1}


@pytest.mark.parametrize("label", ["unsent"])
def test_what_a_mover_had_not_sent_is_late_by_seconds(told: Told, label: str) -> None:
    # And by what the only worker of this story took to start, for it was not there yet.
    assert max(told.late(label)) < 60


@pytest.mark.parametrize("label", ["outliving"])
def test_a_result_that_is_kept_shortly_outlives_the_wait(told: Told) -> None:
    assert told.facts["status"] == ["READY"]


@pytest.mark.parametrize("label", ["native"])
def test_what_rabbitmq_holds_back_is_not_in_the_worker_meanwhile(told: Told) -> None:
    assert told.facts == {"status": ["READY"], "received": [0]}


@pytest.mark.parametrize("label", ["flood"])
def test_ten_thousand_that_are_due_in_a_second_are_sent_within(told: Told) -> None:
    print(f"{FLOOD} sent within {told.facts['sent within']:.1f} s of when the first was due")
    assert told.facts["messages"] == FLOOD
    assert told.facts["sent within"] < FLOOD_WITHIN
