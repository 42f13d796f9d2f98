"""The imports that a rewritten module needs, and those that it needs no more."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import dropwhile

import libcst as cst
from libcst.codemod import CodemodContext
from libcst.codemod.visitors import AddImportsVisitor, RemoveImportsVisitor
from libcst.helpers import get_full_name_for_node

from tasks_celery.migrate.rewriting.fixer import Fixer, Import


def with_imports(module: cst.Module, fixers: Sequence[Fixer], name: str) -> cst.Module:
    """Return a module, called `name`, with the imports that its fixers ask for, and without those that nothing uses now."""
    context = CodemodContext(full_module_name=name)
    for source, imported, alias in sorted(set().union(*(fixer.imports for fixer in fixers)), key=str):
        AddImportsVisitor.add_needed_import(context, source, imported or None, alias or None)
    unimports = sorted(set().union(*(fixer.unimports for fixer in fixers)), key=str)
    # Each of LibCST's visitors walks the module several times: most of what a rewrite takes.
    if any(fixer.imports for fixer in fixers):
        module = AddImportsVisitor(context).transform_module(module)
    return _from_the_top(_without(module, unimports, context), module) if unimports else module


def _without(module: cst.Module, unimports: Sequence[Import], context: CodemodContext) -> cst.Module:
    """Return a module without imports that nothing uses: one whose name stands nowhere else is certain to be such."""
    for each in unimports:
        alone = [line for line in module.body if _imports_alone(line, each)]
        if len(alone) == 1 and _times(module, each) == 1:
            module = module.with_changes(body=[line for line in module.body if line is not alone[0]])
    others = [each for each in unimports if _times(module, each)]
    for source, imported, alias in others:
        RemoveImportsVisitor.remove_unused_import(context, source, imported or None, alias or None)
    return RemoveImportsVisitor(context).transform_module(module) if others else module


def _times(module: cst.Module, unimport: Import) -> int:
    return len(re.findall(rf"\b{re.escape(unimport.alias or unimport.name or unimport.source)}\b", module.code))


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
