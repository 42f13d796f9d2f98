"""What the modules of a project are named, by their paths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath


def module_names(paths: Iterable[str]) -> dict[str, list[str]]:
    """Return the names that each file answers to, by its path: its own first, which no other file has.

    A module is named from the nearest folder that is no package (has no ``__init__.py``); where its own folder is none, from
    the nearest folder that modules are imported from: one named ``src``, one with a ``manage.py``, or the top. Two that
    would have one name, of two projects in one tree, are named from the top.
    """
    every = set(paths)
    names = {path: _names(path, every) for path in sorted(every)}
    often = Counter(found[0] for found in names.values())
    return {path: found if often[found[0]] == 1 else [found[-1], *found[:-1]] for path, found in names.items()}


def module_name(path: str) -> tuple[str, bool]:
    """Return the name of the module at a path relative to its root, and whether it is a package."""
    parts = path.removesuffix(".py").split("/")
    return ".".join(parts[:-1] if is_package(path) else parts), is_package(path)


def is_package(path: str) -> bool:
    """Return whether the file at a path is the one of a package itself."""
    return path.rpartition("/")[2] == "__init__.py"


def other_names(names: Mapping[str, list[str]]) -> dict[str, str]:
    """Return the names that modules answer to beside their own, with their own: those that are no other's."""
    own = {each[0] for each in names.values()}
    found: dict[str, set[str]] = {}
    for first, *rest in names.values():
        for each in rest:
            found.setdefault(each, set()).add(first)
    return {name: next(iter(owners)) for name, owners in found.items() if len(owners) == 1 and name not in own}


def _names(path: str, every: set[str]) -> list[str]:
    folders = [str(each) for each in PurePosixPath(path).parents]
    outside = [each for each in folders if each == "." or not _has(each, "__init__.py", every)]
    first = outside[0]
    if first == folders[0]:
        # It is in no package: a script, or a module of a namespace.
        first = next((each for each in folders if _is_root(each, every)), ".")
    roots = folders[folders.index(first) :]
    found = [name for each in roots if (name := _from(path, each)) and _is_importable(name)]
    return found or [path.removesuffix(".py").replace("/", ".")]


def _is_root(folder: str, every: set[str]) -> bool:
    return folder.rpartition("/")[2] == "src" or _has(folder, "manage.py", every)


def _is_importable(name: str) -> bool:
    return all(each.isidentifier() for each in name.split("."))


def _has(folder: str, name: str, every: set[str]) -> bool:
    return (name if folder == "." else f"{folder}/{name}") in every


def _from(path: str, root: str) -> str:
    return module_name(path if root == "." else path.removeprefix(f"{root}/"))[0]


def roots_of(names: Mapping[str, list[str]]) -> dict[str, str]:
    """Return what stands before the usual name of a module that shares it with another: ``one`` of ``one.shop.tasks``."""
    found = {}
    for own, *rest in names.values():
        usual = min(rest, key=len, default=own)
        if len(usual) < len(own):
            found[own] = own.removesuffix(f".{usual}")
    return found
