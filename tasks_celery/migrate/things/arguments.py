"""Arguments of tasks that are proven to be nothing a message should carry."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from tasks_celery.migrate.finding import Verdict
from tasks_celery.migrate.source import Names, Place
from tasks_celery.migrate.things.models import is_model, is_model_at, made_by

INSTANCE = "A model instance is no JSON, and would be old when the task runs: pass its pk, and let the task read it."
QUERYSET = "A queryset is no JSON, and would be old when the task runs: pass the pks, or what it is filtered by."
SET = "A set is no JSON: pass a sorted list."
FUNCTION = "A function is no JSON: pass a name that the task knows."
BYTES = "Celery's JSON carries bytes, a Django task's does not: pass text, in Base64 say."
TIME = "Celery's JSON carries dates and times, a Django task's does not: pass .isoformat(), and parse it in the task."
NUMBER = "Celery's JSON carries Decimal and UUID, a Django task's does not: pass str(…)."

_TIMES = {
    "datetime.datetime",
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "datetime.datetime.today",
    "datetime.date",
    "datetime.date.today",
    "datetime.time",
    "django.utils.timezone.now",
    "django.utils.timezone.localtime",
    "django.utils.timezone.localdate",
}
_NUMBERS = {"decimal.Decimal", "uuid.UUID", "uuid.uuid1", "uuid.uuid3", "uuid.uuid4", "uuid.uuid5", "uuid.uuid7"}
_NOT_BOUND = {"staticmethod", "classmethod"}


class Wrong(NamedTuple):
    """Why an argument cannot be: today (UNSAFE), or once its task is Django's (PERSON)."""

    verdict: Verdict
    reason: str


def wrong_in(argument: ast.expr, place: Place, names: Names) -> Wrong | None:
    """Return what is wrong with an argument, or with one in the containers that it is; None where nothing is proven."""
    inner = _elements(argument)
    if inner is not None:
        return next((wrong for each in inner if (wrong := wrong_in(each, place, names))), None)
    if isinstance(argument, ast.Name):
        return _of_name(argument, place, names)
    return _of_value(argument, place, names)


def _elements(node: ast.expr) -> list[ast.expr] | None:
    match node:
        case ast.List(elts=inner) | ast.Tuple(elts=inner) | ast.Dict(values=inner):
            return list(inner)
    return None


def _of_value(node: ast.expr, place: Place, names: Names) -> Wrong | None:
    match node:
        case ast.Set() | ast.SetComp() | ast.Call(func=ast.Name(id="set" | "frozenset")):
            return Wrong(Verdict.UNSAFE, SET)
        case ast.Lambda():
            return Wrong(Verdict.UNSAFE, FUNCTION)
        case ast.Constant(value=bytes()):
            return Wrong(Verdict.PERSON, BYTES)
        case ast.Call(func=func):
            origin = names.origin(func, place) or ""
            if origin in _TIMES:
                return Wrong(Verdict.PERSON, TIME)
            if origin in _NUMBERS:
                return Wrong(Verdict.PERSON, NUMBER)
    made = made_by(node, place, names)
    return Wrong(Verdict.UNSAFE, INSTANCE if made == "instance" else QUERYSET) if made else None


def _of_name(node: ast.Name, place: Place, names: Names) -> Wrong | None:
    """Return what is wrong with a local name: a model's own `self`, a parameter by its annotation, or what it was given once."""
    function = place.function
    if function is None:
        return None
    given = list(_given(function, node.id))
    parameter = next((each for each in _parameters(function) if each.arg == node.id), None)
    if parameter is None:
        return _of_value(given[0], place, names) if len(given) == 1 and given[0] is not None else None
    if given:
        return None
    if _is_self_of_a_model(function, parameter, place, names):
        return Wrong(Verdict.UNSAFE, INSTANCE)
    return _of_annotation(parameter.annotation, place, names)


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.arg]:
    return [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]


def _given(function: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> Iterator[ast.expr | None]:
    """Yield what a name is given in a function; None for what is no plain assignment, as the variable of a loop."""
    plain: set[ast.AST] = set()
    for node in ast.walk(function):
        match node:
            case ast.Assign(targets=[ast.Name(id=found) as target], value=value) if found == name:
                plain.add(target)
                yield value
            case ast.Name(id=found, ctx=ast.Store()) if found == name and node not in plain:
                yield None


def _is_self_of_a_model(
    function: ast.FunctionDef | ast.AsyncFunctionDef, parameter: ast.arg, place: Place, names: Names
) -> bool:
    around = place.parents[place.parents.index(function) + 1 :]
    bound = not any(isinstance(each, ast.Name) and each.id in _NOT_BOUND for each in function.decorator_list)
    is_self = bound and bool(function.args.args) and parameter is function.args.args[0]
    return is_self and bool(around) and is_model(around[0], Place(around[0], around[1:]), names)


def _of_annotation(annotation: ast.expr | None, place: Place, names: Names) -> Wrong | None:
    origin = (names.origin(annotation, place) or "") if annotation is not None else ""
    if origin in {"datetime.datetime", "datetime.date", "datetime.time"}:
        return Wrong(Verdict.PERSON, TIME)
    if origin in {"decimal.Decimal", "uuid.UUID"}:
        return Wrong(Verdict.PERSON, NUMBER)
    if origin in {"django.http.HttpRequest", "django.http.request.HttpRequest"}:
        return Wrong(Verdict.UNSAFE, "A request is no JSON: pass what the task needs of it.")
    return Wrong(Verdict.UNSAFE, INSTANCE) if is_model_at(origin, names.project) else None
