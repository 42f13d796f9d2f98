"""What all fixers are: transformers of a syntax tree that know by its place what they are to change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, NamedTuple

import libcst as cst
from libcst.metadata import PositionProvider

from tasks_celery.migrate.finding import Anchor, Finding


class Import(NamedTuple):
    """``from source import name as alias``; without a name, ``import source as alias``."""

    source: str
    name: str = ""
    alias: str = ""


class Fixer(cst.CSTTransformer):
    """Changes the nodes of the findings that name it, and decides nothing: what is here has been proven.

    `imports` are those that the changed code needs, `unimports` those that may have been needed before alone.
    """

    METADATA_DEPENDENCIES = (PositionProvider,)
    name: ClassVar[str]

    def __init__(self, findings: Iterable[Finding]) -> None:
        super().__init__()
        self.findings = {each.anchor: each for each in findings}
        self.imports: set[Import] = set()
        self.unimports: set[Import] = set()

    def finding(self, node: cst.CSTNode) -> Finding | None:
        """Return what is to be changed at an original node: the finding whose anchor is the node's own name."""
        name = own_name(node)
        if name is None or not self.findings:
            return None
        start = self.get_metadata(PositionProvider, name).start
        return self.findings.get(Anchor(start.line, start.column))


def own_name(node: cst.CSTNode) -> cst.Name | None:
    """Return the name that a node ends with: of a call that of what is called, of a definition its own."""
    match node:
        case cst.Call(func=func):
            return own_name(func)
        case cst.Attribute(attr=attr):
            return attr
        case cst.FunctionDef(name=name) | cst.ClassDef(name=name):
            return name
        case cst.Name():
            return node
    return None
