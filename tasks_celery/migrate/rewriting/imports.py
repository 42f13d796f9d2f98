"""The imports that a rewritten module needs, and those that it needs no more."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from itertools import dropwhile

import libcst as cst
from libcst.codemod import CodemodContext
from libcst.codemod.visitors import RemoveImportsVisitor
from libcst.helpers import get_full_name_for_node

from tasks_celery.migrate.rewriting.fixer import Fixer, Import

_IMPORTS = (cst.Import, cst.ImportFrom)


def with_imports(module: cst.Module, fixers: Sequence[Fixer], name: str) -> cst.Module:
    """Return a module, called `name`, with the imports that its fixers ask for, and without those that nothing uses now."""
    for each in sorted(set().union(*(fixer.imports for fixer in fixers)), key=str):
        module = _with(module, each)
    unimports = sorted(set().union(*(fixer.unimports for fixer in fixers)), key=str)
    return (
        _from_the_top(_without(module, unimports, CodemodContext(full_module_name=name)), module)
        if unimports
        else module
    )


def _with(module: cst.Module, needed: Import) -> cst.Module:
    """Return a module with an import: in a line that imports from there already, else after the imports at its top.

    LibCST's own AddImportsVisitor does so too, and takes more time than all the rest of a rewrite.
    """
    at = 0
    for number, line in enumerate(module.body):
        match line:
            case cst.SimpleStatementLine(body=[cst.ImportFrom(relative=[], names=[*aliases]) as found]):
                if _is_from(found, needed):
                    if any(_binds(each, needed) for each in aliases):
                        return module
                    if needed.name and found.lpar is None:
                        return _at(module, number, [_longer(line, found, aliases, needed)], instead=True)
                at = number + 1
            case cst.SimpleStatementLine(body=[cst.Import(names=[*aliases])]):
                if not needed.name and any(each.evaluated_name == needed.source for each in aliases):
                    return module
                at = number + 1
            case cst.SimpleStatementLine(body=body) if all(isinstance(each, _IMPORTS) for each in body):
                at = number + 1
            case cst.If() | cst.Try():
                pass  # imports for some cases
            case cst.SimpleStatementLine(body=[cst.Expr(value=cst.SimpleString())]) if not number:
                at = 1
            case _:
                break
    new = cst.ensure_type(cst.parse_statement(_written(needed)), cst.SimpleStatementLine)
    if at == 1 and isinstance(cst.ensure_type(module.body[0], cst.SimpleStatementLine).body[0], cst.Expr):
        new = new.with_changes(leading_lines=[cst.EmptyLine(indent=False)])
    return _at(module, at, [new])


def _at(
    module: cst.Module, number: int, lines: Sequence[cst.SimpleStatementLine], *, instead: bool = False
) -> cst.Module:
    return module.with_changes(body=[*module.body[:number], *lines, *module.body[number + instead :]])


def _is_from(found: cst.ImportFrom, needed: Import) -> bool:
    return found.module is not None and get_full_name_for_node(found.module) == needed.source


def _binds(each: cst.ImportAlias, needed: Import) -> bool:
    return (each.evaluated_name, each.evaluated_alias or "") == (needed.name, needed.alias)


def _longer(
    line: cst.SimpleStatementLine, found: cst.ImportFrom, aliases: Sequence[cst.ImportAlias], needed: Import
) -> cst.SimpleStatementLine:
    """Return the line of an import with one name more."""
    comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
    name = cst.ImportAlias(cst.Name(needed.name), cst.AsName(cst.Name(needed.alias)) if needed.alias else None)
    names = [*aliases[:-1], aliases[-1].with_changes(comma=comma), name]
    return line.with_changes(body=[found.with_changes(names=names)])


def _written(needed: Import) -> str:
    alias = f" as {needed.alias}" if needed.alias else ""
    return f"from {needed.source} import {needed.name}{alias}" if needed.name else f"import {needed.source}{alias}"


def _without(module: cst.Module, unimports: Sequence[Import], context: CodemodContext) -> cst.Module:
    """Return a module without imports that nothing uses: one whose name stands nowhere else is certain to be such."""
    for each in unimports:
        alone = [line for line in module.body if _imports_alone(line, each)]
        if len(alone) == 1 and _times(module, each) == 1:
            module = module.with_changes(body=[line for line in module.body if line is not alone[0]])
    others = [each for each in unimports if _times(module, each) and not _is_used(module, each)]
    for source, imported, alias in others:
        RemoveImportsVisitor.remove_unused_import(context, source, imported or None, alias or None)
    return RemoveImportsVisitor(context).transform_module(module) if others else module


def _times(module: cst.Module, unimport: Import) -> int:
    return len(re.findall(rf"\b{re.escape(unimport.alias or unimport.name or unimport.source)}\b", module.code))


def _is_used(module: cst.Module, unimport: Import) -> bool:
    """Whether the code reads the name: then it stays, and LibCST's visitor need not find that out in its own, slow way."""
    name = unimport.alias or unimport.name or unimport.source.partition(".")[0]
    return any(isinstance(each, ast.Name) and each.id == name for each in ast.walk(ast.parse(module.code)))


def _imports_alone(line: cst.CSTNode, unimport: Import) -> bool:
    """Whether a statement is this import, of nothing else and without a comment."""
    match line:
        case cst.SimpleStatementLine(
            body=[cst.ImportFrom(module=cst.CSTNode() as source, names=[cst.ImportAlias() as only], relative=[])]
        ):
            written = (get_full_name_for_node(source), only.evaluated_name, only.evaluated_alias or "")
            return written == tuple(unimport) and "#" not in cst.Module([line]).code
    return False


def _from_the_top(module: cst.Module, before: cst.Module) -> cst.Module:
    """Return a module without the blank lines that a removed first statement has left at its top."""
    if before.header or not module.body or module.body[0] is before.body[0]:
        return module
    first = module.body[0]
    lines = list(dropwhile(lambda line: line.comment is None, first.leading_lines))
    return module.with_changes(body=[first.with_changes(leading_lines=lines), *module.body[1:]])
