"""A real beat and a real worker: schedules of every kind tick on time, and what they send is a task like any other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from statistics import median
from subprocess import PIPE
from typing import Any

import pytest

from example.servers import ROOT
from integration.beat.project.drive import ENOUGH, THREE
from integration.conftest import require
from integration.elsewhere.running import a_redis
from integration.rabbitmq import find_rabbitmq, rabbitmq

Told = dict[str, Any]

pytestmark = pytest.mark.timeout(300)  # the first test waits for the whole story

WITHIN = 200.0  # seconds for a story; an idle machine needs 100 at most, 60 of them until the next minute
STORIES = ["redis", "rabbitmq", "naive"]
SAYS = {"From code": "in code", "From a migration": "in a migration", "From the admin": "in the admin"}


@pytest.fixture(scope="module")
def redis_url(clean_environ: dict[str, str]) -> Iterator[str]:
    with a_redis(clean_environ) as (url, _):
        yield url


def run(story: str, environ: dict[str, str], folder: Path, redis_url: str, number: int, **more: str) -> Told:
    env = environ | {
        "DJANGO_SETTINGS_MODULE": "integration.beat.project.settings",
        "PYTHONUNBUFFERED": "1",
        # Each its own: a sweeper sends again what it finds without a message on its broker.
        "FIRING_RECORDS": f"{redis_url}?virtual_host={10 + number}",
        "FIRING_BROKER": f"{redis_url}?virtual_host={number}",
        "FIRING_FOLDER": str(folder),
        **more,
    }
    command = [sys.executable, "-m", "integration.beat.project.drive", story]
    with subprocess.Popen(command, env=env, cwd=ROOT, stdout=PIPE, stderr=PIPE, text=True) as driver:
        try:
            out, err = driver.communicate(timeout=WITHIN)
        except subprocess.TimeoutExpired:
            driver.terminate()  # it stops its beat and its worker
            out, err = driver.communicate()
    assert driver.returncode == 0, err
    told: Told = json.loads(out)
    return told


@pytest.fixture(scope="module")
def stories(
    clean_environ: dict[str, str], redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Told]]]:
    """What was seen of each story; they are told side by side."""

    def on_redis() -> Told:
        return run("everything", clean_environ, folders["redis"], redis_url, 0)

    def on_rabbitmq() -> Told:
        with rabbitmq() as url:
            return run("the_three", clean_environ, folders["rabbitmq"], redis_url, 1, FIRING_BROKER=url)

    def naive() -> Told:
        more = json.dumps({"USE_TZ": False})
        return run("the_three", clean_environ, folders["naive"], redis_url, 2, FIRING_SETTINGS=more)

    folders = {name: tmp_path_factory.mktemp(name) for name in STORIES}
    # Two at a time: they are on time only where the machine has time for them.
    with ThreadPoolExecutor(2) as pool:
        told = {"redis": pool.submit(on_redis), "naive": pool.submit(naive)}
        if find_rabbitmq():
            told["rabbitmq"] = pool.submit(on_rabbitmq)
        yield told


def of(stories: dict[str, Future[Told]], name: str) -> Told:
    require(name in stories, "There is no RabbitMQ here; install rabbitmq-server.")
    return stories[name].result()


@pytest.fixture(scope="module")
def told(stories: dict[str, Future[Told]]) -> Told:
    return stories["redis"].result()


def runs_of(told: Told, name: str) -> list[Told]:
    return [run for run in told["runs"] if run["schedule"] == name]


def outcomes(told: Told, name: str) -> list[str]:
    return [tick["outcome"] for tick in told["ticks"][name]]


def lateness(told: Told, name: str) -> list[float]:
    """Return how late each run began that a worker was there for when its tick came."""
    began = {run["id"]: run["time"] for run in runs_of(told, name)}
    return [
        began[tick["id"]] - tick["at"]
        for tick in told["ticks"][name]
        if tick["id"] in began and tick["at"] > told["worker ready"]
    ]


def on_time() -> float:
    """Return how many seconds after its tick a run may begin: one, where the machine is not far too busy."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1) / 2)


