"""Celery's decorator becomes the one of Django's tasks, its options kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import libcst as cst

from tasks_celery.migrate.rewriting.fixer import Fixer, Import


class TaskFixer(Fixer):
    """``@shared_task(queue="mail")`` becomes ``@task(queue_name="mail")``."""

    name = "task"

    def leave_FunctionDef(self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef) -> cst.FunctionDef:  # noqa: N802  as LibCST calls it
        found = self.finding(original_node)
        if found is None:
            return updated_node
        self._note_imports(found.facts)
        index = found.facts["decorator"]
        decorators = list(updated_node.decorators)
        # Counted from below: other fixers put theirs above.
        at = index - len(original_node.decorators)
        decorators[at] = decorators[at].with_changes(decorator=_changed(decorators[at].decorator, found.facts))
        return updated_node.with_changes(decorators=decorators)

    def _note_imports(self, facts: Mapping[str, Any]) -> None:
        local = facts["local"]
        self.imports.add(Import("tasks_celery", "task", "" if local == "task" else local))
        if facts["unimport"] is not None:
            self.unimports.add(Import(*facts["unimport"]))


def _changed(decorator: cst.BaseExpression, facts: Mapping[str, Any]) -> cst.BaseExpression:
    name = cst.Name(facts["local"])
    if not isinstance(decorator, cst.Call):
        if not facts["add"]:
            return name
        return cst.Call(name, args=_joined([_argument(*each) for each in facts["add"].items()]))
    kept = [_renamed(each, facts["rename"]) for each in decorator.args]
    args = with_arguments(decorator, without(kept, facts["drop"]), [_argument(*each) for each in facts["add"].items()])
    whitespace = decorator.whitespace_before_args if args else cst.SimpleWhitespace("")
    return decorator.with_changes(func=name, args=args, whitespace_before_args=whitespace)


def _argument(name: str, value: str) -> cst.Arg:
    no_space = cst.SimpleWhitespace("")
    equal = cst.AssignEqual(whitespace_before=no_space, whitespace_after=no_space)
    return cst.Arg(cst.parse_expression(value), keyword=cst.Name(name), equal=equal)


def _renamed(argument: cst.Arg, names: Mapping[str, str]) -> cst.Arg:
    if argument.keyword is None or argument.keyword.value not in names:
        return argument
    return argument.with_changes(keyword=argument.keyword.with_changes(value=names[argument.keyword.value]))


def without(arguments: Sequence[cst.Arg], dropped: Sequence[str]) -> list[cst.Arg]:
    """Return arguments without those of some names; what ends the last one ends the one that is last now."""
    kept = [each for each in arguments if each.keyword is None or each.keyword.value not in dropped]
    if kept and kept[-1] is not arguments[-1]:
        kept[-1] = kept[-1].with_changes(
            comma=arguments[-1].comma, whitespace_after_arg=arguments[-1].whitespace_after_arg
        )
    return kept


def with_arguments(call: cst.Call, kept: Sequence[cst.Arg], added: Sequence[cst.Arg]) -> list[cst.Arg]:
    """Return arguments with more of them, laid out as the call's own are: on a line of its own where they are."""
    if not added:
        return list(kept)
    if not kept:
        return _joined(added)
    before = call.whitespace_before_args
    between = before if isinstance(before, cst.ParenthesizedWhitespace) else cst.SimpleWhitespace(" ")
    every = [*kept, *added]
    last = kept[-1]
    for index in range(len(kept) - 1, len(every) - 1):
        every[index] = every[index].with_changes(
            comma=cst.Comma(whitespace_after=between), whitespace_after_arg=cst.SimpleWhitespace("")
        )
    every[-1] = every[-1].with_changes(comma=last.comma, whitespace_after_arg=last.whitespace_after_arg)
    return every


def _joined(arguments: Sequence[cst.Arg]) -> list[cst.Arg]:
    comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
    return [each.with_changes(comma=comma) for each in arguments[:-1]] + list(arguments[-1:])
