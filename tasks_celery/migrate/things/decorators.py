"""Decorators below a task's own: which of them give back a plain function with the name and the signature of the one they got. Pure."""

from __future__ import annotations

import ast

from tasks_celery.migrate.source import Names, Place
from tasks_celery.migrate.source.parsing import UnreadableError, decode

#: Known ones of others, called or not.
TRANSPARENT = frozenset(
    {
        "django.db.transaction.atomic",
        "django.utils.translation.override",
        "django.utils.timezone.override",
        "django.views.decorators.debug.sensitive_variables",
    }
)


def keeps_function(names: Names, decorator: ast.expr, place: Place) -> bool:
    """Return whether a decorator is known to give back such a function, which returns what the one it got does, or None.

    Of the project's own it is one that does nothing but define a function with ``functools.wraps`` and return it.
    """
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    origin = names.origin(called, place)
    if origin is None or origin in TRANSPARENT:
        return origin is not None
    module, _, name = origin.rpartition(".")
    summary = names.project.modules.get(module)
    if summary is None or isinstance(decorator, ast.Call):
        return False
    try:
        theirs = Names.of(summary.path, decode(names.project.data(summary.path)), names.project)
    except (OSError, UnreadableError):
        return False
    found = [each for each in theirs.tree.body if isinstance(each, ast.FunctionDef) and each.name == name]
    return len(found) == 1 and _wraps(theirs, found[0])


def _wraps(names: Names, function: ast.FunctionDef) -> bool:
    arguments = function.args
    taken = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    given = [each.arg for each in taken if each is not None]
    body = [each for each in function.body if not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))]
    match body:
        case [ast.FunctionDef() as inner, ast.Return(value=ast.Name(id=back))] if (
            len(given) == 1 and back == inner.name
        ):
            return not function.decorator_list and _passes_on(names, inner, given[0], function)
    return False


def _passes_on(names: Names, inner: ast.FunctionDef, given: str, function: ast.FunctionDef) -> bool:
    place = Place(inner, (function, names.tree))
    match inner.decorator_list:
        case [ast.Call(func=wraps, args=[ast.Name(id=name)], keywords=[])] if name == given:
            if names.origin(wraps, place) != "functools.wraps":
                return False
        case _:
            return False
    takes_all = inner.args.vararg is not None and inner.args.kwarg is not None
    takes_more = [*inner.args.posonlyargs, *inner.args.args, *inner.args.kwonlyargs]
    own = [each for node in inner.body for each in ast.walk(node)]
    odd = (ast.Yield, ast.YieldFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
    returned = [each.value for each in own if isinstance(each, ast.Return)]
    return (
        takes_all
        and not takes_more
        and not any(isinstance(each, odd) for each in own)
        and all(_is_theirs(each, given) for each in returned)
    )


def _is_theirs(value: ast.expr | None, given: str) -> bool:
    match value:
        case None | ast.Constant(value=None):
            return True
        case ast.Call(func=ast.Name(id=name)):
            return name == given
    return False
