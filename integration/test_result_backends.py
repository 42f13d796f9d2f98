"""Every result backend of Celery's that a project may have: AsyncResult says what it always said, get_result the truth.

One worker for each, with a Redis for the records. The same functions run as Django tasks and as plain Celery tasks.
"""

from __future__ import annotations

import getpass
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from example.servers import Child, stop, wait_until
from integration.conftest import require
from integration.elsewhere.running import a_redis, a_worker, drive, env_of, manage

SIDE_BY_SIDE = 3


@pytest.fixture(scope="module")
def redis_url(clean_environ: dict[str, str]) -> Iterator[str]:
    with a_redis(clean_environ) as (url, _):
        yield url


@contextmanager
def a_memcached(environ: dict[str, str], folder: Path) -> Iterator[tuple[Path, Child]]:
    """Run a memcached of these tests' own on a socket for this block."""
    binary = shutil.which("memcached")
    require(binary and find_spec("pymemcache"), "There is no memcached or no pymemcache here; install both.")
    path = folder / "m.sock"
    # Told who it is, for it refuses to be root unasked.
    server = Child("memcached", [str(binary), "-u", getpass.getuser(), "-s", str(path)], env=environ)
    try:
        wait_until(path.exists, what="memcached", watch=[server])
        yield path, server
    finally:
        stop([server])


@pytest.fixture(scope="module")
def memcached(clean_environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with a_memcached(clean_environ, tmp_path_factory.mktemp("memcached")) as (path, _):
        yield str(path)


#: Whose results another process can read, then whose only the sender can, then whose nobody can.
READABLE = ["redis", "django-db", "db+sqlite", "file", "memcached"]
SENDER_READS = [*READABLE, "rpc"]
SILENT = ["disabled", "ignored"]
BACKENDS = [*SENDER_READS, *SILENT]


def settings_of(backend: str, number: int, redis_url: str, memcached: str, folder: Path) -> dict[str, Any]:
    """Return what a project with this result backend has in its settings; the brokers are databases of one Redis."""
    mine = {"CELERY_BROKER_URL": f"{redis_url}?virtual_host={number}"}
    results = {
        "redis": f"{redis_url}?virtual_host={number}",
        "django-db": "django-db",
        "db+sqlite": f"db+sqlite:///{folder}/results.sqlite3",
        "file": f"file://{folder}",
        "memcached": f"cache+memcached://unix:{memcached}",
        "rpc": "rpc://",
        "disabled": None,
        "ignored": f"{redis_url}?virtual_host={number}",
    }
    mine["CELERY_RESULT_BACKEND"] = results[backend]
    mine["CELERY_TASK_IGNORE_RESULT"] = backend == "ignored"
    if backend == "django-db":
        mine["MORE_APPS"] = ["django_celery_results"]
        mine["DATABASES"] = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{folder}/db.sqlite3"}}
    return mine


@pytest.fixture(scope="module")
def said(
    clean_environ: dict[str, str], redis_url: str, memcached: str, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], dict[str, Any]]:
    """What was told of each backend, by its name."""

    def run(backend: str) -> dict[str, Any]:
        folder = folders[backend]
        env = env_of(
            clean_environ,
            redis_url,
            **settings_of(backend, BACKENDS.index(backend), redis_url, memcached, folder),
        )
        if backend == "django-db":
            manage("migrate", "-v0", env=env)
        with a_worker(env) as worker:
            facts: dict[str, Any] = drive("compare", env=env, worker=worker)
        return facts

    folders = {backend: tmp_path_factory.mktemp(backend.replace("+", "-")) for backend in BACKENDS}
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        running = {backend: pool.submit(run, backend) for backend in BACKENDS}
    return lambda backend: running[backend].result()


Said = Callable[[str], dict[str, Any]]


def without_frames(words: dict[str, Any]) -> dict[str, Any]:
    """Return words with the traceback from the function's own line on: what calls it differs."""
    traceback = words.get("traceback")
    if traceback is None:
        return words
    head, _, tail = traceback.rpartition("integration/elsewhere/tasks.py")
    assert head.startswith("Traceback (most recent call last):\n")
    return words | {"traceback": tail}


# --- what Celery says


