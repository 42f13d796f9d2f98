"""What is wrong with tasks today: pickle, arguments that no message can carry, and messages that are faster than their transaction."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tasks_celery.migrate.finding import Finding, Verdict
from tasks_celery.migrate.source import Names, Place
from tasks_celery.migrate.source.summary import dotted
from tasks_celery.migrate.things.arguments import Wrong, wrong_in
from tasks_celery.migrate.things.eager import is_test
from tasks_celery.migrate.things.settings import PICKLES
from tasks_celery.migrate.things.transactions import why_early

_SENDS = {
    "delay",
    "apply_async",
    "s",
    "si",
    "signature",
    "subtask",
    "delay_on_commit",
    "apply_async_on_commit",
    "enqueue",
}
#: Before the name of an attribute comes its dot, or whitespace.
_MAY_BE = re.compile(rf"(?<![^\s.])(?:{'|'.join(sorted(_SENDS))})\b|serializer")
#: What sends at once, whatever becomes of the transaction.
_AT_ONCE = {"delay", "apply_async"}
_PICKLE = (
    "Whoever can write to the broker runs code in the worker, and Django's tasks take JSON only: "
    "pass what JSON can hold, and leave out the serializer."
)


def find(names: Names) -> Iterator[Finding]:
    """Yield what is wrong in a file with its tasks and with how they are called."""
    if not _MAY_BE.search(names.text):
        return
    for place in names.places():
        node = place.node
        if isinstance(node, ast.Call):
            yield from _pickled(names, node)
            task, how = _sent(names, node, place)
            if task:
                yield from _wrong_arguments(names, node, place, task)
                yield from _early(names, node, place, task, how)


def _sent(names: Names, call: ast.Call, place: Place) -> tuple[str, str]:
    """Return the task that a call sends and how, empty where it is not proven to send one."""
    func = call.func
    if not (isinstance(func, ast.Attribute) and func.attr in _SENDS):
        return "", ""
    origin = names.origin(func.value, place)
    return (origin, func.attr) if origin and origin in names.project.tasks else ("", "")


def _pickled(names: Names, call: ast.Call) -> Iterator[Finding]:
    for word in call.keywords:
        if word.arg == "serializer" and isinstance(word.value, ast.Constant) and word.value.value in PICKLES:
            last = (dotted(call.func) or "").rpartition(".")[2]
            if last in {"task", "shared_task", "apply_async", "send_task", "set", "apply_async_on_commit"}:
                yield _finding(names, word, "serializer", last, Verdict.UNSAFE, _PICKLE)


def _wrong_arguments(names: Names, call: ast.Call, place: Place, task: str) -> Iterator[Finding]:
    for argument in _arguments(call):
        wrong: Wrong | None = wrong_in(argument, place, names)
        if wrong:
            yield _finding(names, call, "argument", task, wrong.verdict, wrong.reason)


def _arguments(call: ast.Call) -> Iterator[ast.expr]:
    """Yield the task's own arguments in a call: of ``apply_async`` those in `args` and `kwargs`."""
    if getattr(call.func, "attr", "") not in {"apply_async", "apply_async_on_commit", "signature", "subtask"}:
        yield from (each for each in call.args if not isinstance(each, ast.Starred))
        yield from (word.value for word in call.keywords if word.arg)
        return
    given = [*call.args[:2], *(word.value for word in call.keywords if word.arg in {"args", "kwargs"})]
    for each in given:
        if isinstance(each, ast.List | ast.Tuple):
            yield from each.elts
        elif isinstance(each, ast.Dict):
            yield from each.values


def _early(names: Names, call: ast.Call, place: Place, task: str, how: str) -> Iterator[Finding]:
    # A TestCase rolls everything back: what its tests send is not meant to be seen after a commit.
    reason = why_early(place, names) if how in _AT_ONCE and not is_test(names.path) else ""
    if reason:
        yield _finding(names, call, "commit", task, Verdict.UNSAFE, reason)


def _finding(names: Names, node: ast.AST, kind: str, name: str, verdict: Verdict, reason: str) -> Finding:
    return Finding(path=names.path, anchor=names.anchor(node), kind=kind, name=name, verdict=verdict, reason=reason)
