"""Values that can be read without running anything."""

from __future__ import annotations

import ast
from enum import Enum
from typing import Any, Final


class Plain(Enum):
    """Stands for a value that is not written down plainly: `NOT_PLAIN` is its one member."""

    NOT_PLAIN = "not plain"


NOT_PLAIN: Final = Plain.NOT_PLAIN


def plain(node: ast.expr) -> Any:
    """Return what a literal says; in dicts, lists and tuples, what is no literal is `NOT_PLAIN` in its place.

    A dict whose keys are not all known, or a list with a star in it, is `NOT_PLAIN` as a whole.
    """
    match node:
        case ast.Dict(keys=keys, values=values):
            return _dict([(key, value) for key, value in zip(keys, values, strict=True)])
        case ast.Call(func=ast.Name(id="dict"), args=[], keywords=words):
            return _dict([(ast.Constant(each.arg) if each.arg else None, each.value) for each in words])
        case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
            if any(isinstance(each, ast.Starred) for each in items):
                return NOT_PLAIN
            made = [plain(each) for each in items]
            return tuple(made) if isinstance(node, ast.Tuple) else made
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return NOT_PLAIN


def _dict(items: list[tuple[ast.expr | None, ast.expr]]) -> Any:
    made: dict[Any, Any] = {}
    for key, value in items:
        named = plain(key) if key is not None else NOT_PLAIN
        if not isinstance(named, str | int | float | bool | tuple | None):
            return NOT_PLAIN
        made[named] = plain(value)
    return made


def is_plain(value: Any) -> bool:
    """Return whether nothing in a value is `NOT_PLAIN`."""
    match value:
        case Plain():
            return False
        case dict():
            return all(is_plain(each) for each in value.values())
        case list() | tuple():
            return all(is_plain(each) for each in value)
    return True
