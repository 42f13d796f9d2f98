"""How something that changed code needs is called at a place, and what has to be imported for it."""

from __future__ import annotations

import ast
from typing import NamedTuple

from tasks_celery.migrate.source import Names, Place


class Spelt(NamedTuple):
    """What to write, and the import that it needs: (module, name, alias); None where it is there already."""

    written: str
    needs: tuple[str, str, str] | None = None


def spelling(names: Names, place: Place, source: str, name: str) -> Spelt:
    """Return how ``name`` of the module ``source`` is to be written at a place."""
    bound = names.project.modules[names.module].bindings
    for written in (name, *bound, *(f"{each}.{name}" for each in bound)):
        if names.origin(ast.parse(written, mode="eval").body, place) == f"{source}.{name}":
            return Spelt(written)
    if not any(_is_bound(each, name) for each in ast.walk(names.tree)):
        return Spelt(name, (source, name, ""))
    alias = f"{source.rpartition('.')[2]}_{name}"
    return Spelt(alias, (source, name, alias))


def _is_bound(node: ast.AST, name: str) -> bool:
    match node:
        case ast.Name(id=found) | ast.arg(arg=found) | ast.FunctionDef(name=found) | ast.ClassDef(name=found):
            return found == name
        case ast.alias(name=imported, asname=alias):
            return (alias or imported) == name
    return False