def said(told: Told, name: str, *words: str) -> list[str]:
    """Return the lines of beat's log about a schedule that have these words."""
    return [line for line in told["said"]["beat"] if f"Schedule {name}" in line and all(word in line for word in words)]


# --- from code, from a migration, from the admin


@pytest.mark.parametrize("name", THREE)
@pytest.mark.parametrize("story", STORIES)
def test_each_way_to_make_a_schedule_fires_within_a_second_of_its_tick(
    stories: dict[str, Future[Told]], story: str, name: str
) -> None:
    told = of(stories, story)
    late = lateness(told, name)
    assert len(late) >= ENOUGH
    assert min(late) >= 0
    # Of several, for a busy machine may be late once.
    assert median(late) < on_time()
    # The ticks are on a grid, which beat does not write down.
    grid = {round(tick["at"] % {"From a migration": 3}.get(name, 2), 3) for tick in told["ticks"][name]}
    assert len(grid) == 1


@pytest.mark.parametrize("name", THREE)
@pytest.mark.parametrize("story", STORIES)
def test_their_results_carry_the_schedules_name(stories: dict[str, Future[Told]], story: str, name: str) -> None:
    told = of(stories, story)
    result = told["results"][name]
    assert (result["status"], result["schedule"]) == ("SUCCESSFUL", name)
    assert result["celery's"] == name  # django-celery-results' own row
    assert {run["said"] for run in runs_of(told, name)} == {SAYS[name]}


@pytest.mark.parametrize("name", THREE)
@pytest.mark.parametrize("story", STORIES)
def test_each_tick_runs_once(stories: dict[str, Future[Told]], story: str, name: str) -> None:
    told = of(stories, story)
    ran = [run["id"] for run in runs_of(told, name)]
    assert len(ran) == len(set(ran))
    assert set(ran) <= {tick["id"] for tick in told["ticks"][name]}


@pytest.mark.parametrize("name", THREE)
@pytest.mark.parametrize("story", STORIES)
def test_task_enqueued_is_heard_in_beats_process(stories: dict[str, Future[Told]], story: str, name: str) -> None:
    told = of(stories, story)
    heard = [note for note in told["enqueued"] if note["schedule"] == name]
    sent = {tick["id"] for tick in told["ticks"][name] if tick["outcome"] == "sent"}
    # Beat may have been stopped before it noted that it had sent the last one.
    assert sent <= {note["id"] for note in heard} <= {tick["id"] for tick in told["ticks"][name]}
    assert {(note["pid"], note["status"]) for note in heard} == {(told["pids"]["beat"], "READY")}


# --- what beat sends


def test_a_web_process_sees_the_record_before_a_worker_takes_the_message(told: Told) -> None:
    assert told["waiting"] == {
        "status": "READY",
        "schedule": "Waits",
        "queue": "reports",
        "priority": -30,
        "started": False,
        "kwargs": {"said": "Waits"},
    }


def test_the_user_that_a_schedule_names_is_told_and_nobody_else(told: Told) -> None:
    assert [(event["event"], event["data"]["id"]) for event in told["heard"]["ann"]] == [
        ("announced", told["results"]["To Ann"]["id"])
    ]


def test_the_members_of_the_group_that_a_schedule_names_are_told_and_nobody_else(told: Told) -> None:
    assert [(event["event"], event["data"]["id"]) for event in told["heard"]["bob"]] == [
        ("announced", told["results"]["To the staff"]["id"])
    ]
    assert told["heard"]["admin"] == []


def test_a_plain_celery_task_runs_with_its_schedules_name(told: Told) -> None:
    assert len(runs_of(told, "Plain")) >= 2
    assert told["results"]["Plain"]["celery's"] == "Plain"


def test_a_message_that_waits_for_longer_than_it_may_is_not_run(told: Told) -> None:
    assert outcomes(told, "Expires") == ["sent"]
    assert runs_of(told, "Expires") == []
    assert told["results"]["Expires"]["status"] == "FAILED"


def test_a_run_by_hand_goes_the_same_way(told: Told) -> None:
    (run,) = runs_of(told, "Left out")
    assert told["by hand"] == {"id": run["id"], "schedule": "Left out"}


