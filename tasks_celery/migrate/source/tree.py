"""Which files of a folder belong to its project."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

#: Folders that hold what others wrote, or what is made from elsewhere.
SKIPPED = frozenset({"node_modules", "__pycache__", "site-packages", "bower_components"})
#: The same, unless they are packages of the project.
MADE = frozenset({"build", "dist", "venv", "env", "virtualenv"})
#: Bytes: what is larger was written by a program.
LARGEST = 2_000_000


@dataclass(slots=True)
class Tree:
    """The files of a project, relative to its folder, in order; and what of it is not read, with the reason."""

    files: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


def tree_of(folder: Path) -> Tree:
    """Return the Python files below a folder: none of virtual environments, hidden folders, and what is built or installed."""
    found = Tree()
    for path, entry in _walk(folder, "", found):
        try:
            is_large = entry.stat().st_size > LARGEST
        except OSError as error:
            found.skipped[path] = f"it cannot be read: {error.strerror}"
            continue
        if is_large:
            found.skipped[path] = "it has more than 2 MB"
        else:
            found.files.append(path)
    found.files.sort()
    return found


def _walk(folder: Path, prefix: str, found: Tree) -> Iterator[tuple[str, os.DirEntry[str]]]:
    todo = [(str(folder), prefix)]
    while todo:
        where, before = todo.pop()
        try:
            with os.scandir(where) as entries:
                every = list(entries)
        except OSError as error:
            found.skipped[before.rstrip("/") or "."] = f"it cannot be read: {error.strerror}"
            continue
        for entry in every:
            path = before + entry.name
            if entry.is_dir(follow_symlinks=False):
                if _is_project(entry):
                    todo.append((entry.path, f"{path}/"))
            elif entry.name.endswith(".py") and _is_file(entry):
                yield path, entry


def _is_file(entry: os.DirEntry[str]) -> bool:
    # A link that leads nowhere is yielded, to be told of; a pipe would never end.
    return entry.is_file() or entry.is_symlink() and not os.path.exists(entry.path)  # noqa: PTH110, RUF021


def _is_project(entry: os.DirEntry[str]) -> bool:
    if entry.name.startswith(".") or entry.name in SKIPPED or os.path.exists(f"{entry.path}/pyvenv.cfg"):  # noqa: PTH110
        return False
    return entry.name not in MADE or os.path.exists(f"{entry.path}/__init__.py")  # noqa: PTH110
