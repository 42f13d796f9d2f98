"""Test process. A project on servers of its choice: its workers and beat, what is asked of it, and what its tasks noted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import redis

from example.servers import ROOT, Child, stop, wait_until
from integration.conftest import eventually
from integration.elsewhere.running import celery, env_of

START_WITHIN = 120.0  # seconds; a dozen of them start side by side on two cores


class Run(NamedTuple):
    """That a task has run: its id, and how many seconds after it was due."""

    id: str
    late: float


class Site:
    """The processes of one project; `settings` go over those of the elsewhere project."""

    def __init__(self, environ: Mapping[str, str], *, notes: str, broker: str, folder: Path, **settings: Any) -> None:
        self._folder = folder
        self._notes = redis.Redis.from_url(notes, decode_responses=True)
        mine = {"MORE_APPS": ["integration.asking.deferring"], "CELERY_BROKER_URL": broker} | settings
        self.env = env_of(environ, notes, **mine) | {"DEFERRING_NOTES": notes}
        self.children: dict[str, Child] = {}
        self._killed: list[Child] = []

    def start_worker(self, name: str, *options: str) -> None:
        """Start a worker; by default one of the usual pool, with one process."""
        command = celery("worker", "-n", f"{name}@deferring", "-l", "INFO", *(options or ("-P", "prefork", "-c", "1")))
        self._start(name, command, " ready.")

    def start_beat(self) -> None:
        schedule = str(self._folder / "schedule")
        self._start("beat", celery("beat", "-l", "INFO", "-s", schedule), "beat: Starting")

    def _start(self, name: str, command: list[str], ready_line: str) -> None:
        self.children[name] = Child(name, command, env=self.env, ready_line=ready_line)

    def wait_ready(self) -> None:
        for child in self.children.values():
            wait_until(child.said_ready.is_set, what=child.name, watch=[child], limit=START_WITHIN)

    def kill(self, *names: str) -> None:
        """Kill processes with all their children, so that they can do nothing about it."""
        for name in names:
            child = self.children.pop(name)
            os.killpg(child.process.pid, signal.SIGKILL)
            child.process.wait()
            self._killed.append(child)

    def stop(self) -> None:
        stop(list(self.children.values()))
        self._notes.close()

    def drive(self, verb: str, *arguments: Any) -> Any:
        """Have a web process of the project do something, and return what it told."""
        command = [sys.executable, "-m", "integration.asking.deferring.drive", verb, *map(json.dumps, arguments)]
        driven = subprocess.run(
            command, env=self.env, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False
        )
        assert driven.returncode == 0, driven.stderr
        return json.loads(driven.stdout)

    def enqueue(self, **orders: dict[str, Any]) -> dict[str, list[str]]:
        """Enqueue what is ordered under each label, and return the ids."""
        told = self.drive("enqueue", *_labelled(orders))
        return dict(zip(orders, told, strict=True))

    def enqueue_and_look(
        self, seconds: float, **orders: dict[str, Any]
    ) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """Do the same, and return what is known of each id so many seconds later, too."""
        ids, statuses = self.drive("enqueue_and_look", seconds, *_labelled(orders))
        return dict(zip(orders, ids, strict=True)), dict(zip(orders, statuses, strict=True))

    def runs(self, label: str) -> list[Run]:
        """Return the runs of the tasks with a label so far."""
        noted = [text.split() for text in self._notes.lrange(f"runs:{label}", 0, -1)]
        return [Run(result_id, float(late)) for result_id, late in noted]

    def wait_for(self, label: str, ids: list[str], *, within: float = 150) -> None:
        """Wait until each task with a label has run, and fail with the last words of the site if they do not."""

        def check() -> None:
            missing = set(ids) - {run.id for run in self.runs(label)}
            assert not missing, f"{len(missing)} of {label} have not run\n{self.last_words()}"

        eventually(check, within=within)

    def last_words(self) -> str:
        return "\n".join(child.last_lines(25) for child in self.children.values())

    def received(self, ids: list[str]) -> list[int]:
        """Return how often workers have taken the message of each task from the broker."""
        lines = [line for child in (*self.children.values(), *self._killed) for line in child.lines]
        said = [line for line in lines if line.endswith(" received")]
        return [sum(result_id in line for line in said) for result_id in ids]


def _labelled(orders: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"label": label} | order for label, order in orders.items()]
