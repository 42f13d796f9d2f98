"""Which keys and fields of a file's models are no JSON: identifiers that are neither numbers nor texts."""

from __future__ import annotations

import ast
from collections.abc import Iterator

#: The fields whose values Django gives as numbers or texts.
SIMPLE = frozenset(
    f"{each}Field"
    for each in (
        "Auto", "BigAuto", "SmallAuto", "Integer", "BigInteger", "SmallInteger", "PositiveInteger", "PositiveBigInteger",
        "PositiveSmallInteger", "Char", "Slug", "Text", "Email", "URL", "OneToOne", "Boolean", "Float",
    )
) | {"ForeignKey"}  # fmt: skip


def odd_fields(tree: ast.Module, text: str) -> tuple[bool, frozenset[str]]:
    """Return whether a model has a primary key of another kind, and the fields that are named as keys and are of one."""
    if "Field" not in text and "UUID" not in text:
        return False, frozenset()
    odd, names = False, set()
    for node in _statements(tree.body):
        match node:
            case ast.ClassDef(bases=bases):
                odd = odd or any("UUID" in _last(each) for each in bases)
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=func, keywords=words)) if (
                _last(func).endswith("Field") and _last(func) not in SIMPLE
            ):
                odd = odd or any(_is_true(each) for each in words)
                names.add(name)
            case ast.Assign(targets=[ast.Name(id="DEFAULT_AUTO_FIELD")], value=ast.Constant(value=str(field))):
                odd = odd or field.rpartition(".")[2] not in SIMPLE
    return odd, frozenset(names)


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a module and of its classes, those of functions not."""
    for node in body:
        yield node
        for block in ("body", "orelse") if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else ():
            yield from _statements(getattr(node, block, []))


def _is_true(word: ast.keyword) -> bool:
    return word.arg == "primary_key" and not (isinstance(word.value, ast.Constant) and not word.value.value)


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
