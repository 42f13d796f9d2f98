"""Which annotations promise values that JSON can hold."""

from __future__ import annotations

import ast

SCALARS = frozenset({"int", "str", "float", "bool", "None", "LiteralString"})
#: Of these, what stands in the brackets has to be JSON too.
HOLDERS = frozenset({
    "list", "dict", "tuple", "List", "Dict", "Tuple", "Sequence", "Mapping", "Optional", "Union", "Annotated", "Required",
    "NotRequired", "Final", "ClassVar",
})  # fmt: skip


def says_json(node: ast.expr | None, depth: int = 0) -> bool:  # noqa: PLR0911
    """Return whether an annotation names what JSON can hold: ``int | None``, ``list[str]``, ``"dict[str, int]"``."""
    match node:
        case _ if depth > 20:
            return False
        case ast.Constant(value=None):
            return True
        case ast.Constant(value=str(text)):
            return says_json(_parsed(text), depth + 1)
        case ast.Name() | ast.Attribute():
            return _last(node) in SCALARS
        case ast.BinOp(op=ast.BitOr(), left=left, right=right):
            return says_json(left, depth + 1) and says_json(right, depth + 1)
        case ast.Subscript(value=value, slice=inner):
            return _holds(_last(value), inner, depth)
    return False


def _holds(name: str, inner: ast.expr, depth: int) -> bool:
    items = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    if name == "Literal":
        return all(isinstance(each, ast.Constant | ast.UnaryOp) and not _is_bytes(each) for each in items)
    if name == "Annotated":
        items = items[:1]
    rest = [each for each in items if not (isinstance(each, ast.Constant) and each.value is ...)]
    return name in HOLDERS and all(says_json(each, depth + 1) for each in rest)


def _is_bytes(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, bytes)


def _parsed(text: str) -> ast.expr | None:
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError):
        return None


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