@pytest.mark.parametrize("ending", ["success", "failure", "odd failure", "deep failure"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_celerys_result_is_that_of_a_plain_celery_task(said: Said, backend: str, ending: str) -> None:
    facts = said(backend)[ending]
    assert without_frames(facts["words"]) == without_frames(facts["plain"])


@pytest.mark.parametrize("backend", SENDER_READS)
def test_celerys_result_can_be_read(said: Said, backend: str) -> None:
    facts = said(backend)
    assert [facts[name]["words"]["state"] for name in ("success", "failure")] == ["SUCCESS", "FAILURE"]
    assert facts["success"]["words"]["result"] == "2.0"
    assert facts["failure"]["words"]["class"] == "builtins.ZeroDivisionError"
    assert facts["failure"]["words"]["traceback"].endswith("ZeroDivisionError: division by zero\n")
    assert facts["delay()"]["words"]["result"] == "4.0"


@pytest.mark.parametrize("backend", [*SENDER_READS, "ignored"])
def test_celery_says_of_an_unknown_id_what_it_says(said: Said, backend: str) -> None:
    words = said(backend)["unknown"]["words"]
    assert words == {"state": "PENDING", "result": "None", "class": "builtins.NoneType", "traceback": None}


@pytest.mark.parametrize("backend", [*SENDER_READS, "ignored"])
def test_a_task_that_ignores_its_result_leaves_celery_none(said: Said, backend: str) -> None:
    facts = said(backend)["forgotten"]
    assert facts["words"]["state"] == "PENDING"
    assert (facts["told"]["status"], facts["told"]["value"]) == ("SUCCESSFUL", 5)


def test_without_a_result_backend_celery_says_so(said: Said) -> None:
    assert "DisabledBackend" in said("disabled")["success"]["words"]["raises"]


# --- what get_result says


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_record_tells_the_truth(said: Said, backend: str) -> None:
    facts = said(backend)
    success, failure, odd, deep = (
        facts[name]["told"] for name in ("success", "failure", "odd failure", "deep failure")
    )
    assert (success["status"], success["value"], success["errors"]) == ("SUCCESSFUL", 2.0, [])
    assert (success["args"], success["queue"], success["attempts"]) == ([6, 3], "default", 1)
    assert (failure["status"], failure["value"]) == ("FAILED", None)
    assert failure["errors"] == ["builtins.ZeroDivisionError"]
    assert odd["errors"] == ["integration.elsewhere.far.Odd"]
    assert deep["errors"] == ["integration.elsewhere.far.Outer.Inner"]
    for told in (success, failure, odd, deep):
        times = [told[name] for name in ("enqueued_at", "started_at", "finished_at")]
        assert times == sorted(times)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_task_of_delay_has_a_record_too(said: Said, backend: str) -> None:
    facts = said(backend)["delay()"]
    assert (facts["told"]["status"], facts["told"]["value"], facts["told"]["args"]) == ("SUCCESSFUL", 4.0, [8, 2])
    assert facts["told"]["path"] == facts["path"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_id_that_nobody_knows_does_not_exist(said: Said, backend: str) -> None:  # contract 1, 11
    facts = said(backend)
    assert facts["unknown"]["told"] is None
    assert facts["odd"] == dict.fromkeys(facts["odd"])
    assert (facts["after the odd"] is not None) is (backend in READABLE)


@pytest.mark.parametrize("backend", READABLE)
def test_what_has_no_record_is_told_from_celerys_result(said: Said, backend: str) -> None:
    facts = said(backend)
    success, failure = facts["success"]["told of plain"], facts["failure"]["told of plain"]
    assert (success["status"], success["value"], success["path"]) == ("SUCCESSFUL", 2.0, "plain.divide")
    assert (success["args"], success["kwargs"], success["alias"]) == ([6, 3], {}, "default")
    assert len(success["workers"]) == 1
    assert (failure["status"], failure["errors"]) == ("FAILED", ["builtins.ZeroDivisionError"])
    assert failure["tracebacks"][0].endswith("ZeroDivisionError: division by zero\n")
    # contract 26: by the name it was stored under, for the module is not imported in the process that asks.
    assert facts["odd failure"]["told of plain"]["errors"] == ["integration.elsewhere.far.Odd"]
    assert facts["deep failure"]["told of plain"]["errors"] == ["integration.elsewhere.far.Outer.Inner"]


@pytest.mark.parametrize("backend", ["rpc", *SILENT])
def test_what_celery_keeps_for_nobody_else_does_not_exist(said: Said, backend: str) -> None:  # contract 47
    assert said(backend)["success"]["told of plain"] is None


# --- when it is away


TIMEOUT = 1.0


def env_within(environ: dict[str, str], redis_url: str, result_backend: str) -> dict[str, str]:
    """A project whose records answer and whose result backend does not."""
    options = {"RESULTS": f"{redis_url}?virtual_host=15", "TIMEOUT": TIMEOUT}
    tasks = {"default": {"BACKEND": "tasks_celery.CeleryBackend", "QUEUES": [], "OPTIONS": options}}
    return env_of(environ, redis_url, TASKS=tasks, CELERY_RESULT_BACKEND=result_backend)


def assert_store_error(answer: dict[str, Any]) -> None:
    assert answer["raised"] == "StoreError"
    assert answer["text"].startswith("Celery's result backend did not answer for the id 'nobody'")
    assert answer["caused"]
    assert answer["took"] < TIMEOUT + 1


def assert_frozen_and_back(answers: list[dict[str, Any]]) -> None:
    before, open_connection, new_connection, after = answers
    assert before["raised"] == after["raised"] == "TaskResultDoesNotExist"
    for answer in (open_connection, new_connection):
        assert_store_error(answer)


def test_a_frozen_redis_of_results_is_a_store_error_in_time(clean_environ: dict[str, str], redis_url: str) -> None:
    with a_redis(clean_environ) as (results, server):
        env = env_within(clean_environ, redis_url, results)
        assert_frozen_and_back(drive("down", str(server.process.pid), env=env))


def test_a_frozen_memcached_is_a_store_error_in_time(
    clean_environ: dict[str, str], redis_url: str, tmp_path: Path
) -> None:
    with a_memcached(clean_environ, tmp_path) as (path, server):
        env = env_within(clean_environ, redis_url, f"cache+memcached://unix:{path}")
        assert_frozen_and_back(drive("down", str(server.process.pid), env=env))


@pytest.mark.parametrize(
    "away",
    [
        "redis+socket:///no/such/socket",
        "redis://127.0.0.1:1/0",
        "cache+memcached://127.0.0.1:1/",
        "file:///no/such/folder",
    ],
)
def test_a_result_backend_that_is_not_there_is_a_store_error_in_time(
    clean_environ: dict[str, str], redis_url: str, away: str
) -> None:
    (answer,) = drive("down", env=env_within(clean_environ, redis_url, away))
    assert_store_error(answer)
