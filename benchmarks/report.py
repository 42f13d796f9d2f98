"""How long the report over a project of 5,000 Python files takes, and the rewrite of it: all processors, from a cold start."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Number
from benchmarks.project import write_project

ROUNDS = 3


def measure() -> Iterator[Number]:
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory, "shop")
        files = write_project(folder)
        size = sum(path.stat().st_size for path in folder.rglob("*.py"))
        unit = f"s over {files} files, {size / 2**20:.0f} MiB"
        yield Number(measure="report.seconds", value=_best("report", str(folder)), unit=unit)
        yield Number(measure="report.rewrite_seconds", value=_best("rewrite", str(folder)), unit=unit)


def _best(*command: str) -> float:
    """Return the seconds of the quickest of several runs of the command."""
    taken = []
    for _ in range(ROUNDS):
        begun = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "tasks_celery.migrate", *command, "--quiet"], check=True, stdout=subprocess.DEVNULL
        )
        taken.append(time.monotonic() - begun)
    return round(min(taken), 1)
