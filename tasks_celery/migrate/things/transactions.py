"""Where code is in a transaction for certain, or is called in those of others."""

from __future__ import annotations

import ast

from tasks_celery.migrate.source import Names, Place
from tasks_celery.migrate.things.models import is_model

_ATOMIC = {"django.db.transaction.atomic", "django.db.transaction.Atomic"}
_SIGNALS = "django.db.models.signals."
_CURE = "send it with delay_on_commit(), or move it to a task with enqueue_on_commit=True."

IN_ATOMIC = f"It is sent inside of transaction.atomic(): the worker may be faster than the commit, and a rollback leaves it sent: {_CURE}"
IN_A_RECEIVER = f"A receiver of a model's signal runs in the transaction of whoever saves: the worker may be faster than its commit: {_CURE}"
IN_SAVE = f"A model's save() and delete() run in their caller's transaction: the worker may be faster than its commit: {_CURE}"


def why_early(place: Place, names: Names) -> str:
    """Return why a message sent at a place may be read before its transaction commits; nothing where that is not proven."""
    for index, node in enumerate(place.parents):
        around = Place(node, place.parents[index + 1 :])
        match node:
            case ast.With() | ast.AsyncWith() if _is_atomic(node, around, names):
                return IN_ATOMIC
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                return _of_function(node, around, names)
            case ast.Lambda() | ast.ClassDef():  # run at another time, perhaps on commit
                return ""
    return ""


def _is_atomic(node: ast.With | ast.AsyncWith, place: Place, names: Names) -> bool:
    return any(_origin(each.context_expr, place, names) in _ATOMIC for each in node.items)


def _of_function(node: ast.FunctionDef | ast.AsyncFunctionDef, place: Place, names: Names) -> str:
    if any(_origin(each, place, names) in _ATOMIC for each in node.decorator_list):
        return IN_ATOMIC
    if any(_receives(each, place, names) for each in node.decorator_list):
        return IN_A_RECEIVER
    owner = place.parents[0]
    is_method = node.name in {"save", "delete"} and is_model(owner, Place(owner, place.parents[1:]), names)
    return IN_SAVE if is_method else ""


def _receives(decorator: ast.expr, place: Place, names: Names) -> bool:
    """Tell whether a decorator is ``receiver(post_save)`` or ``post_save.connect``."""
    if not isinstance(decorator, ast.Call):
        return _origin(decorator, place, names).startswith(_SIGNALS)
    if _origin(decorator, place, names) != "django.dispatch.receiver" or not decorator.args:
        return False
    first = decorator.args[0]
    signals = first.elts if isinstance(first, ast.List | ast.Tuple) else [first]
    return any(_origin(each, place, names).startswith(_SIGNALS) for each in signals)


def _origin(node: ast.expr, place: Place, names: Names) -> str:
    return names.origin(node.func if isinstance(node, ast.Call) else node, place) or ""