# --- the kinds of times


def test_a_clocked_schedule_fires_once_at_its_moment_and_is_disabled(told: Told) -> None:
    (run,) = runs_of(told, "Clocked")
    assert 0 <= run["time"] - told["clock"] < on_time()
    assert outcomes(told, "Clocked") == ["sent"]
    assert not told["rows"]["Clocked"]["enabled"]


def test_a_one_off_fires_once_and_is_disabled(told: Told) -> None:
    assert outcomes(told, "Waits") == ["sent"]
    assert len(runs_of(told, "Waits")) == 1
    assert not told["rows"]["Waits"]["enabled"]


def test_a_crontab_fires_at_the_minute(told: Told) -> None:
    late = lateness(told, "Each minute")
    assert late
    assert median(late) < on_time()
    assert {tick["at"] % 60 for tick in told["ticks"]["Each minute"]} == {0}


def test_a_solar_schedule_fires_as_the_sun_has_it(told: Told) -> None:
    require(told["noon"], "There is no ephem here; install celery[solar].")
    (run,) = runs_of(told, "Noon")
    assert 0 <= run["time"] - told["noon"] < on_time()


def test_a_schedule_that_ends_ticks_no_more_and_is_disabled(told: Told) -> None:
    assert not told["rows"]["Ends"]["enabled"]
    assert len(runs_of(told, "Ends")) >= 2
    assert max(tick["at"] for tick in told["ticks"]["Ends"]) < told["end"]


# --- what is not sent


def test_of_the_ticks_while_beat_was_down_one_is_sent(told: Told) -> None:
    assert outcomes(told, "Caught up") == ["sent"]
    assert len(runs_of(told, "Caught up")) == 1


def test_of_the_ticks_while_beat_was_down_none_is_sent_where_they_are_left_out(told: Told) -> None:
    assert outcomes(told, "Left out") == ["missed", "sent"]  # the second one by hand
    assert said(told, "Left out", "WARNING", "missed")


def test_of_the_ticks_while_beat_was_down_none_is_sent_that_has_expired(told: Told) -> None:
    assert outcomes(told, "Too late") == ["missed"]
    assert runs_of(told, "Too late") == []


def test_a_tick_that_finds_the_last_run_active_sends_nothing_and_says_so(told: Told) -> None:
    assert {"sent", "skipped"} == set(outcomes(told, "Long")) - {"taken"}
    ended = {note["id"]: note["time"] for note in told["ends"] if note["schedule"] == "Long"}
    runs = sorted(runs_of(told, "Long"), key=lambda run: run["time"])
    assert all(ended[one["id"]] <= other["time"] for one, other in pairwise(runs))
    skipped = [tick for tick in told["ticks"]["Long"] if tick["outcome"] == "skipped"]
    assert all("has not finished" in tick["reason"] for tick in skipped)
    assert len(said(told, "Long", "is skipped")) in (
        len(skipped),
        len(skipped) - 1,
    )  # it may be stopped before it says so


def test_a_row_that_cannot_be_sent_is_refused_and_keeps_no_other_from_being_sent(told: Told) -> None:
    assert {"refused"} == set(outcomes(told, "Wrong"))
    assert all("missing a required argument: 'said'" in tick["reason"] for tick in told["ticks"]["Wrong"])
    assert said(told, "Wrong", "ERROR", "refused")
    assert max(tick["at"] for tick in told["ticks"]["Plain"]) > min(tick["at"] for tick in told["ticks"]["Wrong"])


def test_a_check_of_the_database_names_the_row_that_cannot_be_sent_and_no_other(told: Told) -> None:
    ((found, message),) = told["checks"]
    assert found == "tasks_celery.W208"
    assert "The schedule 'Wrong'" in message


# --- what is changed while beat runs


def test_a_row_that_was_changed_past_django_celery_beat_is_noticed_without_a_restart(told: Told) -> None:
    first = min(run["time"] for run in runs_of(told, "Turned on"))
    # A look every 2 seconds, and one until its first tick.
    assert 0 < first - told["turned on"] < 2 + 1 + 2 * on_time()
