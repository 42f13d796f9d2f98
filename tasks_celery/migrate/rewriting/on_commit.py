"""``on_commit(lambda: add.delay(1))`` becomes ``add.enqueue(1)``, for the task itself waits for the commit."""

from __future__ import annotations

from typing import Any

import libcst as cst

from tasks_celery.migrate.finding import Finding
from tasks_celery.migrate.rewriting.apply_async import taken_apart
from tasks_celery.migrate.rewriting.fixer import Fixer, Import
from tasks_celery.migrate.rewriting.layout import commented


class OnCommitFixer(Fixer):
    """Takes the call out of what waits for the commit; Celery's own short ways to wait become Django's where that has to be."""

    name = "on-commit"

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:  # noqa: N802  LibCST's
        finding = self.finding(original_node)
        if finding is None:
            return updated_node
        self.unimports |= {Import("django.db", "transaction"), Import("functools", "partial")}
        self.unimports |= {Import("django.db.transaction", "on_commit"), Import("functools")}
        if finding.facts["form"] in ("lambda", "partial", "itself"):
            return commented(_taken_out(updated_node.args[0].value, finding.facts["form"]), of=updated_node)
        return self._celerys(updated_node, finding)

    def _celerys(self, call: cst.Call, finding: Finding) -> cst.Call:
        facts, func = finding.facts, cst.ensure_type(call.func, cst.Attribute)
        if facts["form"] == "enqueue":
            self.imports |= {Import(*each) for each in facts.get("imports", ())}
            if facts["attr"] == "apply_async":
                return taken_apart(call, func, facts)
            return call.with_changes(func=func.with_changes(attr=cst.Name("enqueue")))
        self.imports |= {Import(*each) for each in facts["imports"]}
        return _waiting(call, func, facts)


def _taken_out(given: cst.BaseExpression, form: str) -> cst.Call:
    match form, given:
        case "lambda", cst.Lambda(body=cst.Call() as call):
            return call
        case "partial", cst.Call(args=[first, *rest]):
            return given.with_changes(func=first.value, args=rest)
    return cst.Call(func=given)


def _waiting(call: cst.Call, func: cst.Attribute, facts: Any) -> cst.Call:
    """Return what Celery's own way does (celery/contrib/django/task.py), written out."""
    transaction, partial = facts["names"]
    first = cst.Arg(func.with_changes(attr=cst.Name(facts["attr"])))
    before = call.whitespace_before_args
    if call.args:
        after = before if isinstance(before, cst.ParenthesizedWhitespace) else cst.SimpleWhitespace(" ")
        first = first.with_changes(comma=cst.Comma(whitespace_after=after))
    held = call.with_changes(func=cst.parse_expression(partial), args=[first, *call.args], lpar=[], rpar=[])
    if isinstance(before, cst.ParenthesizedWhitespace):
        held = held.with_changes(
            whitespace_before_args=before.with_changes(first_line=cst.TrailingWhitespace(), empty_lines=[])
        )
    return cst.Call(
        func=cst.Attribute(cst.parse_expression(transaction), cst.Name("on_commit")),
        args=[cst.Arg(held)],
        lpar=call.lpar,
        rpar=call.rpar,
    )
