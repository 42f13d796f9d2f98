"""A project without a place for records: a check says so, results cannot be read, and tasks run all the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from example.servers import Child
from integration.conftest import eventually
from integration.elsewhere.running import a_worker, drive, env_of, manage


@pytest.fixture(scope="module")
def env(clean_environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A broker of files, and neither a result backend nor Redis."""
    folder = tmp_path_factory.mktemp("broker")
    for name in ("messages", "control"):
        (folder / name).mkdir()
    folders = {"data_folder_in": f"{folder}/messages", "data_folder_out": f"{folder}/messages"}
    mine: dict[str, Any] = {
        "TASKS": {"default": {"BACKEND": "tasks_celery.CeleryBackend", "QUEUES": ["default"]}},
        "CELERY_BROKER_URL": "filesystem://",
        "CELERY_BROKER_TRANSPORT_OPTIONS": folders | {"control_folder": f"{folder}/control"},
        "CELERY_RESULT_BACKEND": None,
    }
    return env_of(clean_environ, "redis://nobody.invalid:1/0", **mine)


@pytest.fixture(scope="module")
def worker(env: dict[str, str]) -> Iterator[Child]:
    with a_worker(env) as child:
        yield child


def test_a_check_says_so_and_how_to_cure_it(env: dict[str, str]) -> None:  # contract 48
    said = manage("check", env=env)
    assert "tasks_celery.W001" in said
    assert "HINT: Add 'tasks_celery.database' to INSTALLED_APPS, set OPTIONS['RESULTS'] to a Redis URL" in said


def test_results_cannot_be_read_and_the_task_runs(
    worker: Child, env: dict[str, str], tmp_path: Path
) -> None:  # contract 47
    mark = tmp_path / "mark"
    facts = drive("nowhere", str(mark), env=env, worker=worker)
    assert facts == {"supported": False, "status": "READY", "raised": "NotImplementedError"}

    def ran() -> None:
        assert mark.exists(), worker.last_lines(40)
        assert mark.read_text() == "done"

    eventually(ran)
