"""Test process. The example's schedules as those who deploy it keep them: what the code declares, and what the tables have."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from example.servers import ROOT
from integration.conftest import require_beat

pytestmark = pytest.mark.timeout(300)

SCHEDULES = """
    SELECT task.name, crontab.hour, interval.every, task.expire_seconds, task.enabled
    FROM django_celery_beat_periodictask AS task
    LEFT JOIN django_celery_beat_crontabschedule AS crontab ON crontab.id = task.crontab_id
    LEFT JOIN django_celery_beat_intervalschedule AS interval ON interval.id = task.interval_id
    ORDER BY task.name
"""
NIGHTLY = ("Digest, nightly", "3", None, None, 1)


class Checkout:
    """A copy of the example that a test may change, with a database of its own."""

    def __init__(self, root: Path, environ: dict[str, str]) -> None:
        shutil.copytree(ROOT / "example", root / "example", ignore=shutil.ignore_patterns("var", "__pycache__"))
        self.root = root
        self.env = environ | {"VAR_DIR": str(root / "var"), "DJANGO_SETTINGS_MODULE": "example.settings"}
        self.env["PYTHONPATH"] = os.pathsep.join((str(root), str(ROOT)))

    def manage(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a management command of the copy."""
        return subprocess.run(
            [sys.executable, "-m", "example.manage", *arguments],
            cwd=self.root, env=self.env | variables, capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip

    def migrate(self, **variables: str) -> str:
        """Run migrate, which has to work, and return what it printed."""
        done = self.manage("migrate", **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def tables(self) -> Iterator[sqlite3.Connection]:
        """The database itself, without the project's code."""
        with closing(sqlite3.connect(self.root / "var/db.sqlite3")) as connection, connection:
            yield connection

    def schedules(self) -> list[tuple[object, ...]]:
        """Return what the tables have: name, hour, seconds, seconds that a run may wait, whether it is enabled."""
        with self.tables() as tables:
            return tables.execute(SCHEDULES).fetchall()

    def change(self, before: str, after: str) -> None:
        """Change the module of the tasks."""
        tasks = self.root / "example/reports/tasks.py"
        assert before in tasks.read_text()
        tasks.write_text(tasks.read_text().replace(before, after))


@pytest.fixture(scope="module")
def migrated(clean_environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that was migrated, and never synced by hand."""
    require_beat()
    checkout = Checkout(tmp_path_factory.mktemp("migrated"), clean_environ)
    assert "+ Digest, nightly" in checkout.migrate()
    return checkout.root / "var"


@pytest.fixture
def checkout(migrated: Path, clean_environ: dict[str, str], tmp_path: Path) -> Checkout:
    shutil.copytree(migrated, tmp_path / "var")
    return Checkout(tmp_path, clean_environ)


def test_the_check_fails_when_a_decorator_was_changed_and_not_synced(checkout: Checkout) -> None:
    checkout.change('crontab("0 3 * * *"', 'crontab("30 4 * * *"')
    checked = checkout.manage("sync_schedules", "--check")
    assert checked.returncode == 1, checked.stdout + checked.stderr
    for told in ("~ Digest, nightly", "0 3 * * *", "30 4 * * *"):
        assert told in checked.stdout
    assert checkout.schedules() == [NIGHTLY]  # looked at, and left
    synced = checkout.manage("sync_schedules")
    assert synced.returncode == 0, synced.stdout + synced.stderr
    assert checkout.schedules() == [("Digest, nightly", "4", None, None, 1)]
    assert checkout.manage("sync_schedules", "--check").returncode == 0


def test_the_check_fails_when_a_setting_changed_what_is_declared(checkout: Checkout) -> None:
    checked = checkout.manage("sync_schedules", "--check", DIGEST_EVERY="30")
    assert checked.returncode == 1
    assert "+ Digest, often" in checked.stdout


def test_migrate_has_the_schedules_as_the_settings_say_and_forgets_those_of_before(checkout: Checkout) -> None:
    often = ("Digest, often", None, 30, 30, 1)
    checkout.migrate(DIGEST_EVERY="30")
    assert checkout.schedules() == [NIGHTLY, often]
    with checkout.tables() as tables:
        # As a clone has them from before there was @schedule; and one that a person made.
        columns = [row[1] for row in tables.execute("PRAGMA table_info(django_celery_beat_periodictask)")]
        others = ", ".join(column for column in columns if column not in ("id", "name"))
        for name in ("Digest, nightly at 03:00", "Digest, every DIGEST_EVERY seconds", "Made by a person"):
            tables.execute(
                f"INSERT INTO django_celery_beat_periodictask (name, {others}) "
                f"SELECT ?, {others} FROM django_celery_beat_periodictask WHERE name = 'Digest, often'",
                [name],
            )
        tables.execute("DELETE FROM django_migrations WHERE app = 'reports' AND name = '0003_schedules_from_code'")
    checkout.migrate()
    assert checkout.schedules() == [NIGHTLY, (*often[:4], 0), ("Made by a person", *often[1:])]
