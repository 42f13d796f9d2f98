"""Schedules from migrations and from code, in real databases: forwards and backwards, side by side, and a beat that notices."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections, transaction
from pytest_django.plugin import DjangoDbBlocker

from example.servers import ROOT, Child, stop, wait_until
from integration.conftest import eventually, require
from integration.elsewhere.running import a_redis, celery
from integration.postgres import find_postgres, postgres
from tasks_celery.beat import every, schedule_task, unschedule_task
from tests.database.places import known_as

pytest.importorskip("django_celery_beat", reason="No release of it installs beside this Django.")
pytestmark = pytest.mark.timeout(300)

Database = dict[str, str]
Env = dict[str, str]
Told = list[dict[str, Any]]

COLLECT, COUNT = (f"integration.beat.letters.tasks.{name}" for name in ("collect", "count"))
CORNER, STATION = (
    {"From a migration": [COLLECT, "every second", f'{{"box": "{box}"}}', True]} for box in ("corner", "station")
)
CODE = {"From the code": [COUNT, "every 5 minutes", "{}", True]}
SYNCS = 4
SILENCE = 3.5  # seconds; of a schedule that ticked each second


@pytest.fixture(scope="module")
def postgres_host() -> Iterator[str]:
    require(find_postgres(), "There is no PostgreSQL server here; install postgresql.")
    with postgres() as directory:
        yield directory


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """A new database, as DATABASES has it."""
    if request.param == "sqlite":
        return on_sqlite(tmp_path / "db.sqlite3")
    host = request.getfixturevalue("postgres_host")
    name = f"letters_{time.monotonic_ns()}"
    subprocess.run(
        [f"{find_postgres()}/createdb", "-h", host, "-U", "postgres", name], check=True, capture_output=True, cwd="/"
    )
    return {"ENGINE": "django.db.backends.postgresql", "HOST": host, "NAME": name, "USER": "postgres"}


def on_sqlite(path: Path) -> Database:
    # A migration that has read before it writes would not wait for a beat that writes meanwhile.
    options = {"timeout": 30, "transaction_mode": "IMMEDIATE"}
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path), "OPTIONS": options}


@pytest.fixture
def env(clean_environ: Env, database: Database, tmp_path: Path) -> Env:
    return env_of(clean_environ, tmp_path, {"default": database})


def env_of(environ: Env, folder: Path, databases: dict[str, Database], **settings: Any) -> Env:
    return environ | {
        "DJANGO_SETTINGS_MODULE": "integration.beat.letters.settings",
        "PYTHONUNBUFFERED": "1",
        "LETTERS_FOLDER": str(folder),
        "LETTERS_SETTINGS": json.dumps({"DATABASES": databases, **settings}),
    }


def run(*args: str, env: Env) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *args]
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)


def drive(*commands: str, env: Env, using: str = "default") -> Told:
    """Run management commands in one process; return what each said, and the schedules after it."""
    split = json.dumps([command.split() for command in commands])
    driven = run("integration.beat.letters.drive", using, split, env=env)
    assert driven.returncode == 0, driven.stderr
    told: Told = json.loads(driven.stdout)
    return told


def after(told: Told) -> list[Any]:
    assert [each["error"] for each in told] == [None] * len(told)
    return [each["schedules"] for each in told]


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    return done.stderr.rstrip().splitlines()[-1]


def test_a_migration_that_lacks_its_dependency_fails_and_says_which(clean_environ: Env, tmp_path: Path) -> None:
    databases = {"default": on_sqlite(tmp_path / "db.sqlite3")}
    env = env_of(clean_environ, tmp_path, databases, MORE_APPS=["integration.beat.lacking"])
    done = run("django", "migrate", "lacking", env=env)
    assert done.returncode == 1
    assert 'it lacks dependencies = [("tasks_celery_beat", "0001_initial")].' in last_line(done)


def test_forwards_twice_in_a_row_and_backwards(env: Env) -> None:
    steps = ["migrate", "migrate letters 0002", "migrate letters 0001", "migrate"]
    assert after(drive(*steps, env=env)) == [STATION, CORNER, {}, STATION]


def test_in_another_database_than_the_default(env: Env, tmp_path: Path) -> None:
    databases = json.loads(env["LETTERS_SETTINGS"])["DATABASES"]
    both = {"default": on_sqlite(tmp_path / "untouched.sqlite3"), "letters": databases["default"]}
    env = env_of(env, tmp_path, both) | {"LETTERS_EVERY": "5"}
    steps = ["migrate letters 0002", "migrate tasks_celery_beat", "sync_schedules", "migrate letters 0001"]
    assert after(drive(*steps, env=env, using="letters")) == [CORNER, CORNER, CORNER | CODE, CODE]
    assert after(drive("migrate --plan", env=env)) == [None]


def test_what_the_code_declares_is_checked_and_written_by_the_command(env: Env) -> None:
    declaring = env | {"LETTERS_EVERY": "5"}
    too_early, _, checked, written, again = drive(
        "sync_schedules",
        "migrate letters 0002",
        "sync_schedules --check",
        "sync_schedules",
        "sync_schedules --check",
        env=declaring,
    )
    assert "run manage.py migrate first." in too_early["error"]
    assert checked["error"] == "1 schedule would change: run manage.py sync_schedules."
    assert checked["schedules"] == CORNER
    assert "+ From the code" in written["out"]
    assert written["schedules"] == CORNER | CODE
    assert (again["error"], "Nothing to do" in again["out"]) == (None, True)
    changed = run("django", "sync_schedules", "--check", env=env | {"LETTERS_EVERY": "6"})
    assert changed.returncode == 1
    assert "~ From the code\n    when: every 5 minutes -> every 6 minutes" in changed.stdout
    assert last_line(changed) == "CommandError: 1 schedule would change: run manage.py sync_schedules."
    (pruned,) = drive("sync_schedules --prune", env=env)
    assert "- From the code" in pruned["out"]
    assert pruned["schedules"] == CORNER


def test_a_tick_that_a_beat_takes_while_its_schedule_is_deleted_goes_with_it(
    postgres_host: str, django_db_blocker: DjangoDbBlocker
) -> None:
    def take_a_tick(row: Any) -> None:
        with transaction.atomic(using="raced"):
            rows = PeriodicTask.objects.using("raced").filter(pk=row.pk)
            rows.update(total_run_count=1)
            Tick.objects.using("raced").create(periodic_task_id=row.pk, at=datetime.now(UTC), result_id="x")
            taken.set()
            eventually(somebody_waits)
        connections.close_all()

    def somebody_waits() -> None:
        with connections["raced"].cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            assert cursor.fetchone() != (0,)

    from django_celery_beat.models import PeriodicTask

    from tasks_celery.beat.models import Tick
    from tests.beat.migrated import a_migrations

    taken, apps = threading.Event(), a_migrations()
    database = {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": postgres_host,
        "NAME": "postgres",
        "USER": "postgres",
    }
    with django_db_blocker.unblock(), known_as("raced", **database), ThreadPoolExecutor(1) as pool:
        call_command("migrate", "tasks_celery_beat", database="raced", verbosity=0)
        row = schedule_task(apps, "anything", every(seconds=1), name="Raced", using="raced")
        taking = pool.submit(take_a_tick, row)
        assert taken.wait(10)
        assert unschedule_task(apps, "Raced", using="raced")
        taking.result()
        assert not Tick.objects.using("raced").exists()


def test_of_syncs_at_the_same_time_one_writes_and_the_others_find_it_done(env: Env) -> None:
    drive("migrate letters 0001", "migrate tasks_celery_beat", env=env)
    declaring = env | {"LETTERS_EVERY": "5"}
    with ThreadPoolExecutor(SYNCS) as pool:
        said = list(pool.map(lambda _: run("django", "sync_schedules", env=declaring), range(SYNCS)))
    assert [each.returncode for each in said] == [0] * SYNCS, [each.stderr for each in said]
    assert sorted("written" in each.stdout for each in said) == [False] * (SYNCS - 1) + [True]
    assert after(drive("sync_schedules --check", env=declaring)) == [CODE]


def test_migrate_writes_what_the_code_declares_where_it_is_asked_to(clean_environ: Env, tmp_path: Path) -> None:
    databases = {"default": on_sqlite(tmp_path / "db.sqlite3")}
    env = env_of(clean_environ, tmp_path, databases, TASK_SCHEDULES={"SYNC_AFTER_MIGRATE": True})
    before, first, second = drive("migrate letters 0001", "migrate", "migrate", env=env | {"LETTERS_EVERY": "5"})
    assert (before["error"], "+ From the code" in before["out"], before["schedules"]) == (None, False, None)
    assert (first["error"], first["out"].count("+ From the code"), first["schedules"]) == (None, 1, STATION | CODE)
    assert (second["error"], "Schedules" in second["out"]) == (None, False)
    broken = run("django", "migrate", env=env | {"LETTERS_EVERY": "0"})
    assert broken.returncode == 1
    assert "CommandError: The migrations are applied, the schedules are not written." in broken.stderr
    assert "every(minutes=5)" in broken.stderr


def test_a_running_beat_notices_a_migration_forwards_and_backwards(env: Env, tmp_path: Path) -> None:
    drive("migrate letters 0001", "migrate tasks_celery_beat", env=env)
    with a_redis(env) as (url, _):
        env |= {"LETTERS_REDIS": url}
        children = [
            Child("beat", celery("beat", "-S", "django", "-l", "INFO"), env=env, ready_line="beat: Starting"),
            Child("worker", celery("worker", "-P", "solo", "-l", "INFO"), env=env, ready_line=" ready."),
        ]
        try:
            for child in children:
                wait_until(child.said_ready.is_set, what=child.name, watch=children)
            notices(env, tmp_path, lambda: "\n".join(child.last_lines(40) for child in children))
            assert [child.process.poll() for child in children] == [None, None]
        finally:
            stop(children)


def notices(env: Env, folder: Path, last_lines: Callable[[], str]) -> None:
    def is_collected(box: str) -> None:
        assert len(lines(folder / box)) >= 2, last_lines()

    def is_silent() -> None:
        assert time.time() - (folder / "station").stat().st_mtime > SILENCE, last_lines()

    drive("migrate letters 0002", env=env)
    eventually(lambda: is_collected("corner"))
    drive("migrate letters 0003", env=env)
    eventually(lambda: is_collected("station"))
    drive("migrate letters 0001", env=env)
    eventually(is_silent)
    drive("migrate letters 0002", env=env)
    before = len(lines(folder / "corner"))
    eventually(lambda: more_than(before, folder / "corner"))


def more_than(before: int, box: Path) -> None:
    assert len(lines(box)) > before


def lines(box: Path) -> list[str]:
    return box.read_text().splitlines() if box.exists() else []
