"""What a bound task does with its first parameter, done with Django's context."""

from __future__ import annotations

from typing import Any

import libcst as cst
from libcst.metadata import PositionProvider

from tasks_celery.migrate.finding import Anchor
from tasks_celery.migrate.rewriting.fixer import Fixer

_WRITTEN = {"id": "context.task_result.id", "retries": "context.retries"}


class ContextFixer(Fixer):
    """``self.request.id`` becomes ``context.task_result.id``, in the functions of its findings."""

    name = "context"

    def __init__(self, findings: Any) -> None:
        super().__init__(findings)
        self._edits: dict[Anchor, str] = {
            Anchor(line, column): how for each in self.findings.values() for line, column, how in each.facts["edits"]
        }

    def leave_FunctionDef(self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef) -> cst.FunctionDef:  # noqa: N802  as LibCST calls it
        found = self.finding(original_node)
        if found is None or not found.facts["bound"]:
            return updated_node
        parameters = updated_node.params
        kind = "posonly_params" if parameters.posonly_params else "params"
        first, *others = getattr(parameters, kind)
        # An annotation said that it is Celery's task.
        renamed = first.with_changes(name=cst.Name("context"), annotation=None)
        return updated_node.with_changes(params=parameters.with_changes(**{kind: [renamed, *others]}))

    def leave_Attribute(self, original_node: cst.Attribute, updated_node: cst.Attribute) -> cst.BaseExpression:  # noqa: N802  as LibCST calls it
        how = self._how(original_node)
        if how == "retry" and isinstance(original_node.value, cst.Name):
            return updated_node.with_changes(value=cst.Name("context"))
        if how in _WRITTEN and isinstance(original_node.value, cst.Attribute):
            written = cst.parse_expression(_WRITTEN[how])
            return written.with_changes(lpar=updated_node.lpar, rpar=updated_node.rpar)
        return updated_node

    def _how(self, node: cst.Attribute) -> str:
        base = node.value.value if isinstance(node.value, cst.Attribute) else node.value
        if not isinstance(base, cst.Name):
            return ""
        start = self.get_metadata(PositionProvider, base).start
        return self._edits.get(Anchor(start.line, start.column), "")
