"""Celery tasks that were adopted, on real workers: all of what they did goes on, and each run has a record.

One story for each pool on Redis, and one on RabbitMQ. Results are made before the adoption, by a worker that knows of none.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import redis

from example.servers import ROOT, Child, stop, wait_until
from integration.conftest import require
from integration.elsewhere.running import a_redis, env_of
from integration.rabbitmq import find_rabbitmq, rabbitmq

STORIES = {
    "prefork": ("-P", "prefork", "-c", "3"),
    "threads": ("-P", "threads", "-c", "3"),
    "solo": ("-P", "solo"),
    "RabbitMQ": ("-P", "prefork", "-c", "3"),
}
DATE = "2026-05-04 03:02:01+00:00"

Facts = dict[str, dict[str, Any]]

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module", params=STORIES)
def story(request: pytest.FixtureRequest, clean_environ: dict[str, str]) -> Iterator[dict[str, Any]]:
    """What was told of each task, with the hooks and errors that were noted."""
    with ExitStack() as servers:
        url, _ = servers.enter_context(a_redis(clean_environ))
        tasks = {
            "default": {
                "BACKEND": "tasks_celery.CeleryBackend",
                "QUEUES": ["default", "celery"],
                "OPTIONS": {"RESULTS": f"{url}?virtual_host=15"},
            }
        }
        mine: dict[str, Any] = {"MORE_APPS": ["integration.adopted"], "TASKS": tasks}
        if request.param == "RabbitMQ":
            require(find_rabbitmq(), "There is no rabbitmq-server here; install it.")
            mine |= {"CELERY_BROKER_URL": servers.enter_context(rabbitmq()), "CELERY_TASK_QUEUE_MAX_PRIORITY": 10}
        env = env_of(clean_environ, url, **mine) | {"DJANGO_SETTINGS_MODULE": "integration.adopted.settings"}
        options = STORIES[request.param]
        not_yet = env | {"ADOPTED_NOT_YET": "1"}
        with a_worker(not_yet, "-P", "threads", "-c", "2") as worker:
            old = drive("before", env=not_yet, worker=worker)
        with a_worker(env, *options) as worker:
            facts: Facts = drive("after", json.dumps(old), request.param, env=env, worker=worker)
        with redis.Redis.from_url(url.replace("redis+socket:", "unix:"), decode_responses=True) as client:
            hooks, errors = (client.lrange(key, 0, -1) for key in ("hooks", "errors"))
        yield {"facts": facts, "hooks": hooks, "errors": errors, "old": old, "name": request.param}


@contextmanager
def a_worker(env: dict[str, str], *options: str) -> Iterator[Child]:
    command = [sys.executable, "-m", "celery", "-A", "integration.adopted", "worker", "-l", "INFO", *options]
    child = Child("worker", command, env=env, ready_line=" ready.")
    try:
        wait_until(child.said_ready.is_set, what="worker", watch=[child])
        yield child
    finally:
        stop([child])


def drive(*args: str, env: dict[str, str], worker: Any) -> Any:
    command = [sys.executable, "-m", "integration.adopted.drive", *args]
    driven = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert driven.returncode == 0, driven.stderr + worker.last_lines(80)
    return json.loads(driven.stdout)


#: What `get` of AsyncResult gives, and so does `get_result`.
VALUES = {
    "enqueue": 3,
    "by its class": [4, 0],
    "asks again": 2,
    "is tried again": 1,
    "tells progress": "PROGRESS",
    "is replaced by its like": 22,
    "is replaced by Django's": 40,
    "is replaced by a plain one": 22,
    "delay": 3,
    "delay of Django's": 12,
    "delay of the adopted": 2,
    "countdown": 6,
    "send_task": 9,
    "chain": 34,
    "chain to a group": 13,
    "chord": 15,
    "chord, Django's end": 15,
    "linked": 2,
}


@pytest.mark.parametrize("name", VALUES)
def test_both_apis_tell_the_value(story: dict[str, Any], name: str) -> None:
    told = story["facts"][name]
    assert told["got"] == {"value": VALUES[name]}
    assert (told["told"]["status"], told["told"]["value"]) == ("SUCCESSFUL", VALUES[name])


FAILED = {
    "asks too often": (3, "builtins.KeyError"),
    "breaks": (1, "builtins.KeyError"),
    "enqueue failure": (1, "builtins.KeyError"),
    "ignore": (1, "celery.exceptions.Ignore"),
    "reject": (1, "celery.exceptions.Reject"),
    "expired": (0, "celery.exceptions.TaskRevokedError"),
    "is killed": (1, "billiard.exceptions.WorkerLostError"),
    "takes too long": (1, "billiard.exceptions.TimeLimitExceeded"),
}


NO_CHILD = ("is killed", "takes too long")
#: Where no child can be killed, and where the broker itself drops what has expired.
LEFT_OUT = {"threads": NO_CHILD, "solo": NO_CHILD, "RabbitMQ": ("expired",)}


@pytest.mark.parametrize("name", FAILED)
def test_each_ending_is_in_its_record(story: dict[str, Any], name: str) -> None:
    if name in LEFT_OUT.get(story["name"], ()):
        pytest.skip("not seen there")
    told = story["facts"][name]["told"]
    assert (told["status"], told["attempts"], told["errors"][-1]) == ("FAILED", *FAILED[name])


def test_what_celery_keeps_of_a_date_is_a_date_and_the_record_has_its_text(story: dict[str, Any]) -> None:
    told = story["facts"]["date"]
    assert told["got"] == {"value": ["datetime", DATE]}
    assert (told["told"]["status"], told["told"]["value"]) == ("SUCCESSFUL", DATE)


def test_nothing_of_what_is_ignored_is_stored_by_celery_and_the_record_has_it(story: dict[str, Any]) -> None:
    assert story["facts"]["forgets"]["told"]["value"] == 3


def test_its_class_says_what_is_sent_and_its_hooks_are_called(story: dict[str, Any]) -> None:
    for name, said in {"enqueue noted": [1, "nobody"], "delay noted": [2, "me"]}.items():
        facts = story["facts"][name]
        assert facts["got"] == {"value": [*said, "adopted.noted", facts["id"], 0, False]}
        assert facts["told"]["value"] == facts["got"]["value"]
        assert facts["told"]["kwargs"] == {"by": said[1]}
        assert hooks_of(story, facts) == ["before_start", "call", "on_success", "after_return"]
    assert hooks_of(story, story["facts"]["enqueue failure"]) == ["before_start", "call", "on_failure", "after_return"]


def hooks_of(story: dict[str, Any], facts: dict[str, Any]) -> list[str]:
    return [line.split()[0] for line in story["hooks"] if line.endswith(facts["id"])]


def test_each_step_of_a_canvas_has_its_record(story: dict[str, Any]) -> None:
    facts = story["facts"]
    assert [facts[name]["told"]["value"] for name in ("chain's first", "chain's second", "chain")] == [3, 30, 34]
    assert facts["linked, next"]["told"]["value"] == 42
    assert facts["sent by another"]["told"]["value"] == 11
    assert facts["chord, plain end"]["got"] == {"value": 15}
    assert facts["starmap"]["got"] == {"value": [3, 7]}
    assert story["errors"] == [facts["errback"]["id"]]


def test_old_results_are_readable_by_their_ids(story: dict[str, Any]) -> None:
    facts, old = story["facts"], story["old"]
    for name in ("good", "bad", "date"):
        assert facts[f"old {name}"]["got"] == old[name]["got"]
    good, bad = facts["old good"]["told"], facts["old bad"]["told"]
    assert (good["status"], good["value"], good["args"]) == ("SUCCESSFUL", 3, [1, 2])
    assert good["path"] == "integration.adopted.tasks.add"
    assert facts["old good"]["own"] == {"told": "3"}
    assert (bad["status"], bad["errors"]) == ("FAILED", ["builtins.KeyError"])
    assert facts["old date"]["told"]["value"] == DATE


def test_it_runs_here_and_directly_as_ever(story: dict[str, Any]) -> None:
    assert story["facts"]["directly"]["got"] == {"value": [2, 4]}
    assert story["facts"]["apply"]["told"]["value"] == 2
