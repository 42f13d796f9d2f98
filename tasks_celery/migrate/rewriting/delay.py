"""``add.delay(1)`` becomes ``add.enqueue(1)``."""

from __future__ import annotations

import libcst as cst

from tasks_celery.migrate.rewriting.fixer import Fixer


class DelayFixer(Fixer):
    """Says ``enqueue`` for ``delay``; the arguments are the same."""

    name = "delay"

    def leave_Attribute(self, original_node: cst.Attribute, updated_node: cst.Attribute) -> cst.Attribute:  # noqa: N802  LibCST's
        if self.finding(original_node) is None:
            return updated_node
        return updated_node.with_changes(attr=cst.Name("enqueue"))
