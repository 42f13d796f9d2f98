"""An entry of beat's settings goes away, and ``@schedule`` comes above its task."""

from __future__ import annotations

import libcst as cst
from libcst.metadata import PositionProvider

from tasks_celery.migrate.finding import Anchor
from tasks_celery.migrate.rewriting.fixer import Fixer, Import


class ScheduleFixer(Fixer):
    """``"digest": {"task": "shop.tasks.digest", "schedule": 300}`` becomes ``@schedule(every(seconds=300), name="digest")``."""

    name = "schedule"

    def leave_FunctionDef(self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef) -> cst.FunctionDef:  # noqa: N802  as LibCST calls it
        found = self.finding(original_node)
        if found is None:
            return updated_node
        self.imports |= {Import("tasks_celery.beat", name, alias) for name, alias in found.facts["imports"]}
        added = [cst.Decorator(cst.parse_expression(each)) for each in found.facts["decorators"]]
        return updated_node.with_changes(decorators=[*added, *updated_node.decorators])

    def leave_Dict(self, original_node: cst.Dict, updated_node: cst.Dict) -> cst.Dict:  # noqa: N802  as LibCST calls it
        pairs = zip(original_node.elements, updated_node.elements, strict=True)
        kept = [after for before, after in pairs if not self._goes(before)]
        if len(kept) == len(updated_node.elements):
            return updated_node
        if not kept:
            return updated_node.with_changes(elements=[], lbrace=cst.LeftCurlyBrace(), rbrace=cst.RightCurlyBrace())
        # What ended the last entry ends the one that is last now.
        kept[-1] = kept[-1].with_changes(comma=updated_node.elements[-1].comma)
        return updated_node.with_changes(elements=kept)

    def _goes(self, element: cst.BaseDictElement) -> bool:
        if not self.findings or not isinstance(element, cst.DictElement):
            return False
        start = self.get_metadata(PositionProvider, element.key).start
        found = self.findings.get(Anchor(start.line, start.column))
        return found is not None and "entry" in found.facts
