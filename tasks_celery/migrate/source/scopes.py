"""The scopes of a file: which names each binds, and in which one each expression stands."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tasks_celery.migrate.source.summary import imported

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
OPENING = frozenset({*FUNCTIONS, *COMPREHENSIONS, ast.ClassDef})
#: What can bind a name where it stands.
BINDING = frozenset({
    ast.Name, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.ExceptHandler, ast.MatchAs,
    ast.MatchStar, ast.MatchMapping, ast.Global, ast.Nonlocal, ast.NamedExpr,
})  # fmt: skip


class Scope:
    """A function, a lambda, a comprehension, a class or the module, with what it binds.

    `bound` has of each name what binds it: an import's target, or the node that does.
    """

    __slots__ = ("bound", "elsewhere", "kind", "node", "outer")

    def __init__(self, node: ast.AST, outer: Scope | None) -> None:
        self.node, self.outer = node, outer
        self.kind = (
            "module" if outer is None
            else "class" if isinstance(node, ast.ClassDef)
            else "comprehension" if isinstance(node, COMPREHENSIONS)
            else "function"
        )  # fmt: skip
        self.bound: dict[str, list[str | ast.AST]] = {}
        #: The names that are declared ``global`` or ``nonlocal``.
        self.elsewhere: dict[str, str] = {}

    def bind(self, name: str, to: str | ast.AST) -> None:
        self.bound.setdefault(name, []).append(to)

    def around(self) -> Iterator[Scope]:
        """Yield the scopes in which a name that stands here is looked up, from here outwards: classes around do not count."""
        yield self
        scope = self.outer
        while scope is not None:
            if scope.kind != "class":
                yield scope
            scope = scope.outer

    def finds(self, name: str) -> Scope | None:
        """Return the scope that a name refers to from here; None for one that no scope binds."""
        for scope in self.around():
            said = scope.elsewhere.get(name)
            if said == "global":
                return scope.module
            if said != "nonlocal" and name in scope.bound:
                return scope
        return None

    @property
    def module(self) -> Scope:
        scope = self
        while scope.outer is not None:
            scope = scope.outer
        return scope


class Scopes:
    """The scopes of a tree. One walk: `nodes` has every node with its parents, `of` the scope that each stands in, by id."""

    def __init__(self, tree: ast.Module) -> None:
        self.top = Scope(tree, None)
        self.nodes: list[tuple[ast.AST, tuple[ast.AST, ...]]] = []
        self.of: dict[int, Scope] = {}
        self._inner: dict[int, Scope] = {}
        self._all = [self.top]
        self._walk(tree)
        for scope in self._all:
            self._hand_over(scope)

    def inside(self, node: ast.AST) -> Scope | None:
        """Return the scope that a node opens."""
        return self._inner.get(id(node))

    def _walk(self, tree: ast.Module) -> None:
        stack: list[tuple[ast.AST, tuple[ast.AST, ...], Scope]] = [(tree, (), self.top)]
        while stack:
            node, parents, scope = stack.pop()
            self.nodes.append((node, parents))
            self.of[id(node)] = scope
            kind = type(node)
            if kind in BINDING:
                _bind(node, scope)
            around = (node, *parents)
            if kind in OPENING:
                inner = self._inner[id(node)] = Scope(node, scope)
                self._all.append(inner)
                stack += [(child, around, where) for child, where in reversed(list(_opening(node, scope, inner)))]
            else:
                stack += [(child, around, scope) for child in reversed(children(node))]

    def _hand_over(self, scope: Scope) -> None:
        """Give the bindings of names that are declared ``global`` or ``nonlocal`` to the scope that has them."""
        for name, said in scope.elsewhere.items():
            found = scope.bound.pop(name, [])
            for each in found:
                if said == "global":
                    scope.module.bind(name, each)
                else:
                    outer = next((up for up in scope.around() if up is not scope and name in up.bound), None)
                    if outer is not None:
                        outer.bind(name, each)


def _opening(node: ast.AST, outer: Scope, inner: Scope) -> Iterator[tuple[ast.AST, Scope]]:
    """Yield the children of a node that opens a scope: decorators, defaults and the first iterable stand outside."""
    if isinstance(node, COMPREHENSIONS):
        # `generators` come last in the tree and bind first.
        for number, each in enumerate(node.generators):
            yield each.target, inner
            yield each.iter, inner if number else outer
            yield from ((test, inner) for test in each.ifs)
        yield from ((each, inner) for each in _results(node))
        return
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.arguments):
                for argument in _arguments(child):
                    inner.bind(argument.arg, argument)
            if name == "type_params":
                inner.bind(str(getattr(child, "name", "")), child)
            if isinstance(child, ast.AST):
                yield child, inner if name in {"body", "type_params"} else outer


def children(node: ast.AST) -> list[ast.AST]:
    """Return what a node has in it, as `ast.iter_child_nodes` does, but for the contexts of names; several times as fast."""
    found: list[ast.AST] = []
    held = node.__dict__
    for name in node._fields:
        value = held.get(name)
        if value.__class__ is list:
            found += [each for each in value if isinstance(each, ast.AST)]
        elif name != "ctx" and isinstance(value, ast.AST):
            found.append(value)
    return found


def _results(node: ast.AST) -> list[ast.expr]:
    match node:
        case ast.DictComp(key=key, value=value):
            return [key, value]
    return [node.elt]  # type: ignore[attr-defined]


def _arguments(node: ast.arguments) -> list[ast.arg]:
    every = [*node.posonlyargs, *node.args, node.vararg, *node.kwonlyargs, node.kwarg]
    return [each for each in every if each is not None]


def _bind(node: ast.AST, scope: Scope) -> None:
    match node:
        case ast.Name():
            if not isinstance(node.ctx, ast.Load):
                scope.bind(node.id, node)
        case ast.NamedExpr(target=ast.Name() as walrus) if scope.kind == "comprehension":
            # It binds around the comprehension; its own target binds in it too, which proves nothing either.
            outer = next(each for each in scope.around() if each.kind != "comprehension")
            outer.bind(walrus.id, walrus)
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            scope.bind(name, node)
        case ast.Import() | ast.ImportFrom():
            for name, target in imported(node):
                scope.bind(name, target)
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            scope.bind(name, node)
        case ast.MatchMapping(rest=str(name)):
            scope.bind(name, node)
        case ast.Global(names=names):
            scope.elsewhere |= dict.fromkeys(names, "global")
        case ast.Nonlocal(names=names):
            scope.elsewhere |= dict.fromkeys(names, "nonlocal")
