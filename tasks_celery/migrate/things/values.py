"""What is known of a value by what is written: never None, aware, a list. Whatever cannot be proven is not so."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from functools import lru_cache

from tasks_celery.migrate.source import Names, Place

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SCOPES = (*_FUNCTIONS, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_NUMBERS = {"int", "float", "len", "round", "abs", "min", "max", "sum"}
_RANDOM = {f"random.{each}" for each in ("randint", "uniform", "random", "randrange", "expovariate", "gauss")}
_AWARE = {f"django.utils.timezone.{each}" for each in ("now", "localtime", "make_aware")}
_LISTS = {"list", "tuple", "List", "Tuple", "typing.List", "typing.Tuple"}
_DICTS = {"dict", "Dict", "typing.Dict"}

#: A name's value where it is bound: an expression; a parameter; None for what cannot be told (a loop's, an import).
Bound = ast.expr | ast.AugAssign | ast.arg | None


def is_none(node: ast.expr) -> bool:
    """Whether None is written."""
    return isinstance(node, ast.Constant) and node.value is None


def number(node: ast.expr) -> float | None:
    """Return the number that is written, as ``60`` or ``60 * 5``; None for anything else."""
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            found = number(operand)
            return None if found is None else -found
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() as op, right=right):
            first, second = number(left), number(right)
            return None if first is None or second is None else _OPERATORS[type(op)](first, second)
    return None


_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: lambda first, second: first + second,
    ast.Sub: lambda first, second: first - second,
    ast.Mult: lambda first, second: first * second,
}


def is_number(names: Names, node: ast.expr, place: Place) -> bool:  # noqa: PLR0911  a case for each
    """Whether a value that is a number or None, for nothing else would work today, is known to be a number."""
    match node:
        case ast.Constant(value=value):
            return isinstance(value, int | float) and not isinstance(value, bool)
        case ast.BinOp() | ast.UnaryOp(op=ast.USub() | ast.UAdd()):
            return True
        case ast.IfExp(body=body, orelse=orelse):
            return is_number(names, body, place) and is_number(names, orelse, place)
        case ast.BoolOp(op=ast.Or(), values=[*_, last]):
            return is_number(names, last, place)
        case ast.Call(func=ast.Name(id=name)) if name in _NUMBERS:
            return not bindings(name, place)
        case ast.Call(func=ast.Attribute(attr="total_seconds")):
            return True
        case ast.Call(func=func):
            return names.origin(func, place) in _RANDOM
        case ast.Name(id=name):
            return _all(name, place, lambda each: _is_number_bound(names, each, place))
    return False


def _is_number_bound(names: Names, bound: Bound, place: Place) -> bool:
    match bound:
        case ast.arg(annotation=ast.Name(id="int" | "float")):
            return _never_none(bound.arg, place)
        case ast.AugAssign():
            return True
        case ast.expr():
            return not isinstance(bound, ast.Name) and is_number(names, bound, place)
    return False


def _never_none(name: str, place: Place) -> bool:
    """Whether a parameter is not None by default, whatever its annotation says."""
    arguments = getattr(_scope(name, place), "args", None)
    if not isinstance(arguments, ast.arguments):
        return False
    positional = [*arguments.posonlyargs, *arguments.args]
    pairs = [*zip(reversed(positional), reversed(arguments.defaults), strict=False)]
    named = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    pairs += [(parameter, default) for parameter, default in named if default]
    return not any(parameter.arg == name and is_none(default) for parameter, default in pairs)


def is_aware(names: Names, node: ast.expr, place: Place) -> bool:
    """Whether a value is known to be a datetime with a zone; ``timezone.now()`` is one where USE_TZ is on, as by default."""
    match node:
        case ast.Call(func=ast.Attribute(value=value, attr="replace"), keywords=keywords):
            return not any(each.arg in ("tzinfo", None) for each in keywords) and is_aware(names, value, place)
        case ast.Call(func=func, args=args, keywords=keywords):
            origin = names.origin(func, place)
            if origin in _AWARE:
                return names.project.settings.get("USE_TZ", True) is True
            zones = [*args, *(each.value for each in keywords if each.arg == "tz")]
            return origin == "datetime.datetime.now" and len(zones) == 1 and not is_none(zones[0])
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub(), right=right):
            return is_aware(names, left, place) or (isinstance(node.op, ast.Add) and is_aware(names, right, place))
        case ast.Name(id=name):
            return _all(name, place, lambda each: _is_aware_bound(names, each, place))
    return False


def _is_aware_bound(names: Names, bound: Bound, place: Place) -> bool:
    if isinstance(bound, ast.AugAssign):
        return isinstance(bound.op, ast.Add | ast.Sub)
    return isinstance(bound, ast.expr) and not isinstance(bound, ast.Name) and is_aware(names, bound, place)


def is_list(names: Names, node: ast.expr, place: Place) -> bool:
    """Whether a value is known to be a list or a tuple of what JSON can hold, and still is what it was made as."""
    if isinstance(node, ast.Name):
        return _all(node.id, place, lambda each: _is_made(names, each, place, _made_list)) and _only_read(
            node.id, place
        )
    return _made_list(node) and names.is_json(node, place)


def is_dict(names: Names, node: ast.expr, place: Place) -> bool:
    """Whether a value is known to be a dict of what JSON can hold, and still is what it was made as."""
    if isinstance(node, ast.Name):
        return _all(node.id, place, lambda each: _is_made(names, each, place, _made_dict)) and _only_read(
            node.id, place
        )
    return _made_dict(node) and names.is_json(node, place)


def _is_made(names: Names, bound: Bound, place: Place, made: Callable[[ast.expr], bool]) -> bool:
    return isinstance(bound, ast.expr) and made(bound) and names.is_json(bound, place)


def _made_list(node: ast.expr) -> bool:
    match node:
        case ast.List() | ast.Tuple() | ast.ListComp():
            return True
        case ast.Call(func=ast.Name(id="list" | "tuple" | "sorted")):
            return True
    return False


def _made_dict(node: ast.expr) -> bool:
    match node:
        case ast.Dict(keys=keys):
            return all(isinstance(each, ast.Constant) and isinstance(each.value, str) for each in keys)
        case ast.Call(func=ast.Name(id="dict"), args=[], keywords=keywords):
            return all(each.arg for each in keywords)
    return False


def _only_read(name: str, place: Place) -> bool:
    """Whether nothing but calls of tasks, `len` and the like is given a name's value, so that nothing can have changed it."""
    scope = _scope(name, place)
    if not isinstance(scope, _FUNCTIONS):
        return False
    read = {id(each) for node in ast.walk(scope) for each in _readers(node)}
    return all(
        isinstance(each.ctx, ast.Store) or id(each) in read
        for each in ast.walk(scope)
        if isinstance(each, ast.Name) and each.id == name
    )


