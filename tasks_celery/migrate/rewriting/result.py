"""``AsyncResult(id).ready()`` becomes ``default_task_backend.get_result(id).is_finished``."""

from __future__ import annotations

from collections.abc import Iterable

import libcst as cst
from libcst.metadata import PositionProvider

from tasks_celery.migrate.finding import Anchor, Finding
from tasks_celery.migrate.rewriting.fixer import Fixer, Import

_STATUSES = {"successful": "SUCCESSFUL", "failed": "FAILED"}


class ResultFixer(Fixer):
    """Asks Django's API for the result of an id, and says in its words what is used of it."""

    name = "result"

    def __init__(self, findings: Iterable[Finding]) -> None:
        super().__init__(findings)
        self.uses = {
            Anchor(line, column): (attr, alone, finding)
            for finding in self.findings.values()
            for line, column, attr, alone in finding.facts["uses"]
        }

    def leave_Attribute(self, original_node: cst.Attribute, updated_node: cst.Attribute) -> cst.Attribute:  # noqa: N802  LibCST's
        attr, _, _ = self._use(original_node) or ("", False, None)
        return updated_node.with_changes(attr=cst.Name("id")) if attr == "task_id" else updated_node

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:  # noqa: N802  LibCST's
        finding, use = self.finding(original_node), self._use(original_node.func)
        if finding is not None:
            self.imports |= {Import(*each) for each in finding.facts["imports"]}
            self.unimports |= {Import("celery.result", "AsyncResult"), Import("celery", "AsyncResult")}
            args = [each.with_changes(keyword=None, equal=cst.MaybeSentinel.DEFAULT) for each in updated_node.args]
            func = cst.Attribute(cst.parse_expression(finding.facts["backend"]), cst.Name("get_result"))
            return updated_node.with_changes(func=func, args=args)
        if use is not None and isinstance(updated_node.func, cst.Attribute):
            return _said(updated_node, updated_node.func, *use)
        return updated_node

    def _use(self, node: cst.BaseExpression) -> tuple[str, bool, Finding] | None:
        if not self.uses or not isinstance(node, cst.Attribute):
            return None
        start = self.get_metadata(PositionProvider, node.attr).start
        return self.uses.get(Anchor(start.line, start.column))


def _said(call: cst.Call, func: cst.Attribute, attr: str, alone: bool, finding: Finding) -> cst.BaseExpression:
    if attr == "ready":
        return func.with_changes(attr=cst.Name("is_finished"), lpar=call.lpar, rpar=call.rpar)
    status = cst.Attribute(cst.parse_expression(finding.facts["status"]), cst.Name(_STATUSES[attr]))
    bare = alone and not call.lpar
    return cst.Comparison(
        left=func.with_changes(attr=cst.Name("status")),
        comparisons=[cst.ComparisonTarget(cst.Equal(), status)],
        lpar=() if bare else call.lpar or [cst.LeftParen()],
        rpar=() if bare else call.rpar or [cst.RightParen()],
    )
