"""Several fixers on one tree, in one walk: each looks its nodes up in the original, and changes what the one before made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import libcst as cst
from libcst.metadata import PositionProvider

from tasks_celery.migrate.rewriting.fixer import Fixer


class Together(cst.CSTTransformer):
    """The walk of several fixers."""

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self, fixers: Sequence[Fixer]) -> None:
        super().__init__()
        self.fixers = fixers

    def on_visit(self, node: cst.CSTNode) -> bool:
        for fixer in self.fixers:
            fixer.metadata = self.metadata
            fixer.on_visit(node)
        return True

    def on_leave(self, original_node: Any, updated_node: Any) -> Any:
        for fixer in self.fixers:
            updated_node = fixer.on_leave(original_node, updated_node)
            if not isinstance(updated_node, cst.CSTNode):  # removed, or become several
                break
        return updated_node
