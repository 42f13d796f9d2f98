"""A Celery project is moved in three deploys, and back again, while it is at work: no call is lost, and none runs twice.

Each version has producers, workers and a beat of its own, and for a while those of two run side by side. What each
deploy changes is in `integration/moving`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from integration.conftest import eventually, require, require_beat
from integration.elsewhere.running import a_redis
from integration.moving.running import VERSIONS, Office
from integration.rabbitmq import find_rabbitmq, rabbitmq

pytestmark = pytest.mark.timeout(600)

#: What is called at every turn, and what waits at a gate until the old worker was told to end.
CALLS = ("confirm", "later", "charge", "ship", "archive", "mail", "weigh_and_label")
REDELIVERED = 120.0  # seconds; what a worker has taken along comes back after Redis' visibility timeout of 60
PROCESSES = 2
PACKS = 8  # two workers run four, and hold four more
#: What a call has left besides its run, once it is done.
BESIDES = {
    "charge": {"tried": 2},
    "archive": {"audited": 1},
    "weigh_and_label": {"weighed": 1},
    "count_all": {"counted0": 1, "counted1": 1, "waited": 1},
    "pack": {"waited": 1},
}
#: What tasks return, of those that return something.
VALUES = {"confirm": "confirmed {}", "later": "confirmed {}"}
#: Names that rows of beat have had since before the move.
OLD_NAMES = ("orders.tasks.confirm", "orders.tasks.mail", "orders.tasks.archive")


@dataclass
class Story:
    """One project on one broker: the calls that were made, and what their tasks have left."""

    office: Office
    notes: Any
    app: Celery
    queues: tuple[str, ...]
    names: tuple[str, ...] = CALLS
    calls: dict[str, str] = field(default_factory=dict)  # the id of each call's result

    def call(self, producer: str, gate: str, *names: str) -> list[str]:
        """Have a producer make these calls, and return them."""
        made = []
        for name in names:
            call = f"{gate}:{name}-{len(self.calls)}"
            (self.calls[call],) = self.office.ask(producer, "call", name, [call])
            made.append(call)
        return made

    def row(self, producer: str, gate: str, task: str) -> str:
        """Have a producer make the row of a schedule that ticks once, and return the tick as a call."""
        call = f"{gate}:{task.rpartition('.')[2]}-{len(self.calls)}"
        self.office.ask(producer, "row", call, task)
        self.calls[call] = ""
        return call

    def open(self, gate: str) -> None:
        self.notes.set(f"gate:{gate}", "open")

    def left(self, kind: str, call: str) -> list[str]:
        return list(self.notes.lrange(f"{kind}:{call}", 0, -1))

    def done(self, calls: list[str]) -> None:
        waiting = [call for call in calls if not self.left("ran", call)]
        assert not waiting, "\n".join(f"{call} waits:\n{self._about(call)}" for call in waiting)

    def idle(self) -> None:
        """Nothing is on its way: what has not run by now never will, and nothing will run again."""
        with self.app.connection_for_read() as connection:
            channel: Any = connection.default_channel
            waiting = {queue: self._waiting(channel, queue) for queue in self.queues}
        assert not any(waiting.values()), waiting

    def _waiting(self, channel: Any, queue: str) -> int:
        if hasattr(channel, "_size"):  # of kombu's Redis, which keeps apart what is not acknowledged
            return int(channel._size(queue)) + int(channel.client.hlen("unacked"))
        return int(channel.queue_declare(queue, passive=True).message_count)

    def counts(self) -> Counter[str]:
        """Return how many calls ran how often, and fail for one that left anything else than one run does."""
        for call in self.calls:
            name = call.partition(":")[2].partition("-")[0]
            for kind, times in {"ran": 1, **BESIDES.get(name, {})}.items():
                assert len(self.left(kind, call)) == times, (kind, call, self.left(kind, call), self._about(call))
        return Counter(f"ran {len(self.left('ran', call))} times" for call in self.calls)

    def _about(self, call: str) -> str:
        found = [line for line in self.office.last_lines().splitlines() if self.calls[call] in line]
        return "\n".join(found)


@pytest.fixture
def redis_url(clean_environ: dict[str, str]) -> Iterator[str]:
    require_beat()
    with a_redis(clean_environ) as (url, _):
        yield url


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def begin(stack: ExitStack, environ: dict[str, str], folder: Path, redis_url: str, **places: Any) -> Story:
    """Have the project as it was before at work."""
    notes = redis_url.replace("redis+socket:", "unix:")
    office = stack.enter_context(Office(folder, environ, notes=notes, **places))
    office.manage("before", "migrate", "-v", "0")
    office.start_worker("before")
    office.start_beat("before")
    office.wait_ready("worker before")
    app = Celery(broker=places["broker"], set_as_current=False)
    client = stack.enter_context(redis.Redis.from_url(notes, decode_responses=True))
    return Story(office=office, notes=client, app=app, queues=("celery", "parcels"))


def deploy(story: Story, old: str, new: str) -> None:
    """Go from one version to another as a rolling restart does, with calls of both at every turn."""
    office, gate = story.office, f"{old}-{new}"
    began = time.monotonic()
    office.manage(new, "migrate", "-v", "0")
    # Its producers come first: an old worker runs what they ask for.
    first = story.call(new, gate, *story.names)
    eventually(lambda: story.done(first))
    assert {version for call in first for version in story.left("ran", call)} == {old}
    # Then its workers, beside the old ones.
    office.start_worker(new)
    office.wait_ready(f"worker {new}")
    mixed = [*story.call(old, gate, *story.names, "count_all"), *story.call(new, gate, *story.names, "count_all")]
    mixed += [call for version in (old, new) for call in story.call(version, gate, *["pack"] * (PACKS // 2))]
    mixed += [*story.call(old, gate, *story.names), *story.call(new, gate, *story.names)]
    mixed += [story.row(old, gate, name) for name in OLD_NAMES]
    eventually(lambda: both_are_at_work(story, old, new))
    # The old ones are told to end while they run, hold and count; the beats change places, for two would tick twice.
    for name in (f"worker {old}", f"beat {old}"):
        office.children[name].process.terminate()
    office.end(f"beat {old}")
    office.start_beat(new)
    eventually(lambda: is_ending(story, old))
    story.open(gate)
    office.end(f"worker {old}")
    # Its producers are the last to go: a new worker runs what they ask for.
    last = story.call(old, gate, *story.names)
    last += [story.row(old, gate, name) for name in OLD_NAMES]
    eventually(lambda: story.done([*mixed, *last]), within=REDELIVERED)
    assert {version for call in last for version in story.left("ran", call)} == {new}
    print(f"{old} -> {new}: {len(first + mixed + last)} calls in {time.monotonic() - began:.0f} s")


def both_are_at_work(story: Story, *versions: str) -> None:
    """The processes of both workers run what waits at a gate, and so what they have taken besides waits, too."""
    waiting = [story.left("waited", call) for call in story.calls if not story.left("ran", call)]
    assert Counter(version for each in waiting for version in each) == dict.fromkeys(versions, PROCESSES)


def is_ending(story: Story, version: str) -> None:
    assert any("Warm shutdown" in line for line in story.office.children[f"worker {version}"].lines)


def finish(story: Story, version: str) -> None:
    """End the last worker and beat: no call was lost, none ran twice, and none ever will."""
    for name in (f"worker {version}", f"beat {version}"):
        story.office.children[name].process.terminate()
        story.office.end(name)
    eventually(story.idle)
    eventually(lambda: nothing_is_sent_again(story))
    story.idle()
    print(f"{len(story.calls)} calls: {dict(story.counts())}")


def nothing_is_sent_again(story: Story) -> None:
    """Whoever goes forward again finds records that workers without them have left READY: they end as the tasks did."""
    said = story.office.manage("moved", "sweep_tasks", "--wait", "0")
    if "0 sent as due, 0 sent again, 0 ended with their worker, 0 expired" not in said:
        pytest.fail(said)
    told = {each: story.office.ask("moved", "django", each)["status"] for each in story.calls.values() if each}
    assert set(told.values()) == {"SUCCESSFUL"}, told


def test_on_redis_each_call_runs_once_in_three_deploys_there_and_three_back(
    redis_url: str, clean_environ: dict[str, str], tmp_path: Path, stack: ExitStack
) -> None:
    places = {"broker": redis_url, "results": redis_url, "queues": "celery,parcels"}
    story = begin(stack, clean_environ, tmp_path, redis_url, **places)
    for old, new in [*pairwise(VERSIONS), *pairwise(reversed(VERSIONS))]:
        deploy(story, old, new)
    finish(story, "before")
    results_can_be_read(story)


def test_on_rabbitmq_too_with_results_in_the_database_and_workers_that_name_no_queues(
    redis_url: str, clean_environ: dict[str, str], tmp_path: Path, stack: ExitStack
) -> None:
    require(find_rabbitmq(), "There is no RabbitMQ here; install rabbitmq-server.")
    places = {"broker": stack.enter_context(rabbitmq()), "results": "django-db", "queues": None}
    story = begin(stack, clean_environ, tmp_path, redis_url, **places)
    # A worker without -Q of before has never listened to another queue than Celery's own.
    story.names, story.queues = tuple(name for name in CALLS if name != "ship"), ("celery",)
    for old, new in pairwise(VERSIONS):
        deploy(story, old, new)
    finish(story, "moved")
    results_can_be_read(story)


def results_can_be_read(story: Story) -> None:
    """Each id that a call returned tells the same by Celery's API and by Django's, in the views of before and after."""
    for call, result_id in story.calls.items():
        if result_id:  # the tick of a schedule has none
            told = {str(story.office.ask(version, "view", result_id)) for version in ("before", "moved")}
            told |= {str(story.office.ask(version, "celery", result_id)) for version in VERSIONS}
            name = call.partition(":")[2].partition("-")[0]
            assert told == {str({"ready": True, "value": VALUES[name].format(call) if name in VALUES else None})}
            by_django = story.office.ask("moved", "django", result_id)
            assert by_django["status"] == "SUCCESSFUL", (call, by_django)
            if name == "charge" and "before" not in call:
                assert by_django["attempts"] == 2
