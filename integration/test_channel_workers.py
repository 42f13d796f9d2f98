"""Events for workers of Channels as durable tasks: an old sender, a real layer, a real worker, and trouble in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from example.servers import ROOT, Child, plan_redis, stop, wait_until
from integration.conftest import eventually, require
from integration.events.servers import Redis

pytestmark = pytest.mark.timeout(240)

EVENTS = 100


class Project:
    """The project's processes, and what they noted."""

    def __init__(self, folder: Path) -> None:
        self.notes_at = folder / "notes"
        self.notes_at.touch()
        (folder / "redis").mkdir()
        self.broker, self.layer = Redis(folder / "redis" / "broker"), Redis(folder / "redis" / "layer")
        self.env = os.environ | {
            "DJANGO_SETTINGS_MODULE": "integration.channel_workers.settings",
            "PYTHONUNBUFFERED": "1",
            "BROKER": self.broker.url,
            "LAYER": self.layer.url,
            "SCRATCH": str(folder),
            "NOTES": str(self.notes_at),
        }
        self.children: list[Child] = []
        self.resident: Child | None = None
        self.senders: dict[str, subprocess.Popen[str]] = {}

    def stop(self) -> None:
        for sender in self.senders.values():
            sender.kill()
            sender.communicate()
        stop(self.children)
        self.broker.stop()
        self.layer.stop()

    def manage(self, *words: str) -> None:
        command = [sys.executable, "-m", "django", *words]
        subprocess.run(command, env=self.env, cwd=ROOT, check=True, capture_output=True, timeout=120)

    def worker(self, pool: str = "prefork", concurrency: int = 2) -> Child:
        command = [sys.executable, "-m", "celery", "-A", "tasks_celery", "worker", "-l", "INFO", "-P", pool]
        command += ["-c", str(concurrency), "-Q", "default,thumbnails", "--without-mingle", "--without-gossip"]
        return self._started("worker", command, " ready.")

    def listener(self, *channels: str) -> Child:
        command = [sys.executable, "-m", "django", "channels_to_tasks", *(channels or ("thumbnails", "letters"))]
        return self._started("listener", command, "Listening on ")

    def _started(self, name: str, command: list[str], ready: str) -> Child:
        child = Child(name, command, env=self.env, ready_line=ready)
        self.children.append(child)
        wait_until(child.said_ready.is_set, what=name, watch=[child], limit=60)
        return child

    def send(self, channel: str, message: dict[str, Any], *, by: str = "old_sender") -> str:
        if by not in self.senders:
            self.senders[by] = subprocess.Popen(
                [sys.executable, "-m", f"integration.channel_workers.{by}"],
                cwd=ROOT,
                env=self.env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        process = self.senders[by]
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps([channel, message]) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline().strip()
        assert answer, f"{by} ended"
        return answer

    def notes(self, what: str) -> list[dict[str, Any]]:
        noted = [json.loads(line) for line in self.notes_at.read_text().splitlines()]
        return [each for each in noted if each["what"] == what]

    def handled(self, *numbers: int) -> Counter[tuple[str, int]]:
        """Return how often each event was handled, of those with these numbers."""
        return Counter((each["channel"], each["number"]) for each in self.notes("handled") if each["number"] in numbers)

    def ended(self, *numbers: int) -> list[dict[str, Any]]:
        """Return how the tasks of these events ended."""
        return [each for each in self.notes("ended") if number_of(each) in numbers]

    def await_handled(self, *numbers: int, channels: tuple[str, ...] = ("thumbnails", "letters")) -> None:
        """Return once each of these was handled on each channel, and its task has ended; none may be twice."""

        def all_handled() -> None:
            assert set(self.handled(*numbers)) == {(channel, number) for channel in channels for number in numbers}
            assert len(self.ended(*numbers)) >= len(channels) * len(numbers)

        eventually(all_handled)
        assert set(self.handled(*numbers).values()) == {1}
        assert {each["status"] for each in self.ended(*numbers)} == {"SUCCESSFUL"}


def number_of(noted: dict[str, Any]) -> Any:
    message = noted["args"][1]
    return message.get("number") if isinstance(message, dict) else message


def end(child: Child, number: signal.Signals = signal.SIGTERM) -> int:
    """Signal a process and return its exit code."""
    child.process.send_signal(number)
    return child.process.wait(30)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("project")
    plan = plan_redis({"PATH": os.environ["PATH"]}, folder)
    require(plan.url, f"There is no Redis server here but {plan.label}; install redis-server.")
    project = Project(folder)
    try:
        project.manage("migrate", "-v", "0")
        yield project
    finally:
        project.stop()


@pytest.fixture
def worker(project: Project) -> Child:
    """The worker of most tests, started by the first."""
    project.resident = project.resident or project.worker()
    return project.resident


@pytest.fixture
def no_worker(project: Project) -> None:
    """Only the workers that the test starts itself."""
    if project.resident:
        stop([project.resident])
    project.resident = None


@contextmanager
def listening(project: Project, *channels: str) -> Iterator[Child]:
    with running(project.listener(*channels)) as listener:
        yield listener


@contextmanager
def running(child: Child) -> Iterator[Child]:
    try:
        yield child
    finally:
        stop([child])


#: Each test counts from elsewhere.
numbers = iter(range(1_000, 1_000_000, 1_000))


def both(project: Project, *events: int) -> None:
    for number in events:
        for channel in ("thumbnails", "letters"):
            project.send(channel, {"type": "generate", "number": number})


@pytest.mark.usefixtures("worker")
def test_an_old_senders_events_are_handled_by_sync_and_async_consumers_none_lost_none_twice(project: Project) -> None:
    start = next(numbers)
    events = range(start, start + EVENTS)
    with listening(project) as listener:
        both(project, *events)
        project.await_handled(*events)
        assert end(listener) == 0
    assert f"Made tasks of {2 * EVENTS} events." in "\n".join(listener.lines)
    assert {each["queue"] for each in project.ended(*events) if each["args"][0] == "thumbnails"} == {"thumbnails"}
    assert {each["queue"] for each in project.ended(*events) if each["args"][0] == "letters"} == {"default"}


@pytest.mark.usefixtures("worker")
def test_what_waited_in_the_layer_before_the_listener_came_is_drained(project: Project) -> None:
    start = next(numbers)
    both(project, *range(start, start + 20))
    with listening(project):
        project.await_handled(*range(start, start + 20))


@pytest.mark.usefixtures("worker")
def test_what_nobody_can_handle_is_a_failed_result_with_the_reason_and_the_listener_lives(project: Project) -> None:
    start = next(numbers)
    with listening(project, "thumbnails", "letters", "unknown") as listener:
        project.send("thumbnails", {"number": start})
        project.send("letters", {"type": "_private", "number": start + 1})
        project.send("unknown", {"type": "generate", "number": start + 2})
        project.send("thumbnails", {"type": "unheard", "number": start + 3})
        project.send("thumbnails", {"type": "fail", "number": start + 4})
        project.send("letters", {"type": "generate", "bytes": "x", "number": start + 5})
        both(project, start + 6)
        project.await_handled(start + 6)
        shown = repr({"type": "generate", "bytes": b"x", "number": start + 5})

        def all_failed() -> dict[Any, Any]:
            told = {number_of(each): each for each in project.ended(*range(start, start + 5), shown)}
            assert len(told) == 6
            return told

        told = eventually(all_failed)
        assert {each["status"] for each in told.values()} == {"FAILED"}
        reasons = [told[start + number]["errors"] for number in range(5)] + [told[shown]["errors"]]
        for (error,), reason in zip(
            reasons,
            (
                "The event has no 'type'",
                "begins with an underscore",
                "No application configured for channel name 'unknown'",
                "No handler for message type unheard",
                "LookupError: no such picture",
                "event['bytes'] is of the type bytes",
            ),
            strict=True,
        ):
            assert reason in error
        assert listener.process.poll() is None


@pytest.mark.usefixtures("worker")
def test_a_listener_that_is_ended_and_started_again_and_again_loses_nothing_and_doubles_nothing(
    project: Project,
) -> None:
    start = next(numbers)
    events = range(start, start + EVENTS)
    for quarter in range(4):
        with listening(project) as listener:
            both(project, *events[quarter * 25 : quarter * 25 + 25])
            assert end(listener) == 0
    with listening(project):
        project.await_handled(*events)


@pytest.mark.usefixtures("worker")
def test_a_listener_that_is_killed_loses_or_doubles_no_more_than_what_it_had_in_hand(project: Project) -> None:
    start = next(numbers)
    events = range(start, start + EVENTS)
    with listening(project) as killed:
        both(project, *events)
        killed.process.kill()
        killed.process.wait()
    with listening(project):
        last = start + EVENTS
        both(project, last)
        project.await_handled(last)
        in_hand = len(("thumbnails", "letters"))
        eventually(lambda: check(len(project.handled(*events)) >= 2 * EVENTS - in_hand))
    assert sum(project.handled(*events).values()) <= 2 * EVENTS + in_hand


@pytest.mark.usefixtures("worker")
def test_events_outlive_a_broker_that_is_away(project: Project) -> None:
    start = next(numbers)
    with listening(project) as listener:
        project.broker.kill()
        both(project, *range(start, start + 10))
        eventually(lambda: check("has not become a task yet" in "\n".join(listener.lines)))
        project.broker.start()
        project.await_handled(*range(start, start + 10))


@pytest.mark.usefixtures("worker")
def test_a_listener_that_is_ended_while_the_broker_is_away_gives_back_what_it_has_in_hand(project: Project) -> None:
    start = next(numbers)
    with listening(project) as listener:
        project.broker.kill()
        both(project, *range(start, start + 5))
        eventually(lambda: check("has not become a task yet" in "\n".join(listener.lines)))
        assert end(listener) == 0
        assert "was given back to the layer" in "\n".join(listener.lines)
    project.broker.start()
    with listening(project):
        project.await_handled(*range(start, start + 5))


@pytest.mark.usefixtures("worker")
def test_a_listener_goes_on_when_a_layer_that_was_away_is_back(project: Project) -> None:
    start = next(numbers)
    with listening(project) as listener:
        project.layer.kill()
        eventually(lambda: check("The channel layer did not give the events" in "\n".join(listener.lines)))
        project.layer.start()
        both(project, *range(start, start + 10))
        project.await_handled(*range(start, start + 10))


@pytest.mark.usefixtures("worker")
def test_a_sender_whose_import_was_changed_needs_no_layer_and_no_listener(project: Project) -> None:
    start = next(numbers)
    ids = [
        project.send(channel, {"type": "generate", "number": start}, by="new_sender")
        for channel in ("thumbnails", "letters")
    ]
    project.await_handled(start)
    assert sorted(each["id"] for each in project.ended(start)) == sorted(ids)


@pytest.mark.usefixtures("worker")
def test_no_connection_to_the_layer_stays_behind_an_event(project: Project) -> None:
    start = next(numbers)
    client = redis.Redis(unix_socket_path=project.layer.path)

    def connections() -> int:
        return len(client.client_list())

    for number in range(start, start + 10):
        project.send("letters", {"type": "generate", "number": number}, by="new_sender")
    project.await_handled(*range(start, start + 10), channels=("letters",))
    before = connections()
    for number in range(start + 10, start + 60):
        project.send("letters", {"type": "generate", "number": number}, by="new_sender")
    project.await_handled(*range(start + 10, start + 60), channels=("letters",))
    eventually(lambda: check(connections() <= before + 2))
    client.close()


@pytest.mark.usefixtures("no_worker")
@pytest.mark.parametrize("channel", ["thumbnails", "letters"])
def test_an_event_whose_worker_is_killed_with_it_is_handled_by_the_next(project: Project, channel: str) -> None:
    start = next(numbers)
    doomed = project.worker()
    project.send(channel, {"type": "slow", "seconds": 3, "number": start}, by="new_sender")
    eventually(lambda: check([each["number"] for each in project.notes("begun") if each["number"] == start]))
    os.killpg(doomed.process.pid, signal.SIGKILL)
    doomed.process.wait()
    second = project.worker()
    project.await_handled(start, channels=(channel,))
    stop([second])
    assert project.ended(start)[-1]["attempts"] == 2


@pytest.mark.usefixtures("no_worker")
def test_an_event_whose_runworker_is_killed_with_it_is_lost(project: Project) -> None:
    # What the page on moving says of Channels' own worker.
    start = next(numbers)
    command = [sys.executable, "-m", "django", "runworker", "thumbnails"]
    with running(Child("runworker", command, env=project.env)) as doomed:
        project.send("thumbnails", {"type": "slow", "seconds": 60, "number": start})
        eventually(lambda: check([each for each in project.notes("begun") if each["number"] == start]))
        doomed.process.kill()
        doomed.process.wait()
    with running(Child("runworker", command, env=project.env)):
        project.send("thumbnails", {"type": "generate", "number": start + 1})
        eventually(lambda: check(project.handled(start + 1)))
    assert project.handled(start) == {}


@pytest.mark.usefixtures("no_worker")
@pytest.mark.parametrize(("pool", "concurrency"), [("threads", 4), ("solo", 1)])
def test_other_pools_run_the_consumers_too(project: Project, pool: str, concurrency: int) -> None:
    start = next(numbers)
    worker = project.worker(pool, concurrency)
    events = range(start, start + 20)
    for number in events:
        for channel in ("thumbnails", "letters"):
            project.send(channel, {"type": "generate", "number": number}, by="new_sender")
    project.await_handled(*events)
    if concurrency == 1:
        handled = [each["number"] for each in project.notes("handled") if each["channel"] == "letters"]
        assert [number for number in handled if number in events] == list(events)
    stop([worker])


def check(truth: object) -> None:
    assert truth
