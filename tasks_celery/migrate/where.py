"""Which folder is the project that a path belongs to: names can only be followed where all of it is read."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

_MARKS = ("manage.py", "pyproject.toml", "setup.py", "setup.cfg", ".git")


class WrongPathError(Exception):
    """Nothing can be read at a path that was given."""


class Where(NamedTuple):
    """A project, and what of it was asked for: all below `under`, relative to it, everything where that is empty."""

    root: Path
    under: str = ""

    def covers(self, path: str) -> bool:
        """Tell whether a path relative to the project was asked for."""
        return not self.under or path == self.under or path.startswith(f"{self.under}/")


def where(given: str | Path) -> Where:
    """Return the project of a file or a folder: that folder itself, unless it is a package inside of another.

    Raise WrongPathError for what does not exist, or is neither a folder nor a Python file.
    """
    path = Path(given)
    if not path.exists():
        raise WrongPathError(f"There is no {given}: name a folder, or a Python file.")
    if not path.is_dir() and path.suffix != ".py":
        raise WrongPathError(f"{given} is neither a folder nor a Python file (.py).")
    path = path.resolve()
    if path.is_dir() and not (path / "__init__.py").exists():
        return Where(path)
    root = _root(path)
    return Where(root, path.relative_to(root).as_posix())


def _root(path: Path) -> Path:
    """Return the nearest folder above that a project begins with, else the one that holds the outermost package."""
    for folder in path.parents:
        if any((folder / mark).exists() for mark in _MARKS):
            return folder
    return next(folder for folder in path.parents if not (folder / "__init__.py").exists())
