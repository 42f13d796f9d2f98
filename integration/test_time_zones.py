"""Whatever zones a project and its Celery are set to, the times of a result are the project's, and are true."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from integration.elsewhere.running import a_redis, a_worker, drive, env_of, manage

SIDE_BY_SIDE = 3

ZONES: dict[str, dict[str, Any]] = {
    "Chicago": {"TIME_ZONE": "America/Chicago"},
    "Chicago, naive": {"TIME_ZONE": "America/Chicago", "USE_TZ": False},
    "Celery in Kathmandu": {"CELERY_ENABLE_UTC": False, "CELERY_TIMEZONE": "Asia/Kathmandu"},
    "both, naive": {
        "TIME_ZONE": "America/Chicago",
        "USE_TZ": False,
        "CELERY_ENABLE_UTC": False,
        "CELERY_TIMEZONE": "Asia/Kathmandu",
    },
}

#: Celery's results in columns that keep no zone.
ZONES["both, naive, in Django's database"] = ZONES["both, naive"] | {
    "MORE_APPS": ["django_celery_results"],
    "CELERY_RESULT_BACKEND": "django-db",
}
ZONES["both, naive, in a table"] = ZONES["both, naive"] | {
    "CELERY_RESULT_BACKEND": "db+sqlite:///{folder}/results.sqlite3"
}

Told = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module")
def told(clean_environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """What a project in these zones was told of its results; each has a worker of its own."""

    def run(zones: str) -> dict[str, Any]:
        number = list(ZONES).index(zones)
        broker = f"{url}?virtual_host={number}"
        mine = {"CELERY_BROKER_URL": broker, "CELERY_RESULT_BACKEND": broker} | ZONES[zones]
        mine["CELERY_RESULT_BACKEND"] = mine["CELERY_RESULT_BACKEND"].format(folder=folders[zones])
        database = {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{folders[zones]}/db.sqlite3"}
        # The processes' own zone is neither of them.
        env = env_of(clean_environ | {"TZ": "Pacific/Auckland"}, url, DATABASES={"default": database}, **mine)
        if "MORE_APPS" in mine:
            manage("migrate", "-v0", env=env)
        with a_worker(env) as worker:
            facts: dict[str, Any] = drive("zones", env=env, worker=worker)
        return facts

    folders = {zones: tmp_path_factory.mktemp("zones") for zones in ZONES}
    with a_redis(clean_environ) as (url, _), ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        running = {zones: pool.submit(run, zones) for zones in ZONES}
        yield lambda zones: running[zones].result()


@pytest.mark.parametrize("task", ["at once", "later", "plain"])
@pytest.mark.parametrize("zones", ZONES)
def test_finished_at_is_now_within_a_second(told: Told, zones: str, task: str) -> None:
    # Between the last look that found it unfinished and the first that did not, however long this machine takes to look.
    facts = told(zones)[task]
    assert facts["since unfinished"] > -1
    assert facts["ago"] >= 0


@pytest.mark.parametrize("task", ["at once", "later"])
@pytest.mark.parametrize("zones", ZONES)
def test_times_are_in_order_and_as_the_project_has_them(told: Told, zones: str, task: str) -> None:  # contract 43
    facts = told(zones)[task]
    assert facts["status"] == "SUCCESSFUL"
    assert facts["in order"]
    assert set(facts["aware"]) == {ZONES[zones].get("USE_TZ", True)}


@pytest.mark.parametrize("zones", ZONES)
def test_run_after_is_neither_early_nor_hours_late(told: Told, zones: str) -> None:  # contract 41
    # A zone mistaken is 5 hours off and more; a busy machine is not.
    assert -60 < told(zones)["later"]["early by"] <= 0


@pytest.mark.parametrize("zones", ZONES)
def test_what_is_read_equals_what_enqueue_returned(told: Told, zones: str) -> None:  # contract 4
    facts = told(zones)
    assert facts["the same when READY"]
    assert facts["at once"]["the same"]
    assert facts["later"]["the same"]


@pytest.mark.parametrize("zones", ZONES)
def test_a_plain_celery_tasks_time_is_the_projects_too(told: Told, zones: str) -> None:  # contract 43
    assert told(zones)["plain"]["aware"] == [ZONES[zones].get("USE_TZ", True)]