def _readers(node: ast.AST) -> Iterator[ast.expr]:
    match node:
        case ast.Call(func=ast.Attribute(attr="delay" | "apply_async" | "enqueue" | "info" | "debug")):
            yield from (each.value if isinstance(each, ast.Starred) else each for each in node.args)
            yield from (each.value for each in node.keywords)
        case ast.Call(func=ast.Name(id="len" | "bool" | "str")):
            yield from node.args
        case ast.FormattedValue(value=value):
            yield value


def bindings(name: str, place: Place) -> list[Bound]:
    """Return what a name is bound to in the scope that it belongs to; nothing for a builtin, or what a star brings."""
    scope = _scope(name, place)
    return [] if scope is None else list(_bound(name, scope))


def _all(name: str, place: Place, holds: Callable[[Bound], bool]) -> bool:
    found = bindings(name, place)
    return bool(found) and all(holds(each) for each in found)


def _scope(name: str, place: Place) -> ast.AST | None:
    around = [each for each in place.parents if isinstance(each, (*_SCOPES, ast.Module))]
    return next((each for each in around if any(True for _ in _bound(name, each))), None)


def _bound(name: str, scope: ast.AST) -> Iterator[Bound]:  # noqa: PLR0912  a case for each
    arguments = getattr(scope, "args", None)
    if isinstance(arguments, ast.arguments):
        ordinary = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        yield from (each for each in ordinary if each.arg == name)
        yield from (None for each in (arguments.vararg, arguments.kwarg) if each and each.arg == name)
    known: set[int] = set()
    for node in inside(scope):
        match node:
            case ast.Assign(targets=[ast.Name(id=found) as target], value=value) if found == name:
                known.add(id(target))
                yield value
            case ast.AnnAssign(target=ast.Name(id=found) as target, value=value) if found == name:
                known.add(id(target))
                if value is not None:
                    yield value
            case ast.AugAssign(target=ast.Name(id=found) as target) if found == name:
                known.add(id(target))
                yield node
            case ast.Name(id=found, ctx=ast.Store() | ast.Del()) if found == name and id(node) not in known:
                yield None
            case ast.FunctionDef(name=found) | ast.AsyncFunctionDef(name=found) | ast.ClassDef(name=found):
                if found == name:
                    yield None
                if name in _reached_from(node):
                    yield None
            case ast.Global(names=found_names) | ast.Nonlocal(names=found_names) if name in found_names:
                yield None
            case ast.alias(name=imported, asname=alias) if (alias or imported.partition(".")[0]) == name:
                yield None
            case ast.ExceptHandler(name=found) if found == name:
                yield None
            case ast.MatchAs(name=found) | ast.MatchStar(name=found) if found == name:
                yield None


@lru_cache(maxsize=1_024)  # of one file after the other, and asked for each name in it
def _reached_from(definition: ast.AST) -> frozenset[str]:
    """Return the names that a definition may bind in the scopes around it."""
    reaching = (each for each in ast.walk(definition) if isinstance(each, ast.Nonlocal | ast.Global))
    return frozenset(name for each in reaching for name in each.names)


def inside(scope: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a scope from top to bottom, those of scopes in it left out."""
    blocks = [getattr(scope, "body", [])] if isinstance(scope, (*_FUNCTIONS, ast.Lambda)) else [[scope]]
    todo: list[ast.AST] = []
    for block in blocks:
        todo += block if isinstance(block, list) else [block]
    if todo == [scope]:
        todo = list(ast.iter_child_nodes(scope))
    todo.reverse()
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, (*_FUNCTIONS, ast.ClassDef, ast.Lambda)):
            todo += reversed(list(ast.iter_child_nodes(node)))
