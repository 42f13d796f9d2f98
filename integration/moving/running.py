"""Test process. The four versions as folders, and the workers, beats and producers of each as processes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from example.servers import ROOT, Child, stop, wait_until

HERE = Path(__file__).parent
VERSIONS = ("before", "adopted", "halfway", "moved")


def make_versions(folder: Path) -> None:
    """Write each version whole: what the one before it was, and the files that its deploy changes."""
    for number, version in enumerate(VERSIONS):
        for each in VERSIONS[: number + 1]:
            shutil.copytree(HERE / each, folder / version, dirs_exist_ok=True)


class Office:
    """The project on one broker: processes of any version, and what their tasks have left in Redis."""

    def __init__(
        self, folder: Path, environ: Mapping[str, str], *, broker: str, results: str, notes: str, queues: str | None
    ) -> None:
        self._folder = folder
        self._queues = queues
        self._environ = dict(environ) | {
            "DJANGO_SETTINGS_MODULE": "office.settings",
            "PYTHONUNBUFFERED": "1",
            "OFFICE_BROKER": broker,
            "OFFICE_RESULTS": results,
            "OFFICE_NOTES": notes,
            "OFFICE_DATABASE": str(folder / "db.sqlite3"),
        }
        self._producers: dict[str, Producer] = {}
        self.children: dict[str, Child] = {}
        self.log: list[str] = []

    def __enter__(self) -> Office:
        make_versions(self._folder)
        return self

    def __exit__(self, *args: object) -> None:
        for producer in self._producers.values():
            producer.end()
        stop(list(self.children.values()), within=3)

    def env(self, version: str) -> dict[str, str]:
        return self._environ | {"PYTHONPATH": str(self._folder / version), "OFFICE_VERSION": version}

    def manage(self, version: str, *args: str) -> str:
        """Run a management command of a version, and return what it says."""
        command = [sys.executable, "-m", "django", *args]
        env = self.env(version)
        done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def start_worker(self, version: str) -> None:
        queues = ("-Q", self._queues) if self._queues else ()
        self._start("worker", version, "-c", "2", "-n", f"{version}@office", *queues, ready_line=" ready.")

    def start_beat(self, version: str) -> None:
        self._start("beat", version, "-s", str(self._folder / "beat"), "--pidfile=", ready_line="beat: Starting")

    def _start(self, kind: str, version: str, *options: str, ready_line: str) -> None:
        command = [sys.executable, "-m", "celery", "-A", "office", kind, "-l", "INFO", *options]
        name = f"{kind} {version}"
        self.children[name] = Child(name, command, env=self.env(version), ready_line=ready_line)

    def wait_ready(self, name: str) -> None:
        child = self.children[name]
        wait_until(child.said_ready.is_set, what=name, watch=[child])

    def end(self, name: str) -> None:
        """Wait for the end of a process that was told to end."""
        child = self.children.pop(name)
        wait_until(lambda: child.process.poll() is not None, what=f"the end of {name}", limit=60)
        self.log += [f"{name} | {line}" for line in child.lines]
        stop([child])

    def ask(self, version: str, *line: Any) -> Any:
        """Have the producer of a version do something, and return its answer; it is started with the first."""
        producer = self._producers.get(version)
        if producer is None:
            producer = self._producers[version] = Producer(version, self.env(version))
        return producer.ask(*line)

    def last_lines(self) -> str:
        running = [f"{name} | {line}" for name, child in self.children.items() for line in child.lines]
        return "\n".join([*self.log, *running])


class Producer:
    """A process of one version that makes calls."""

    def __init__(self, version: str, env: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "integration.moving.produce"],
            cwd=ROOT,
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._version = version
        self._said: deque[str] = deque(maxlen=100)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._answer()

    def ask(self, *line: Any) -> Any:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()
        return json.loads(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            self._reader.join(timeout=2)
            raise AssertionError(f"the producer of {self._version} ended:\n" + "".join(self._said))
        return line

    def _read(self) -> None:
        assert self._process.stderr
        self._said.extend(self._process.stderr)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join(timeout=2)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe:
                pipe.close()
