"""The soak, long: each layer with each log, on each web server in turn, under every fault; what it counts has to be nothing."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from typing import Any

from benchmarks.harness import Number

#: Of work in each run; BENCH_SOAK_SECONDS asks for more.
SECONDS = 30.0


def measure() -> Iterator[Number]:
    from integration.events.soak import Plan, soak
    from integration.postgres import find_postgres, postgres

    seconds = float(os.environ.get("BENCH_SOAK_SECONDS", SECONDS))
    outcomes = []
    servers = cycle(["daphne", "uvicorn", "uvicorn", "daphne"])
    logs = ["redis", *(["database"] if find_postgres() else [])]
    if "database" not in logs:
        print("The log in the database is left out: PostgreSQL is not installed.", file=sys.stderr)
    for log in logs:
        for layer in ("core", "pubsub"):
            with ExitStack() as stack:
                directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-", dir="/tmp")))
                database: dict[str, Any] = {
                    "ENGINE": "django.db.backends.sqlite3",
                    "NAME": str(directory / "db.sqlite3"),
                }
                if log == "database":
                    host = stack.enter_context(postgres())
                    database = {
                        "ENGINE": "django.db.backends.postgresql",
                        "NAME": "postgres",
                        "USER": "postgres",
                        "HOST": host,
                    }
                outcome = soak(Plan(layer=layer, log=log, server=next(servers), seconds=seconds), directory, database)
            print(outcome, file=sys.stderr, flush=True)
            outcomes.append(outcome)
    for name, what in (
        ("missed", "missed"),
        ("duplicates", "twice"),
        ("out_of_order", "out of order"),
        ("resets", "resets"),
    ):
        count = sum(getattr(outcome, name) for outcome in outcomes)
        due = sum(outcome.due for outcome in outcomes)
        yield Number(measure=f"soak.{name}", value=count, unit=f"{what}, of {due} due, in {len(outcomes)} runs")
