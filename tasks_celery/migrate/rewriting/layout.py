"""How arguments stand in their brackets after they have been taken from elsewhere: on lines of their own, with their comments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import libcst as cst
import libcst.matchers as m

Whitespace = cst.BaseParenthesizableWhitespace
NodeT = TypeVar("NodeT", bound=cst.CSTNode)


class Item(NamedTuple):
    """An argument with what stood behind it, and with what stood behind it where it came from, if that is another place."""

    arg: cst.Arg
    after: Whitespace
    inner: Whitespace = cst.SimpleWhitespace("")


def laid_out(call: cst.Call, items: Sequence[Item]) -> tuple[Whitespace, list[cst.Arg]]:
    """Return what stands before the arguments, and the arguments: one to a line where those of `call` begin on a line of their own.

    Comments stay behind their arguments.
    """
    before = call.whitespace_before_args
    if not items:
        return cst.SimpleWhitespace(""), []
    if not isinstance(before, cst.ParenthesizedWhitespace):
        return before, _in_line(items)
    last = call.args[-1] if call.args else None
    end = (
        last.comma.whitespace_after
        if last and isinstance(last.comma, cst.Comma)
        else last and last.whitespace_after_arg
    )
    closing = end if isinstance(end, cst.ParenthesizedWhitespace) else before
    args = [_on_its_line(each, before) for each in items[:-1]]
    return _without_comments(before), [*args, _on_its_line(items[-1], closing)]


def _on_its_line(item: Item, like: cst.ParenthesizedWhitespace) -> cst.Arg:
    """Return an argument with a comma, the next line beginning as `like` says."""
    after = next((each for each in (item.after, item.inner) if has_comment(each)), None)
    if not isinstance(after, cst.ParenthesizedWhitespace):
        after = _without_comments(like)
    after = after.with_changes(indent=like.indent, last_line=like.last_line)
    return item.arg.with_changes(comma=cst.Comma(whitespace_after=after), whitespace_after_arg=cst.SimpleWhitespace(""))


def _in_line(items: Sequence[Item]) -> list[cst.Arg]:
    args = []
    for each in items:
        is_last = each is items[-1]
        after = next(
            (ws for ws in (each.after, each.inner) if has_comment(ws)), cst.SimpleWhitespace("" if is_last else " ")
        )
        comma = cst.MaybeSentinel.DEFAULT if is_last and not has_comment(after) else cst.Comma(whitespace_after=after)
        args.append(each.arg.with_changes(comma=comma, whitespace_after_arg=cst.SimpleWhitespace("")))
    return args


def _without_comments(whitespace: cst.ParenthesizedWhitespace) -> cst.ParenthesizedWhitespace:
    return whitespace.with_changes(
        first_line=whitespace.first_line.with_changes(comment=None, whitespace=cst.SimpleWhitespace("")), empty_lines=[]
    )


def has_comment(node: cst.CSTNode) -> bool:
    """Whether there is a comment in a node."""
    return bool(_comments(node))


def _comments(node: cst.CSTNode) -> list[str]:
    return [each.value for each in m.findall(node, m.Comment()) if isinstance(each, cst.Comment)]


def commented(made: cst.Call, *, of: cst.CSTNode) -> cst.Call:
    """Return a call with those comments of the node that it was made of which it has not got: each on a line of its own."""
    missing = _comments(of)
    for each in _comments(made):
        if each in missing:
            missing.remove(each)
    return with_comments(made, missing) if missing else made


def with_comments(call: cst.Call, comments: Sequence[str]) -> cst.Call:
    """Return a call that begins with comments, each on a line of its own in its brackets."""
    before = call.whitespace_before_args
    if not isinstance(before, cst.ParenthesizedWhitespace):
        before = cst.ParenthesizedWhitespace(indent=True, last_line=cst.SimpleWhitespace("    "))
    lines = [
        cst.EmptyLine(indent=before.indent, whitespace=before.last_line, comment=cst.Comment(each)) for each in comments
    ]
    return call.with_changes(whitespace_before_args=before.with_changes(empty_lines=[*lines, *before.empty_lines]))
