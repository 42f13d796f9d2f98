"""Which expressions are known to be what JSON can hold, without running anything."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from tasks_celery.migrate.source.annotations import says_json
from tasks_celery.migrate.source.promises import promised
from tasks_celery.migrate.source.scopes import Scope

if TYPE_CHECKING:
    from tasks_celery.migrate.source.names import Names, Place

#: Builtins that give numbers, texts and truths, whatever they are given.
SCALAR = frozenset({
    "str", "int", "len", "bool", "float", "repr", "ascii", "format", "ord", "chr", "hex", "oct", "bin", "id", "hash",
    "isinstance", "issubclass", "hasattr", "callable", "any", "all",
})  # fmt: skip
#: Builtins that give JSON where they are given it.
KEEPING = frozenset({"round", "abs", "min", "max", "sum", "sorted", "list", "dict", "tuple", "divmod", "pow"})
#: Methods that give numbers and texts, of whatever has them.
ALWAYS = frozenset(
    {"isoformat", "strftime", "timestamp", "total_seconds", "exists", "isdigit", "startswith", "endswith"}
)
#: Methods of texts and lists that give JSON of what is JSON.
OF_JSON = frozenset({
    "capitalize", "casefold", "center", "count", "find", "format", "index", "join", "ljust", "lower", "lstrip", "partition",
    "removeprefix", "removesuffix", "replace", "rfind", "rjust", "rpartition", "rsplit", "rstrip", "split", "splitlines",
    "strip", "swapcase", "title", "upper", "zfill", "copy", "get", "pop",
})  # fmt: skip
FUNCTIONS = frozenset({
    "json.dumps", "time.time", "time.monotonic", "os.getpid", "secrets.token_hex", "secrets.token_urlsafe",
    "django.utils.crypto.get_random_string", "django.utils.text.slugify", "django.urls.reverse", "django.shortcuts.reverse",
    "platform.node", "socket.gethostname", "random.random", "random.randint", "uuid.uuid4.hex",
})  # fmt: skip
#: What a request of Django answers with texts.
REQUEST = frozenset({"GET", "POST", "COOKIES", "headers"})
#: No expression that is written by hand goes deeper.
DEEPEST = 40
CHANGING = frozenset({"append", "extend", "insert", "update", "setdefault", "add"})


class JsonValues:
    """Asks one file's expressions."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self._asked: set[tuple[int, str]] = set()
        self._promised: frozenset[int] = frozenset()

    def knows_at(self, node: ast.expr, place: Place) -> bool:
        """Return whether a value is JSON, or a parameter of the task that it is given to promises so."""
        self._promised = promised(self.names, place)
        return self.knows(node, place)

    def knows(self, node: ast.expr, place: Place, depth: int = 0) -> bool:  # noqa: PLR0911
        """Return whether a value is JSON; what cannot be proven is not."""
        if depth > DEEPEST or id(node) in self._promised:
            return depth <= DEEPEST
        match node:
            case ast.Constant(value=value):
                return value is None or isinstance(value, str | int | float)
            case ast.JoinedStr():
                return True
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return all(self.knows(each, place, depth + 1) for each in items)
            case ast.Starred(value=inner):
                return self.knows(inner, place, depth + 1)
            case ast.Dict(keys=keys, values=values):
                every = [*(each for each in keys if each is not None), *values]
                return all(self.knows(each, place, depth + 1) for each in every)
            case ast.ListComp(elt=inner):
                return self.knows(inner, place, depth + 1)
            case ast.DictComp(key=key, value=value):
                return self.knows(key, place, depth + 1) and self.knows(value, place, depth + 1)
            case ast.Name() | ast.Attribute() | ast.Subscript() | ast.Call():
                return self._named(node, place, depth)
        return self._computed(node, place, depth)

    def _computed(self, node: ast.expr, place: Place, depth: int) -> bool:
        match node:
            case ast.BinOp(left=ast.Constant(value=str()) | ast.JoinedStr(), op=ast.Mod()):
                return True
            case ast.BinOp(left=left, right=right):
                parts = [left, right]
            case ast.BoolOp(values=parts):
                pass
            case ast.IfExp(body=body, orelse=orelse):
                parts = [body, orelse]
            case ast.UnaryOp(op=ast.Not()):
                return True
            case ast.UnaryOp(operand=operand):
                parts = [operand]
            case ast.Compare(ops=ops, left=left, comparators=rest):
                if all(isinstance(each, ast.Is | ast.IsNot | ast.In | ast.NotIn) for each in ops):
                    return True
                parts = [left, *rest]
            case ast.NamedExpr(value=value):
                parts = [value]
            case _:
                return False
        return all(self.knows(each, place, depth + 1) for each in parts)

    def _named(self, node: ast.expr, place: Place, depth: int) -> bool:
        match node:
            case ast.Name():
                return self._name(node, place, depth)
            case ast.Attribute(attr=attr):
                return (
                    attr in {"hex", "__name__", "__qualname__", "__module__"}
                    or self._is_key(attr)
                    or self._constant(node, place)
                )
            case ast.Subscript(value=value):
                return self._is_of_request(value) or self.knows(value, place, depth + 1)
            case ast.Call():
                return self._call(node, place, depth)
        return False

    def _is_key(self, attr: str) -> bool:
        project = self.names.project
        is_key = attr in {"pk", "id"} or attr.endswith(("_id", "_pk"))
        return is_key and not project.odd_keys and attr not in project.odd_fields

    def _is_of_request(self, node: ast.expr) -> bool:
        return (
            isinstance(node, ast.Attribute)
            and node.attr in REQUEST
            and (node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", ""))
            == "request"
        )

    def _call(self, node: ast.Call, place: Place, depth: int) -> bool:
        given = [*node.args, *(each.value for each in node.keywords)]
        match node.func:
            case ast.Name(id=name) if self._is_builtin(node.func, place):
                return name in SCALAR or (
                    name in KEEPING and all(self._items(each, place, depth + 1) for each in given)
                )
            case ast.Attribute(attr=attr, value=of):
                if attr in ALWAYS or (attr == "join" and isinstance(of, ast.Constant) and isinstance(of.value, str)):
                    return True
                if attr in {"get", "getlist"} and self._is_of_request(of):
                    return all(self.knows(each, place, depth + 1) for each in given[1:])
                if attr == "format" and isinstance(of, ast.Constant | ast.JoinedStr):
                    return True
                if attr in OF_JSON and self.knows(of, place, depth + 1):
                    return all(self.knows(each, place, depth + 1) for each in given)
        return self.names.origin(node.func, place) in FUNCTIONS

    def _items(self, node: ast.expr, place: Place, depth: int) -> bool:
        """Return whether what an iterable gives is JSON."""
        match node:
            case ast.GeneratorExp(elt=inner) | ast.SetComp(elt=inner):
                return self.knows(inner, place, depth + 1)
            case ast.Set(elts=items):
                return all(self.knows(each, place, depth + 1) for each in items)
            case ast.Call(
                func=ast.Name(id="range" | "enumerate" | "reversed" | "sorted" | "set" as name) as func, args=args
            ):
                known = name == "range" or all(self._items(each, place, depth + 1) for each in args[:1])
                return known and self._is_builtin(func, place)
            case ast.Call(
                func=ast.Attribute(attr="values_list"), args=[ast.Constant(value=str(field))], keywords=words
            ):
                is_flat = any(each.arg == "flat" and getattr(each.value, "value", None) is True for each in words)
                return is_flat and self._is_key(field.rpartition("__")[2])
            case ast.Call(func=ast.Attribute(attr="distinct" | "order_by" | "iterator" | "all", value=inner)):
                return self._items(inner, place, depth + 1)
        return self.knows(node, place, depth + 1)

    def _is_builtin(self, node: ast.Name, place: Place) -> bool:
        scope = self.names.scope(node, place).finds(node.id)
        return scope is None

    def _constant(self, node: ast.expr, place: Place) -> bool:
        origin = self.names.origin(node, place)
        module, _, name = (origin or "").rpartition(".")
        summary = self.names.project.modules.get(module)
        found = summary.bindings.get(name, []) if summary else []
        return [each.kind for each in found] == ["constant"] and found[0].target == "json"

    def _name(self, node: ast.Name, place: Place, depth: int) -> bool:
        scope = self.names.scope(node, place).finds(node.id)
        if scope is None or scope.kind == "module":
            return self._constant(node, place)
        if (id(scope), node.id) in self._asked:
            # A name that is made from itself (x = x + 1) is what the rest of it is.
            return True
        self._asked.add((id(scope), node.id))
        try:
            return all(self._bound(each, scope, depth) for each in scope.bound[node.id]) and self._stays(
                node.id, scope, depth
            )
        finally:
            self._asked.discard((id(scope), node.id))

    def _bound(self, by: str | ast.AST, scope: Scope, depth: int) -> bool:  # noqa: PLR0911
        """Return whether what binds a local name binds it to JSON."""
        if isinstance(by, ast.arg):
            return not isinstance(scope.node, ast.Lambda) and self._is_single(by, scope) and says_json(by.annotation)
        place = self.names.place_of(by) if isinstance(by, ast.Name) else None
        if place is None:
            return False
        match place.parents[0]:
            case ast.Assign(targets=targets, value=value) if by in targets:
                # Of two names for one list, either may be given what is no JSON.
                is_shared = len(targets) > 1 and not isinstance(value, ast.Constant)
                return not is_shared and self.knows(value, place, depth + 1)
            case ast.AnnAssign(annotation=said, value=value):
                return says_json(said) or (value is not None and self.knows(value, place, depth + 1))
            case ast.AugAssign(value=value):
                return self.knows(value, place, depth + 1)
            case ast.NamedExpr(value=value):
                return self.knows(value, place, depth + 1)
            case ast.For(target=target, iter=source) if target is by:
                return self._each(source, place, depth)
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp() as made:
                over = [each.iter for each in made.generators if each.target is by]
                return len(over) == 1 and self._each(over[0], place, depth)
        return False

    def _each(self, source: ast.expr, place: Place, depth: int) -> bool:
        # Of a mapping these are its keys, of a text its characters: JSON as well.
        return self._items(source, place, depth + 1)

    def _is_single(self, argument: ast.arg, scope: Scope) -> bool:
        arguments = getattr(scope.node, "args", None)
        return isinstance(arguments, ast.arguments) and argument not in (arguments.vararg, arguments.kwarg)

    def _stays(self, name: str, scope: Scope, depth: int) -> bool:
        """Return whether nothing is put into a local name that is no JSON: ``ids.append(order)``, ``data["x"]["y"] = order``."""
        return all(self._puts_json(place, depth) for place in self.names.uses_of(name, scope))

    def _puts_json(self, place: Place, depth: int) -> bool:
        node, parents = place.node, place.parents
        while isinstance(parents[0], ast.Attribute | ast.Subscript) and parents[0].value is node:
            node, parents = parents[0], parents[1:]
        match node, parents[0]:
            case ast.Attribute(attr=attr), ast.Call(func=func, args=args, keywords=words) if func is node:
                given = [*args, *(each.value for each in words)]
                return attr not in CHANGING or all(self._items(each, place, depth + 1) for each in given)
            case ast.Subscript(ctx=ast.Store()), ast.Assign(value=value) | ast.AugAssign(value=value):
                return self.knows(value, place, depth + 1)
            case ast.Subscript(ctx=ast.Store()), _:
                return False
            case ast.Name(), ast.Assign(targets=[ast.Name() as alias], value=value) if value is node:
                other = self.names.scope(alias, place)
                return depth < DEEPEST and self._stays(alias.id, other, depth + 1)
        return True
