"""What a task's own parameters promise of the arguments that it is called with."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks_celery.migrate.source.names import Names, Place
    from tasks_celery.migrate.source.project import Project, Task

#: What takes the task's arguments as they are.
_DIRECT = frozenset({"delay", "delay_on_commit", "enqueue", "aenqueue", "s", "si", ""})
_APPLIED = frozenset({"apply_async", "apply_async_on_commit", "apply", "signature", "subtask"})


def promised(names: Names, place: Place) -> frozenset[int]:
    """Return the arguments (their nodes, by id) of a call at a place that the called task annotates as JSON."""
    call = place.node
    found = names.project.task_at(names.origin(call.func, place)) if isinstance(call, ast.Call) else None
    if found is None or not isinstance(call, ast.Call):
        return frozenset()
    task, how = found
    given: Sequence[ast.expr] = call.args
    words: Mapping[str, ast.expr] = {each.arg: each.value for each in call.keywords if each.arg}
    if how in _APPLIED:
        given, words = _applied(call.args, words)
    elif how not in _DIRECT:
        return frozenset()
    return frozenset(id(each) for each in _known(names.project, task, given, words))


def _applied(
    args: Sequence[ast.expr], words: Mapping[str, ast.expr]
) -> tuple[Sequence[ast.expr], Mapping[str, ast.expr]]:
    listed = args[0] if args else words.get("args")
    named = args[1] if len(args) > 1 else words.get("kwargs")
    given = listed.elts if isinstance(listed, ast.Tuple | ast.List) else []
    if not isinstance(named, ast.Dict):
        return given, {}
    pairs = zip(named.keys, named.values, strict=True)
    return given, {
        key.value: value for key, value in pairs if isinstance(key, ast.Constant) and isinstance(key.value, str)
    }


def _known(
    project: Project, task: Task, given: Sequence[ast.expr], words: Mapping[str, ast.expr]
) -> Iterator[ast.expr]:
    module = task.origin.removesuffix(f".{task.origin.rpartition('.')[2]}")
    summary = project.modules.get(module)
    positional, named = summary.promises.get(task.origin.removeprefix(f"{module}."), ((), {})) if summary else ((), {})
    has_own = task.options.get("bind") == "True" or task.options.get("takes_context") == "True"
    for number, each in enumerate(given, start=1 if has_own else 0):
        if isinstance(each, ast.Starred):
            return
        if number < len(positional) and positional[number]:
            yield each
    for word, value in words.items():
        if named.get(word):
            yield value
