"""The soak, short: each layer with each log under every fault; and that it finds a consumer that reads no gap."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("channels_redis", reason="channels-redis is not installed; install the extra 'channels'")
pytest.importorskip("websockets", reason="websockets is not installed; sync the dependency group 'test'")

from integration.conftest import require
from integration.events.client import Heard
from integration.events.soak import FAULTS, Outcome, Plan, judge, soak
from integration.postgres import find_postgres, postgres

pytestmark = pytest.mark.timeout(180)

SECONDS = 5.0


@pytest.fixture
def directory() -> Iterator[Path]:
    require(shutil.which("redis-server") or shutil.which("valkey-server"), "No redis-server is here to be killed.")
    # Not tmp_path: the path of a socket has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="soak-", dir="/tmp", ignore_cleanup_errors=True) as directory:
        yield Path(directory)


@pytest.fixture
def postgres_host() -> Iterator[str]:
    require(find_postgres(), "PostgreSQL is not installed.")
    with postgres() as host:
        yield host


@pytest.fixture
def database(directory: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return Django's database of the run: PostgreSQL where it holds the log."""
    if request.node.callspec.params.get("log") == "redis":
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(directory / "db.sqlite3")}
    host = request.getfixturevalue("postgres_host")
    return {"ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "USER": "postgres", "HOST": host}


def told(outcome: Outcome, capsys: pytest.CaptureFixture[str]) -> str:
    """Print the counts, whatever pytest captures; return them with what the servers said last."""
    with capsys.disabled():
        print(f"\n  {outcome}")
    return f"{outcome}\n{outcome.last_lines}"


@pytest.mark.parametrize(
    ("layer", "log", "server"),
    [
        ("core", "redis", "daphne"),
        ("pubsub", "redis", "uvicorn"),
        ("core", "database", "uvicorn"),
        ("pubsub", "database", "daphne"),
    ],
)
def test_each_page_hears_all_once_and_in_order_whatever_dies(
    layer: str, log: str, server: str, directory: Path, database: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = soak(Plan(layer=layer, log=log, server=server, seconds=SECONDS), directory, database)
    seen = told(outcome, capsys)
    assert (outcome.missed, outcome.duplicates, outcome.out_of_order, outcome.resets) == (0, 0, 0, 0), seen
    # And it was no stroll: there were events, faults of each kind, and several lives of each page.
    assert outcome.events > 100, seen
    assert set(outcome.faults) == set(FAULTS), seen
    assert outcome.connected > 3 * outcome.plan.pages, seen
    # Nobody was taken for a stranger, and no consumer failed.
    assert not set(outcome.endings) & {"closed 4401", "closed 4403", "closed 1011"}, seen


@pytest.mark.parametrize("log", ["redis"])
def test_a_consumer_that_reads_no_gap_is_found_out(
    log: str, directory: Path, database: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    # The layer's losses are fault enough: what kills a connection has the page read the log, and hides a gap.
    outcome = soak(Plan(layer="core", log=log, seconds=SECONDS, breaks=True, faults=()), directory, database)
    assert outcome.missed > 0, told(outcome, capsys)


# --- how it counts --------------------------------------------------------------------------------------------


def outcome_of(*heard: tuple[str, int, str]) -> tuple[int, int, int]:
    outcome = Outcome(plan=Plan(layer="core", log="redis"))
    judge(outcome, ["a", "b", "c"], [Heard(*each) for each in heard])
    return outcome.missed, outcome.duplicates, outcome.out_of_order


def test_what_a_page_was_not_told_or_told_twice_or_late_is_counted() -> None:
    assert outcome_of(("e", 1, "a"), ("e", 2, "b"), ("e", 3, "c")) == (0, 0, 0)
    assert outcome_of(("e", 1, "a"), ("e", 3, "c")) == (1, 0, 0)
    assert outcome_of(("e", 1, "a"), ("e", 2, "b"), ("e", 2, "b"), ("e", 3, "c")) == (0, 1, 0)
    assert outcome_of(("e", 1, "a"), ("e", 3, "c"), ("e", 2, "b")) == (0, 0, 1)
    assert outcome_of(("e", 1, "a"), ("other", 2, "b"), ("other", 3, "c")) == (0, 0, 1)
    assert outcome_of() == (3, 0, 0)
