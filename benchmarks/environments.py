"""Environments of the benchmarks' own, in .venvs/: one for each package that is measured beside ours. They can be removed at any time."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

VENVS = Path(__file__).resolve().parent.parent / ".venvs"
#: What all have in the release of this environment.
SHARED = ("Django", "celery", "kombu", "redis", "packaging")  # the last is kombu's, for Redis


class NotInstalled(Exception):
    """A package could not be installed beside this Django."""


def environment(name: str, *requirements: str) -> Path:
    """Return the Python of an environment with these packages, which is made where it is not there yet.

    Raise NotInstalled with what the installer said.
    """
    wanted = [*(f"{package}=={version(package)}" for package in SHARED), *requirements]
    folder = VENVS / f"bench-{name}"
    python, note = folder / "bin" / "python", folder / "requirements"
    if not note.exists() or note.read_text().split() != [sys.version.split()[0], *wanted]:
        shutil.rmtree(folder, ignore_errors=True)
        for command in _commands(folder, python, wanted):
            _run(command)
        note.write_text("\n".join([sys.version.split()[0], *wanted]))
    return python


def _commands(folder: Path, python: Path, wanted: Sequence[str]) -> list[list[str]]:
    uv = next((each for each in ("uv", str(VENVS / "uv" / "bin" / "uv")) if _runs(each)), None)
    if uv:
        make = [uv, "venv", "--quiet", "--python", sys.executable, str(folder)]
        return [make, [uv, "pip", "install", "--quiet", "--python", str(python), *wanted]]
    make = [sys.executable, "-m", "venv", str(folder)]
    return [make, [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", *wanted]]


def _runs(uv: str) -> bool:
    # A shim of a version manager may be on PATH and not work.
    try:
        return subprocess.run([uv, "--version"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotInstalled((done.stderr or done.stdout).strip())
