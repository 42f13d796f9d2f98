"""Web process. The workers that the endings come about on: one for all that it survives, one for each that ends it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from example.servers import Child, stop, wait_until

CONCURRENCY = {"prefork": 4, "threads": 8, "solo": 1, "gevent": 20}
MAIN, SECOND = "main", "second"
NOBODY = "nobody"  # a queue that the second worker alone comes to
START_WITHIN = 120.0  # seconds; several workers start side by side on two cores


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """An ending that takes the worker along: the task that runs meanwhile, the signal, and to whom."""

    task: str
    number: signal.Signals
    whole_group: bool = False


STOPS: dict[str, Stop] = {
    "warm shutdown (SIGTERM)": Stop(task="be_stopped", number=signal.SIGTERM),
    "cold shutdown (SIGQUIT)": Stop(task="be_stopped", number=signal.SIGQUIT),
    "cold shutdown (SIGQUIT), acks_late": Stop(task="be_stopped_late", number=signal.SIGQUIT),
    "worker killed with all its processes": Stop(task="be_stopped", number=signal.SIGKILL, whole_group=True),
    "worker killed with all its processes, acks_late": Stop(
        task="be_stopped_late", number=signal.SIGKILL, whole_group=True
    ),
}


@dataclass(slots=True)
class Workers:
    """The workers of one pool on one broker, each with queues of its own."""

    pool: str
    label: str
    children: dict[str, Child] = field(default_factory=dict)

    def queue(self, name: str) -> str:
        return f"{self.label}-{name}".replace(" ", "-")

    def node(self, name: str) -> str:
        return f"{self.queue(name)}@endings"

    def start(self, name: str, *queues: str) -> None:
        """Start a worker that listens to its own queue, or to those named."""
        queues = tuple(self.queue(queue) for queue in queues or (name,))
        command = [sys.executable, "-m", "celery", "-A", "tasks_celery", "worker", "-l", "INFO", "-P", self.pool]
        command += [
            "-c",
            str(CONCURRENCY[self.pool] if name == MAIN else 1),
            "-n",
            self.node(name),
            "-Q",
            ",".join(queues),
        ]
        self.children[name] = Child(name, command, env=_env(), ready_line=" ready.")

    def wait_ready(self) -> None:
        for child in self.children.values():
            wait_until(child.said_ready.is_set, what=child.name, watch=[child], limit=START_WITHIN)

    def pid(self, name: str) -> int:
        return self.children[name].process.pid

    def lines_about(self, result_id: str) -> list[str]:
        return [line for child in self.children.values() for line in child.lines if result_id in line]

    def end(self, name: str, ending: Stop) -> None:
        """Send the signal of an ending to a worker."""
        (os.killpg if ending.whole_group else os.kill)(self.pid(name), ending.number)

    def wait_gone(self, name: str) -> None:
        process = self.children[name].process
        wait_until(lambda: process.poll() is not None, what=f"the end of {name}", limit=60)

    def stop(self) -> None:
        stop(list(self.children.values()))


@contextlib.contextmanager
def workers(pool: str, label: str) -> Iterator[Workers]:
    running = Workers(pool=pool, label=label)
    try:
        yield running
    finally:
        running.stop()


def slug(ending: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in ending)


def _env() -> dict[str, Any]:
    return {name: value for name, value in os.environ.items() if name != "ENDINGS_DRIVER"}
