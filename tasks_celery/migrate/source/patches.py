"""What tests replace of a project's tasks: ``mock.patch("shop.tasks.add.delay")``, ``patch.object(add, "delay")`` and their like."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tasks_celery.migrate.source.project import Use
from tasks_celery.migrate.source.summary import dotted

if TYPE_CHECKING:
    from tasks_celery.migrate.source.names import Names, Place

#: What each patches, by the last names of what is called: a dotted text, an attribute of an object, or several of one.
_KINDS = {
    "patch": "text",
    "setattr": "either",
    "delattr": "either",
    "patch.object": "object",
    "patch.multiple": "several",
}
_OF_MULTIPLE = frozenset({"target", "spec", "create", "spec_set", "autospec", "new_callable"})


def is_patch(call: ast.Call) -> bool:
    """Return whether a call replaces something elsewhere."""
    return _kind(call) is not None


def patched(names: Names, place: Place, call: ast.Call) -> Iterator[Use]:
    """Yield what a call replaces of tasks."""
    kind = _kind(call)
    target = _given(call, 0, "target") if kind else None
    if target is None:
        return
    if kind == "several":
        found = [(one.arg, one.value) for one in call.keywords if one.arg and one.arg not in _OF_MULTIPLE]
        for word, at in found:
            yield from _of(names, place, target, word, at)
    elif (
        kind != "text" and isinstance(key := _given(call, 1, "attribute"), ast.Constant) and isinstance(key.value, str)
    ):
        yield from _of(names, place, target, key.value, key)
    if kind in {"text", "either"}:
        yield from _by_text(names, target)


def _kind(call: ast.Call) -> str | None:
    parts = (dotted(call.func) or "").split(".")
    return _KINDS.get(".".join(parts[-2:])) or _KINDS.get(parts[-1])


def _given(call: ast.Call, position: int, word: str) -> ast.expr | None:
    if len(call.args) > position:
        return call.args[position]
    return next((each.value for each in call.keywords if each.arg == word), None)


def _of(names: Names, place: Place, target: ast.expr, name: str, at: ast.expr) -> Iterator[Use]:
    """Yield the use that an attribute of an object is, or of what a text names."""
    of = target.value if isinstance(target, ast.Constant) else names.origin(target, place)
    found = names.project.task_at(names.project.origin(f"{of}.{name}")) if isinstance(of, str) else None
    if found is not None:
        yield Use(found[0].origin, names.path, names.anchor(at), f"patch:{found[1]}")


def _by_text(names: Names, target: ast.expr) -> Iterator[Use]:
    if isinstance(target, ast.Constant) and isinstance(target.value, str):
        found = names.project.task_at(names.project.origin(target.value))
        if found is not None:
            yield Use(found[0].origin, names.path, names.anchor(target), f"patch:{found[1]}")
        return
    # A text that is put together says only how it ends: it may mean any task of that name.
    parts = _end(target).split(".")
    for origin in names.project.tasks:
        short = origin.rpartition(".")[2]
        if short in parts:
            after = parts[parts.index(short) + 1 :]
            yield Use(origin, names.path, names.anchor(target), f"patch:{'.'.join(after)}")


def _end(node: ast.expr) -> str:
    match node:
        case ast.JoinedStr(values=[*_, ast.Constant(value=str(text))]) | ast.Constant(value=str(text)):
            return text
        case ast.BinOp(op=ast.Add(), right=right):
            return _end(right)
        case ast.BinOp(op=ast.Mod(), left=left) | ast.Call(func=ast.Attribute(attr="format", value=left)):
            return _end(left)
    return ""
