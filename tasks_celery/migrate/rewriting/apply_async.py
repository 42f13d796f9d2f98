"""``add.apply_async((1,), countdown=5)`` becomes ``add.using(run_after=timedelta(seconds=5)).enqueue(1)``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import libcst as cst

from tasks_celery.migrate.rewriting.fixer import Fixer, Import
from tasks_celery.migrate.rewriting.layout import Item, commented, laid_out


class ApplyAsyncFixer(Fixer):
    """Takes the arguments of the task and those of the sending apart: to ``enqueue`` the ones, to ``using`` the others."""

    name = "apply-async"

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:  # noqa: N802  LibCST's
        finding = self.finding(original_node)
        if finding is None or not isinstance(updated_node.func, cst.Attribute):
            return updated_node
        self.imports |= {Import(*each) for each in finding.facts["imports"]}
        return taken_apart(updated_node, updated_node.func, finding.facts)


def taken_apart(call: cst.Call, func: cst.Attribute, facts: Mapping[str, Any]) -> cst.Call:
    """Return the call of ``enqueue`` for one of ``apply_async``, by the plan that the analysis has made."""
    options = [_option(call.args[index], name, wrap, facts["timedelta"]) for index, name, wrap in facts["using"]]
    given = [
        item
        for key in ("args", "kwargs")
        if facts[key]
        for item in _spread(key, call.args[facts[key][0]], facts[key][1])
    ]
    task: cst.BaseExpression = func.value
    if options:
        before, arguments = laid_out(call, options)
        task = cst.Call(func=func.with_changes(attr=cst.Name("using")), args=arguments, whitespace_before_args=before)
    before, arguments = laid_out(call, given)
    made = call.with_changes(
        func=cst.Attribute(value=task, attr=cst.Name("enqueue"), dot=cst.Dot() if options else func.dot),
        args=arguments,
        whitespace_before_args=before,
    )
    return commented(made, of=call)


def _option(arg: cst.Arg, name: str, wrap: str, timedelta: str) -> Item:
    value = arg.value
    if wrap:
        value = cst.Call(func=cst.parse_expression(timedelta), args=[_keyword(wrap, value)])
    return Item(arg.with_changes(keyword=cst.Name(name), value=value), _after(arg))


def _keyword(name: str, value: cst.BaseExpression) -> cst.Arg:
    return cst.Arg(value=value, keyword=cst.Name(name), equal=_EQUAL)


_EQUAL = cst.AssignEqual(whitespace_before=cst.SimpleWhitespace(""), whitespace_after=cst.SimpleWhitespace(""))


def _spread(key: str, arg: cst.Arg, how: str) -> list[Item]:
    match how, arg.value:
        case "each", cst.List(elements=elements) | cst.Tuple(elements=elements):
            items = [Item(_element(each), _after(each)) for each in elements]
        case "each", cst.Dict(elements=pairs):
            items = [Item(_pair(each), _after(each)) for each in pairs]
        case _:
            return [Item(cst.Arg(value=arg.value, star="**" if key == "kwargs" else "*"), _after(arg))]
    if items:
        items[-1] = Item(items[-1].arg, _after(arg), items[-1].after)
    return items


def _element(element: cst.BaseElement) -> cst.Arg:
    if isinstance(element, cst.StarredElement):
        return cst.Arg(value=element.value, star="*")
    return cst.Arg(value=element.value)


def _pair(pair: cst.BaseDictElement) -> cst.Arg:
    if isinstance(pair, cst.DictElement) and isinstance(pair.key, cst.SimpleString):
        return _keyword(str(pair.key.evaluated_value), pair.value)
    return cst.Arg(value=pair.value, star="**")


def _after(node: cst.Arg | cst.BaseElement | cst.BaseDictElement) -> cst.BaseParenthesizableWhitespace:
    if isinstance(node.comma, cst.Comma):
        return node.comma.whitespace_after
    return node.whitespace_after_arg if isinstance(node, cst.Arg) else cst.SimpleWhitespace("")
