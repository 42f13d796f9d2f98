"""Where results are read by their ids, ``AsyncResult(id)``: what the Django task's API has for it.

None moves by itself: of an id that nobody knows an AsyncResult says PENDING, and ``get_result`` raises
TaskResultDoesNotExist. Where the project says that its ids are known (`Project.assume_known_ids`), those move of which no
more is asked than what means the same.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any, NamedTuple

from tasks_celery.migrate.finding import Anchor, Finding, Verdict
from tasks_celery.migrate.source import Names, Place
from tasks_celery.migrate.source.summary import dotted
from tasks_celery.migrate.things.answers import replaced
from tasks_celery.migrate.things.applied import Left
from tasks_celery.migrate.things.spelling import spelling
from tasks_celery.migrate.things.values import bindings

_RESULTS = {"celery.result.AsyncResult", "celery.AsyncResult"}
_OF_MANY = {"celery.result.GroupResult", "celery.result.ResultSet"}
#: What means the same of both where the id is known.
SAME = frozenset({"id", "task_id", "ready", "successful", "failed"})
_CALLED = frozenset({"ready", "successful", "failed"})
_UNKNOWN = (
    "Write get_result(id), and except TaskResultDoesNotExist, which it raises for an id that nobody knows, where AsyncResult "
    "says PENDING"
)


def find(names: Names) -> Iterator[Finding]:
    """Yield each place where a result is read by its id."""
    if not any(each in names.text for each in ("AsyncResult", "GroupResult", "ResultSet")):
        return
    for place in names.places():
        match place.node:
            case ast.Call(func=func) as call:
                origin = names.origin(func, place) or ""
                if origin in _OF_MANY:
                    yield _finding(names, call, origin, Left(_MANY, Verdict.STAYS))
                elif origin in _RESULTS or _is_of_app_or_task(func):
                    yield _finding(names, call, dotted(func) or "AsyncResult", _judge(names, place, call))


_MANY = "The results of canvas are read with Celery's API, which goes on working; each member has a TaskResult as well."


def _is_of_app_or_task(func: ast.expr) -> bool:
    return isinstance(func, ast.Attribute) and func.attr == "AsyncResult"


def _judge(names: Names, place: Place, call: ast.Call) -> Left | dict[str, Any]:
    used = list(_used(names, place))
    if not used or any(each.attr == "" for each in used):
        return Left(f"{_UNKNOWN}. What is used of the result is not known here.")
    wanted = sorted({each.attr for each in used})
    if not (_is_by_id(call) and all(map(_is_same, used))):
        return Left(f"{_UNKNOWN}: {replaced(wanted)}.")
    if not names.project.assume_known_ids:
        return Left(f"{_UNKNOWN}: {replaced(wanted)}. Where there is no such id, --assume-known-ids has it rewritten.")
    return _facts(names, place, used)


class _Used(NamedTuple):
    """A use of a result: the attribute, "" for anything else; whether it is called so; where; and whether it stands alone."""

    attr: str
    is_called: bool = False
    anchor: Anchor = Anchor(0, 0)
    alone: bool = False


def _used(names: Names, place: Place) -> Iterator[_Used]:
    match place.parents[0]:
        case ast.Attribute():
            yield _use(names, place)
        case ast.Assign(targets=[ast.Name(id=name)]) if place.function is not None and len(bindings(name, place)) == 1:
            around = place.parents[place.parents.index(place.function) :]
            for each in _inside(Place(place.function, around[1:])):
                if isinstance(each.node, ast.Name) and each.node.id == name and isinstance(each.node.ctx, ast.Load):
                    yield _use(names, each)
        case _:
            yield _Used("")


def _inside(place: Place) -> Iterator[Place]:
    for child in ast.iter_child_nodes(place.node):
        inner = Place(child, (place.node, *place.parents))
        yield inner
        yield from _inside(inner)


def _use(names: Names, place: Place) -> _Used:
    attribute, outer = place.parents[:2]
    if not isinstance(attribute, ast.Attribute) or not isinstance(attribute.ctx, ast.Load):
        return _Used("")
    is_called = isinstance(outer, ast.Call) and outer.func is attribute and not outer.args and not outer.keywords
    alone = isinstance(place.parents[2] if is_called else outer, _ALONE)
    return _Used(attribute.attr, is_called, names.anchor(attribute), alone)


#: What a comparison needs no brackets in.
_ALONE = (ast.If, ast.While, ast.Return, ast.Assign, ast.Expr)


def _is_same(use: _Used) -> bool:
    return use.attr in SAME and use.is_called == (use.attr in _CALLED)


def _is_by_id(call: ast.Call) -> bool:
    """Whether a result is asked for by its id alone, of no other app or backend."""
    by_position = len(call.args) == 1 and not call.keywords and not isinstance(call.args[0], ast.Starred)
    return by_position or (not call.args and [each.arg for each in call.keywords] == ["id"])


def _facts(names: Names, place: Place, used: list[_Used]) -> dict[str, Any]:
    module = "django_tasks" if _imports(names, "django_tasks") else "django.tasks"
    backend = spelling(names, place, module, "default_task_backend")
    status = spelling(names, place, module, "TaskResultStatus")
    needed = [backend, *([status] if any(each.attr in ("successful", "failed") for each in used) else [])]
    return {
        "backend": backend.written,
        "status": status.written,
        "uses": [[*each.anchor, each.attr, each.alone] for each in used],
        "imports": [list(each.needs) for each in needed if each.needs],
    }


def _imports(names: Names, module: str) -> bool:
    return any(
        target.partition(":")[0].partition(".")[0] == module
        for summary in names.project.modules.values()
        for targets in summary.imports.values()
        for target in targets
    )


def _finding(names: Names, call: ast.Call, name: str, judged: Left | dict[str, Any]) -> Finding:
    is_left = isinstance(judged, Left)
    return Finding(
        path=names.path,
        anchor=names.anchor(call),
        kind="result",
        name=name.rpartition(".")[2] if name.startswith("celery.") else name,
        verdict=judged.verdict if isinstance(judged, Left) else Verdict.MOVES,
        reason=judged.reason if isinstance(judged, Left) else "",
        fixer="" if is_left else "result",
        facts={} if isinstance(judged, Left) else judged,
    )
