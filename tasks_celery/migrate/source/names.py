"""What a name refers to at a place in a file: the scopes between there and the top level, then the project."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from tasks_celery.migrate.finding import Anchor
from tasks_celery.migrate.source.modules import module_name
from tasks_celery.migrate.source.parsing import Lines, parse
from tasks_celery.migrate.source.project import Project
from tasks_celery.migrate.source.scopes import Scope, Scopes
from tasks_celery.migrate.source.summary import Summary, dotted, name_place


@dataclass(frozen=True, slots=True)
class Place:
    """A node with what is around it: `parents` from the innermost outwards, the module's tree last."""

    node: ast.AST
    parents: tuple[ast.AST, ...]

    @property
    def function(self) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
        """The innermost function around it."""
        return next((each for each in self.parents if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)), None)


class Names:
    """One file of a project, parsed, to be asked what is meant at which place.

    Raises `UnreadableError` for a text that cannot be parsed.
    """

    def __init__(self, path: str, text: str, module: str, project: Project, *, is_package: bool = False) -> None:
        self.path, self.text, self.module, self.project, self.is_package = path, text, module, project, is_package
        self.tree = parse(text)
        self.lines = Lines(text)

    @classmethod
    def of(cls, path: str, text: str, project: Project) -> Self:
        """Return the names of a file of the project, by its path."""
        known = project.by_path.get(path)
        module, is_package = (known.module, known.is_package) if known else module_name(path)
        return cls(path, text, module, project, is_package=is_package)

    @cached_property
    def scopes(self) -> Scopes:
        """The scopes of the file."""
        return Scopes(self.tree)

    def places(self) -> Iterator[Place]:
        """Yield every node with what is around it, from top to bottom."""
        return iter(self._places)

    @cached_property
    def _places(self) -> list[Place]:
        return [Place(node, parents) for node, parents in self.scopes.nodes]

    def origin(self, expression: ast.expr, place: Place) -> str | None:
        """Return what an expression at a place refers to, dotted and absolute; None where that cannot be proven.

        Names of local variables, parameters, loop variables and the like are never proven; imports inside a function are.
        """
        name = dotted(expression)
        if name is None:
            return None
        first, _, rest = name.partition(".")
        found = self.scope(expression, place).finds(first)
        if found is None or found.kind == "module":
            return self.project.resolve(self.module, name)
        targets = set(found.bound[first]) if all(isinstance(each, str) for each in found.bound[first]) else set()
        return self._imported(str(targets.pop()), rest) if len(targets) == 1 else None

    def scope(self, expression: ast.AST, place: Place) -> Scope:
        """Return the scope that an expression stands in; of one that is not of this tree, that of the place."""
        return self.scopes.of.get(id(expression)) or self.scopes.of.get(id(place.node)) or self.scopes.top

    def place_of(self, node: ast.AST) -> Place | None:
        """Return the place of a node of this tree."""
        return self._by_node.get(id(node))

    def uses_of(self, name: str, scope: Scope) -> list[Place]:
        """Return where a name that a scope binds is read, in it and in those within it."""
        return [each for each in self._reads.get(name, []) if self.scope(each.node, each).finds(name) is scope]

    @cached_property
    def _by_node(self) -> dict[int, Place]:
        return {id(each.node): each for each in self._places}

    @cached_property
    def _reads(self) -> dict[str, list[Place]]:
        found: dict[str, list[Place]] = {}
        for each in self._places:
            if isinstance(each.node, ast.Name) and isinstance(each.node.ctx, ast.Load):
                found.setdefault(each.node.id, []).append(each)
        return found

    def _imported(self, target: str, rest: str) -> str | None:
        summary = self.project.by_path.get(self.path) or Summary(self.module, self.path, self.is_package)
        return self.project.links.imported(summary, target, rest)

    def is_json(self, expression: ast.expr, place: Place) -> bool:
        """Return whether a value is known to be what JSON can hold, as it stands at a place."""
        from tasks_celery.migrate.source.json_values import JsonValues

        return JsonValues(self).knows_at(expression, place)

    def anchor(self, node: ast.AST) -> Anchor:
        """Return the place of the name that a node ends with: of a call that of what is called, of a definition its own."""
        match node:
            case ast.Call(func=func):
                return self.anchor(func)
            case ast.Attribute(attr=attr, end_lineno=int(line), end_col_offset=int(end)):
                return Anchor(line, self.lines.column(line, end) - len(attr))
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                return Anchor(*name_place(self.lines, node))
        line = getattr(node, "lineno", 1)
        return Anchor(line, self.lines.column(line, getattr(node, "col_offset", 0)))
