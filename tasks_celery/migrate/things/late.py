"""Whether the arguments of a call that waits for a commit are the same then as now: ``enqueue`` takes them now."""

from __future__ import annotations

import ast
import builtins

from tasks_celery.migrate.finding import Verdict
from tasks_celery.migrate.source import Names, Place
from tasks_celery.migrate.things.applied import Left
from tasks_celery.migrate.things.values import bindings

_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_SCALARS = {"int", "str", "bool", "float"}
_MAKE_SCALARS = {"int", "str", "bool", "float", "len", "round"}

_LOOP = (
    "{} changes with each turn of the loop, and the lambda looks it up as the transaction commits: every call gets the last. "
    "Write functools.partial, or a default, today; with a Django task, enqueue_on_commit=True."
)
_CHANGED = (
    "on_commit() goes on working: that {} is the same as the transaction commits cannot be proven, and enqueue() with "
    "enqueue_on_commit=True would take it at once."
)


def why_later(names: Names, place: Place, form: str, values: list[ast.expr]) -> Left | None:
    """Return why arguments may be others at the commit; None where they are the same for certain.

    In a lambda they are looked up then, in a partial they are now, but lists and dicts in it may be changed until then.
    """
    for value in values:
        changed = _Late(names, place, form == "lambda").changing(value)
        if changed is not None:
            return changed
    return None


class _Late:
    """The question for one place; `looked_up` tells that names are looked up as the transaction commits."""

    def __init__(self, names: Names, place: Place, looked_up: bool) -> None:
        self.names, self.place, self.looked_up = names, place, looked_up

    def changing(self, node: ast.expr) -> Left | None:  # noqa: PLR0911  a case for each
        """Return why a value may be another at the commit."""
        match node:
            case ast.Constant():
                return None
            case ast.List(elts=inner) | ast.Tuple(elts=inner):
                return next((left for each in inner if (left := self.changing(each))), None)
            case ast.Dict(keys=keys, values=inner) if None not in keys:
                return next((left for each in [*keys, *inner] if each and (left := self.changing(each))), None)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _MAKE_SCALARS and not bindings(
                name, self.place
            ):
                if not self.looked_up:  # the text or number is made now, of whatever
                    return None
                return next((left for each in args if (left := self.changing(each))), None)
            case ast.JoinedStr() if not self.looked_up:
                return None
            case ast.JoinedStr(values=inner):
                shown = [each.value for each in inner if isinstance(each, ast.FormattedValue)]
                return next((left for each in shown if (left := self.changing(each))), None)
            case ast.Attribute(value=ast.Name(id=name), attr="pk" | "id"):
                return self.changing_key(name)
            case ast.Name(id=name):
                return self.changing_name(name)
        return Left(_CHANGED.format("an argument"), Verdict.STAYS)

    def changing_name(self, name: str) -> Left | None:
        left = self.rebound(name)
        if left is not None:
            return left
        found = bindings(name, self.place)
        if len(found) == 1 and self.is_scalar(name):
            return None
        return Left(_CHANGED.format(name), Verdict.STAYS)

    def changing_key(self, name: str) -> Left | None:
        if not self.looked_up:
            return None
        left = self.rebound(name)
        if left is not None:
            return left
        return None if self.is_saved(name) else Left(_CHANGED.format(f"the key of {name}"), Verdict.STAYS)

    def rebound(self, name: str) -> Left | None:
        """Return why a name may mean something else later."""
        if not self.looked_up:
            return None
        found = bindings(name, self.place)
        if not found and hasattr(builtins, name):
            return None
        if self.turns(name):
            return Left(_LOOP.format(name), Verdict.UNSAFE)
        return None if len(found) == 1 else Left(_CHANGED.format(name), Verdict.STAYS)

    def turns(self, name: str) -> bool:
        """Whether a loop around the place gives a name another value with each turn."""
        for parent in self.place.parents:
            if isinstance(parent, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                return False
            if isinstance(parent, _LOOPS) and any(
                isinstance(each, ast.Name) and each.id == name and isinstance(each.ctx, ast.Store)
                for each in ast.walk(parent)
            ):
                return True
        return False

    def is_scalar(self, name: str) -> bool:
        """Whether what a name is bound to cannot be changed: a number or a text."""
        for each in bindings(name, self.place):
            match each:
                case ast.arg(annotation=annotation) if annotation is not None:
                    if not _is_scalar_type(annotation):
                        return False
                case ast.arg(arg=found):
                    if found not in ("pk", "id") and not found.endswith(("_pk", "_id")):
                        return False
                case ast.Constant() | ast.JoinedStr():
                    pass
                case ast.Attribute(attr="pk" | "id"):
                    pass
                case ast.Attribute(attr=attr) if attr.endswith("_id"):
                    pass
                case ast.Call(func=ast.Name(id=function)) if function in _MAKE_SCALARS:
                    pass
                case _:
                    return False
        return True

    def is_saved(self, name: str) -> bool:
        """Whether an instance has its key already, and keeps it."""
        function = self.place.function
        found = bindings(name, self.place)
        if function is None or len(found) != 1:
            return False
        for node in ast.walk(function):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id=found_name), attr="delete" | "refresh_from_db")):
                    if found_name == name:
                        return False
                case ast.Attribute(value=ast.Name(id=found_name), attr="pk" | "id", ctx=ast.Store() | ast.Del()):
                    if found_name == name:
                        return False
        return _is_read(found[0]) or self.is_saved_before(name)

    def is_saved_before(self, name: str) -> bool:
        """Whether ``name.save()`` is a statement before this one, in its block or in one around it."""
        inner: ast.AST = self.place.node
        for parent in self.place.parents:
            if isinstance(parent, ast.Lambda):
                return False
            if any(_saves(each, name) for each in _before(inner, parent)):
                return True
            if isinstance(parent, ast.FunctionDef | ast.AsyncFunctionDef):
                return False
            inner = parent
        return False


def _is_scalar_type(annotation: ast.expr) -> bool:
    match annotation:
        case ast.Name(id=name):
            return name in _SCALARS
        case ast.Constant(value=None):
            return True
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _is_scalar_type(left) and _is_scalar_type(right)
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
            return _is_scalar_type(inner)
    return False


def _is_read(node: object) -> bool:
    """Whether a value has come out of the database, or gone into it."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Attribute(attr="objects"), attr="create" | "get")):
            return True
        case ast.Call(func=ast.Name(id="get_object_or_404")):
            return True
    return False


def _before(statement: ast.AST, parent: ast.AST) -> list[ast.stmt]:
    """Return the statements before one in its block."""
    for block in ("body", "orelse", "finalbody"):
        statements = getattr(parent, block, [])
        if isinstance(statements, list) and statement in statements:
            return statements[: statements.index(statement)]
    return []


def _saves(statement: ast.stmt, name: str) -> bool:
    match statement:
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=found), attr="save"))):
            return found == name
    return False
