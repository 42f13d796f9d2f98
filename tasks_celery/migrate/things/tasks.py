"""The Celery tasks that a file defines: whether each becomes a Django task by its decorator alone, and why not."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tasks_celery.migrate.finding import Anchor, Finding, Verdict
from tasks_celery.migrate.source import Names, Place
from tasks_celery.migrate.source.summary import dotted
from tasks_celery.migrate.source.tasks import making
from tasks_celery.migrate.things.commits import wants_on_commit
from tasks_celery.migrate.things.definitions import (
    Definition,
    called,
    decorators_of,
    definitions,
    tasks_of,
    waiting_calls,
)
from tasks_celery.migrate.things.imports import local_name

__all__ = ["definitions", "find"]

ADVICE = "adopt() makes it a Django task as well, and leaves it as it is"


def find(names: Names) -> Iterator[Finding]:
    """Yield each task of a file with what becomes of it."""
    found = definitions(names)
    yield from (_finding(names, each) for each in found)
    yield from _others(names, {names.anchor(each.place.node) for each in found})


def _finding(names: Names, each: Definition) -> Finding:
    left = tuple(dict.fromkeys(each.left))
    if not left and each.origin not in names.project.moving:
        left = (_NOT_NOW,)
    return Finding(
        path=names.path,
        anchor=names.anchor(each.place.node),
        kind="task",
        name=each.origin,
        verdict=Verdict.PERSON if left else Verdict.MOVES,
        reason=sentence(left) if left else "",
        fixer="" if left else "task",
        facts={"left": list(left)} if left else _facts(names, each),
    )


_NOT_NOW = "a call of its delay_on_commit or apply_async_on_commit, which a Django task has not, stands in what is not rewritten now"


def sentence(clauses: tuple[str, ...]) -> str:
    """Return the reason that clauses make."""
    shown = "; ".join(clauses[:3]) + (f"; and {len(clauses) - 3} more" if len(clauses) > 3 else "")
    return f"{shown[:1].upper()}{shown[1:]}: {ADVICE}."


def _facts(names: Names, each: Definition) -> dict[str, object]:
    """Return what the fixers go by; as JSON can hold it."""
    decorator = decorators_of(each.place)[each.index]
    return {
        "decorator": each.index,
        "rename": each.changes.rename,
        "drop": each.changes.drop,
        "add": each.changes.add | _on_commit(names, each.origin),
        "local": local_name(names),
        "unimport": _unimport(names, decorator),
        "needs": [
            *(["context"] if each.bound else []),
            *(["on-commit"] if waiting_calls(names.project, each.origin) else []),
        ],
    }


def _on_commit(names: Names, origin: str) -> dict[str, str]:
    wanted = wants_on_commit(names.project, origin)
    return {"enqueue_on_commit": repr(wanted)} if wanted else {}


def _unimport(names: Names, decorator: ast.expr) -> list[str] | None:
    """Return the import of a decorator, to be removed where nothing else uses it; None where others may go by it.

    That of an app stays: it may be what makes the app this process' own.
    """
    first = (dotted(called(decorator)) or "").partition(".")[0]
    if _is_imported_elsewhere(names, first):
        return None
    for statement in names.tree.body:
        if isinstance(statement, ast.ImportFrom) and not statement.level and statement.module == "celery":
            for each in statement.names:
                if (each.asname or each.name) == first and each.name == "shared_task":
                    return ["celery", each.name, each.asname or ""]
    return None


def _is_imported_elsewhere(names: Names, name: str) -> bool:
    importing = names.project.importing
    return any(importing.get(f"{names.module}:{each}", set()) - {names.module} for each in (name, "*"))


def _others(names: Names, functions: set[Anchor]) -> Iterator[Finding]:
    """Yield the tasks that no decorator makes of a function at the top level."""
    known = {each.anchor for each in tasks_of(names)}
    for task in tasks_of(names):
        if task.made_by == "celery.Task":
            yield _left(names, task.anchor, task.origin, _CLASS)
    if not known and "celery" not in names.text.lower():
        return
    for place in names.places():
        node = place.node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and names.anchor(node) not in known | functions:
            if any(_looks_like_task(names, each, place) for each in node.decorator_list):
                yield _left(names, names.anchor(node), f"{names.module}.{node.name}", _WITHIN)
        elif isinstance(node, ast.Call) and _makes(names, node.func, place) and not _is_told(names, place):
            yield _left(names, names.anchor(node), names.module, _CALLED)


_CLASS = "It is a class of tasks: write what its run() does as a function with @task, or adopt() the task that is made of it."
_WITHIN = f"It is no function at the top of its module, which Django's tasks are: {ADVICE}."
_CALLED = (
    "A call makes a task, or a decorator of tasks, and what it makes stays Celery's: write the decorator above the function, or "
    "adopt() the task."
)


def _left(names: Names, anchor: Anchor, name: str, reason: str) -> Finding:
    return Finding(path=names.path, anchor=anchor, kind="task", name=name, verdict=Verdict.PERSON, reason=reason)


def _looks_like_task(names: Names, decorator: ast.expr, place: Place) -> bool:
    if _makes(names, called(decorator), place):
        return True
    unproven = names.origin(called(decorator), place) is None
    return unproven and (dotted(called(decorator)) or "").endswith(("shared_task", "app.task", "celery.task"))


def _makes(names: Names, callee: ast.expr, place: Place) -> bool:
    """Whether it makes a Celery task of a function: a decorator of Celery's, or one that a call has made of it."""
    made = making(names.project, names.origin(callee, place))
    return made is not None and made.made_by.startswith("celery.")


def _is_told(names: Names, place: Place) -> bool:
    """Whether a call is a decorator, or makes one under a name of its module: each task that this makes is told by itself."""
    if place.node in getattr(place.parents[0], "decorator_list", ()):
        return True
    match place.parents:
        case (ast.Assign(targets=[ast.Name(id=name)]), ast.Module()):
            return making(names.project, names.project.resolve(names.module, name)) is not None
    return False
