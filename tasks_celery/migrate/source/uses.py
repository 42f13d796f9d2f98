"""Every use of a project's tasks in one file."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from tasks_celery.migrate.source.names import Names, Place
from tasks_celery.migrate.source.parsing import UnreadableError
from tasks_celery.migrate.source.patches import is_patch, patched
from tasks_celery.migrate.source.project import Use

if TYPE_CHECKING:
    from tasks_celery.migrate.source.project import Project

ON_COMMIT = "django.db.transaction.on_commit"
ADOPT = frozenset({"tasks_celery.adopt", "tasks_celery.adopt.adopt"})


def uses_in(project: Project, path: str, text: str) -> list[Use]:
    """Return the uses of tasks in a file, from top to bottom; none in one that cannot be parsed."""
    try:
        names = Names.of(path, text, project)
    except UnreadableError:
        return []
    found = [use for place in names.places() for use in _uses(names, place)]
    return sorted(dict.fromkeys(found), key=lambda each: each.anchor)


def _uses(names: Names, place: Place) -> Iterator[Use]:
    node = place.node
    match node:
        case ast.Name(ctx=ast.Load()):
            yield from _chain(names, place)
        case ast.Constant(value=str(text)) if text in names.project.by_name:
            yield from _text(names, place, text)
        case ast.Call():
            yield from patched(names, place, node)
            yield from _taken(names, place, node)


def _chain(names: Names, place: Place) -> Iterator[Use]:
    """Yield the use that a name begins, with the attributes after it."""
    node = cast("ast.expr", place.node)
    parents = list(place.parents)
    while parents and isinstance(around := parents[0], ast.Attribute) and around.value is node:
        node = around
        del parents[0]
    here = Place(node, tuple(parents))
    found = names.project.task_at(names.origin(node, here))
    if found is None or _is_definition(node, here, names):
        return
    task, after = found
    how: str | None = after or _bare(names, node, here)
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
        how = f"patch:{after}"
    if how is not None:
        on_commit = how.endswith("_on_commit") or _is_on_commit(names, node, here)
        yield Use(task.origin, names.path, names.anchor(node), how, on_commit)


def _bare(names: Names, node: ast.expr, place: Place) -> str | None:
    """Return how a task itself is used; None where that is no use: a call that patches it says so on its own."""
    match place.parents[0]:
        case ast.Call(func=func) if func is node:
            return "()"
        case ast.Call(func=func, args=[first, *_]) as call if first is node and is_patch(call):
            return None
        case ast.Call(func=func) if names.origin(func, place) in ADOPT:
            return "adopt"
        case ast.Assign(targets=[ast.Name()], value=value) if value is node and len(place.parents) == 2:
            return None
    return ""


def _is_definition(node: ast.expr, place: Place, names: Names) -> bool:
    match place.parents[0]:
        case ast.FunctionDef(decorator_list=decorators) | ast.AsyncFunctionDef(decorator_list=decorators):
            return node in decorators
        case ast.Call(func=func) as call if func is node:
            outer = place.parents[1]
            return call in getattr(outer, "decorator_list", ())
    return False


def _is_on_commit(names: Names, node: ast.expr, place: Place) -> bool:
    """Return whether ``transaction.on_commit`` calls it: in a lambda, in a partial, or as it is."""
    parents = place.parents
    match parents:
        case [ast.Call(func=func), ast.Lambda(), ast.Call() as outer, *_] if func is node:
            pass
        case [ast.Call(func=partial, args=[first, *_]), ast.Call() as outer, *_] if (
            first is node and names.origin(partial, place) == "functools.partial"
        ):
            pass
        case [ast.Call(args=[first, *_]) as outer, *_] if first is node:
            pass
        case _:
            return False
    # Those of another database, or that may fail, are no on-commit of the task's own.
    return not outer.keywords and len(outer.args) == 1 and names.origin(outer.func, place) == ON_COMMIT


def _text(names: Names, place: Place, text: str) -> Iterator[Use]:
    """Yield the use that a text is: a task's name on the wire."""
    parent = place.parents[0]
    origin = names.project.by_name[text]
    is_patched = isinstance(parent, ast.Call) and is_patch(parent)
    if not (is_patched or isinstance(parent, ast.Expr) or _is_patched_word(place) or _is_own_name(place)):
        yield Use(origin, names.path, names.anchor(place.node), "name")


def _is_patched_word(place: Place) -> bool:
    match place.parents[:2]:
        case [ast.keyword(arg="target"), ast.Call() as call]:
            return is_patch(call)
    return False


def _is_own_name(place: Place) -> bool:
    match place.parents[:3]:
        case [ast.keyword(arg="name"), ast.Call() as call, outer]:
            return call in getattr(outer, "decorator_list", ())
    return False


def _taken(names: Names, place: Place, call: ast.Call) -> Iterator[Use]:
    """Yield what ``getattr(tasks, "add")`` takes from a module."""
    match call:
        case ast.Call(func=ast.Name(id="getattr"), args=[module, ast.Constant(value=str(name)), *_]):
            of = names.origin(module, place)
            found = names.project.task_at(names.project.origin(f"{of}.{name}")) if of else None
            if found is not None and not found[1]:
                yield Use(found[0].origin, names.path, names.anchor(call.args[1]), "")
