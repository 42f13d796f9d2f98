"""What one file binds at its top level: all that other files can refer to. One pass over its statements."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tasks_celery.migrate.source.annotations import says_json
from tasks_celery.migrate.source.fields import odd_fields
from tasks_celery.migrate.source.keys import may_be_key
from tasks_celery.migrate.source.parsing import Lines, UnreadableError, parse
from tasks_celery.migrate.source.plain import NOT_PLAIN, is_plain, plain

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Binding(NamedTuple):
    """What a name is bound to at `line`.

    `kind` is "import" (of `target`, ``package.module:name``, relative ones with their dots before), "function", "class",
    "alias" (of the dotted name `target`), "call" (the result of the dotted name `target`), "constant" or "other".
    """

    kind: str
    target: str = ""
    line: int = 0


class Made(NamedTuple):
    """A decorator or a call that may make a task: what is called, as written, and its keyword arguments as source text."""

    by: str
    options: Mapping[str, str]
    line: int
    column: int
    #: What the call is given first, where that is a dotted name: the function of ``shared_task(add)``.
    of: str = ""


class Set(NamedTuple):
    """A setting that may be Celery's: as `written`, its value as far as it is plain, and where."""

    written: str
    value: Any
    line: int
    #: The app it is set on (``app`` of ``app.conf.x``), "" in a module of settings.
    on: str = ""


@dataclass(slots=True)
class Summary:
    """What a module binds. Small and picklable: it goes from one process to another."""

    module: str
    path: str
    is_package: bool
    bindings: dict[str, list[Binding]] = field(default_factory=dict)
    #: The modules whose names are imported with a star, each with its line.
    stars: list[tuple[str, int]] = field(default_factory=list)
    exported: list[str] | None = None
    #: Dotted names that are assigned to from elsewhere in this module (``tasks.add = …``); "*" for all of a module's.
    patched: list[str] = field(default_factory=list)
    #: What is imported anywhere in the file, functions included, by the name it is bound to.
    imports: dict[str, list[str]] = field(default_factory=dict)
    #: The decorated functions, by name (methods with their class): their decorators.
    decorated: dict[str, list[Made]] = field(default_factory=dict)
    #: Of the decorated functions' parameters which are annotated as JSON: those given by position, and all by name.
    promises: dict[str, tuple[tuple[bool, ...], dict[str, bool]]] = field(default_factory=dict)
    #: What is called to make a name: ``add = shared_task(f)``.
    made: dict[str, Made] = field(default_factory=dict)
    #: The classes: their bases as written, and what their bodies assign.
    classes: dict[str, tuple[list[str], dict[str, str]]] = field(default_factory=dict)
    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    settings: list[Set] = field(default_factory=list)
    #: The ``namespace`` of each ``config_from_object``, with what it is given.
    configured: list[tuple[str, str]] = field(default_factory=list)
    #: Whether a model has a primary key that is neither a number nor a text, and the fields that are neither.
    odd_keys: bool = False
    odd_fields: frozenset[str] = frozenset()
    #: What a function without decorators returns the result of, where that is all it returns: ``Celery``.
    returns: dict[str, str] = field(default_factory=dict)
    #: What stands before the name it is imported by, where two modules share that one (`roots_of`).
    root: str = ""
    error: str = ""
    error_line: int = 1


def dotted(node: ast.expr) -> str | None:
    """Return a chain of names as written, ``a.b.c``; None for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return ".".join([node.id, *reversed(parts)]) if parts else node.id


def summarise(module: str, path: str, text: str, *, is_package: bool = False) -> Summary:
    """Return what a module binds; one that cannot be parsed says why in `error`."""
    summary = Summary(module, path, is_package)
    try:
        tree = parse(text)
    except UnreadableError as error:
        summary.error, summary.error_line = error.why, error.line
        return summary
    _Reader(summary, text).read(tree)
    return summary


def imported(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str]]:
    """Yield the names that an import binds, each with what it refers to (`Binding`); ``*`` for a star, with the module."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            first, _, rest = alias.name.partition(".")
            # "import a.b as c" takes the attribute b of a, as "from a import b" does.
            yield (alias.asname, f"{first}:{rest}") if alias.asname else (first, f"{first}:")
        return
    base = "." * node.level + (node.module or "")
    for alias in node.names:
        yield (alias.asname or alias.name, base if alias.name == "*" else f"{base}:{alias.name}")


def absolute(target: str, module: str, *, is_package: bool) -> str | None:
    """Return an import's target without its dots; None for one that leaves the top."""
    rest = target.lstrip(".")
    level = len(target) - len(rest)
    if not level:
        return target
    parts = module.split(".") if module else []
    keep = len(parts) - level + (1 if is_package else 0)
    if keep < 0 or (keep == 0 and not is_package and level > 1):
        return None
    name, colon, attribute = rest.partition(":")
    base = ".".join([*parts[:keep], *([name] if name else [])])
    if not base:
        # Beside modules that are in no package: "from . import x" fails there.
        return None
    return base + colon + attribute


#: What is said in calls, and counts wherever it is said.
_TELLING = ("setattr", "delattr", "globals", "exec", "config_from_object", ".conf.update")


_CHANGING = frozenset({"append", "extend", "insert", "update", "setdefault", "pop", "remove", "clear", "add"})


class _Reader:
    """Walks the statements of a file: those of functions for their imports and assignments alone."""

    def __init__(self, summary: Summary, text: str) -> None:
        self.summary, self.text, self.lines = summary, text, Lines(text)
        #: What any function declares ``global``: what it then binds, it binds for all.
        self.globals: set[str] = set()

    def read(self, tree: ast.Module) -> None:
        self.block(tree.body, "")
        self.summary.imports = {name: sorted(set(found)) for name, found in self.summary.imports.items()}
        if ":=" in self.text:
            self.walruses(tree)
        if any(each in self.text for each in _TELLING):
            for node in ast.walk(tree):
                if isinstance(node, ast.Call):
                    self.call(node)
        if not _is_migration(self.summary.path):
            self.summary.odd_keys, self.summary.odd_fields = odd_fields(tree, self.text)

    def bind(self, name: str, kind: str, target: str = "", *, at: ast.stmt | ast.expr) -> None:
        self.summary.bindings.setdefault(name, []).append(Binding(kind, target, at.lineno))

    def is_global(self, name: str, inside: str) -> bool:
        return not inside or (inside == "()" and name in self.globals)

    def block(self, body: list[ast.stmt], inside: str) -> None:
        for node in body:
            self.statement(node, inside)

    def statement(self, node: ast.stmt, inside: str) -> None:  # noqa: PLR0912
        """Read one statement. `inside` is "" at the top level, the class's name in a class, "()" in a function."""
        match node:
            case ast.Import() | ast.ImportFrom():
                self.importing(node, inside)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self.function(node, inside)
            case ast.ClassDef():
                self.classed(node, inside)
            case ast.Assign(targets=targets, value=value):
                for each in targets:
                    self.assign(each, value if len(targets) == 1 or isinstance(each, ast.Name) else None, node, inside)
            case ast.AnnAssign(target=target, value=value):
                if value is not None:
                    self.assign(target, value, node, inside)
            case ast.AugAssign(target=target):
                self.assign(target, None, node, inside)
            case ast.Delete(targets=targets):
                for each in targets:
                    self.assign(each, None, node, inside)
            case ast.Global(names=names):
                self.globals.update(names)
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=target, attr=attr))) if attr in _CHANGING:
                self.changed(dotted(target) or "", node, inside)
            case _:
                self.compound(node, inside)

    def changed(self, name: str, node: ast.stmt, inside: str) -> None:
        """Take note of a setting that a method changes: ``CELERY_TASK_ROUTES.update(…)``."""
        on, conf, key = name.rpartition(".conf.")
        if conf or (inside != "()" and may_be_key(name)):
            self.summary.settings.append(Set(key if conf else name, NOT_PLAIN, node.lineno, on))

    def compound(self, node: ast.stmt, inside: str) -> None:
        match node:
            case ast.For(target=target) | ast.AsyncFor(target=target):
                self.assign(target, None, node, inside)
            case ast.With(items=items) | ast.AsyncWith(items=items):
                for item in items:
                    if item.optional_vars is not None:
                        self.assign(item.optional_vars, None, node, inside)
            case ast.Match(cases=cases):
                for each in cases:
                    for inner in ast.walk(each.pattern):
                        name = getattr(inner, "name", None) or getattr(inner, "rest", None)
                        if isinstance(name, str) and self.is_global(name, inside):
                            self.bind(name, "other", at=node)
                    self.block(each.body, inside)
        for block in ("body", "orelse", "finalbody"):
            found = getattr(node, block, None)
            if isinstance(found, list):
                self.block(found, inside)
        for handler in getattr(node, "handlers", ()):
            if handler.name and self.is_global(handler.name, inside):
                self.bind(handler.name, "other", at=node)
            self.block(handler.body, inside)

    def importing(self, node: ast.Import | ast.ImportFrom, inside: str) -> None:
        for name, target in imported(node):
            if name == "*":
                self.summary.stars.append((target, node.lineno))
                continue
            self.summary.imports.setdefault(name, []).append(target)
            if self.is_global(name, inside):
                self.bind(name, "import", target, at=node)

    def function(self, node: Function, inside: str) -> None:
        if inside != "()":
            name = f"{inside}.{node.name}" if inside else node.name
            if node.decorator_list:
                self.summary.places[name] = self.place_of(node)
                self.summary.promises[name] = promises_of(node.args)
                self.summary.decorated[name] = [made for each in node.decorator_list if (made := self.making(each))]
        if self.is_global(node.name, inside):
            self.bind(node.name, "function", at=node)
            if not node.decorator_list and (returned := result_of(node)):
                self.summary.returns[node.name] = returned
        self.block(node.body, "()")

    def classed(self, node: ast.ClassDef, inside: str) -> None:
        if self.is_global(node.name, inside):
            self.bind(node.name, "class", at=node)
            self.summary.places[node.name] = self.place_of(node)
            bases = [name for each in node.bases if (name := dotted(each))]
            self.summary.classes[node.name] = (bases, self.attributes(node))
        self.block(node.body, inside if inside == "()" else f"{inside}.{node.name}".lstrip("."))

    def attributes(self, node: ast.ClassDef) -> dict[str, str]:
        found: dict[str, str] = {}
        for each in node.body:
            match each:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    found[name] = self.lines.source(value)
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                    found[name] = self.lines.source(value)
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    found[name] = "def"
        return found

    def making(self, node: ast.expr) -> Made | None:
        call = node if isinstance(node, ast.Call) else None
        name = dotted(call.func if call else node)
        if name is None:
            # What a call with options has made is called: the second one has the function.
            outer = call.func if call else None
            inner = self.making(outer) if isinstance(outer, ast.Call) else None
            return inner._replace(of=_first(call)) if inner and call else None
        options = {each.arg or "**": self.lines.source(each.value) for each in call.keywords} if call else {}
        if call and any(isinstance(each, ast.Starred) for each in call.args):
            options["*"] = ""
        return Made(name, options, node.lineno, self.lines.column(node.lineno, node.col_offset), _first(call))

    def place_of(self, node: Function | ast.ClassDef) -> tuple[int, int]:
        return name_place(self.lines, node)

    def assign(self, target: ast.expr, value: ast.expr | None, node: ast.stmt, inside: str) -> None:
        match target:
            case ast.Name(id=name):
                if not inside:
                    self.name(name, value, node)
                elif self.is_global(name, inside):
                    self.bind(name, "other", at=node)
                if inside != "()" and may_be_key(name):
                    self.summary.settings.append(Set(name, NOT_PLAIN if value is None else plain(value), node.lineno))
            case ast.Attribute():
                self.attribute(target, value, node)
            case ast.Subscript(value=inner):
                self.subscript(inner, value, target, node)
            case ast.Tuple(elts=items) | ast.List(elts=items):
                for each in items:
                    self.assign(each, None, node, inside)
            case ast.Starred(value=inner):
                self.assign(inner, None, node, inside)

    def name(self, name: str, value: ast.expr | None, node: ast.stmt) -> None:
        if name == "__all__":
            exported: Any = plain(value) if value is not None else NOT_PLAIN
            known = isinstance(exported, list | tuple) and is_plain(exported)
            self.summary.exported = (
                [str(each) for each in exported] if known and "__all__" not in self.summary.bindings else None
            )
        kind, target = "other", ""
        match value:
            case None:
                pass
            case ast.Name() | ast.Attribute():
                target = dotted(value) or ""
                kind = "alias" if target else "other"
            case ast.Call():
                made = self.making(value)
                if made is not None:
                    kind, target = "call", made.by
                    self.summary.made[name] = made
                    self.summary.places[name] = (node.lineno, self.lines.column(node.lineno, node.col_offset))
            case _:
                kind, target = ("constant", _json(plain(value))) if is_plain(plain(value)) else ("other", "")
        self.bind(name, kind, target, at=node)

    def attribute(self, target: ast.Attribute, value: ast.expr | None, node: ast.stmt) -> None:
        name = dotted(target)
        if name is None:
            return
        head, conf, key = name.rpartition(".conf.")
        if conf and "." not in key:
            self.summary.settings.append(Set(key, NOT_PLAIN if value is None else plain(value), node.lineno, head))
        else:
            self.summary.patched.append(name)

    def subscript(self, inner: ast.expr, value: ast.expr | None, target: ast.Subscript, node: ast.stmt) -> None:
        name = dotted(inner) or ""
        key = plain(target.slice)
        if name.endswith(".conf") and isinstance(key, str):
            found = NOT_PLAIN if value is None else plain(value)
            self.summary.settings.append(Set(key, found, node.lineno, name.removesuffix(".conf")))
        elif ".conf." in name:
            head, _, part = name.rpartition(".conf.")
            self.summary.settings.append(Set(part, NOT_PLAIN, node.lineno, head))
        elif may_be_key(name):
            self.summary.settings.append(Set(name, NOT_PLAIN, node.lineno))
        elif name == "sys.modules" or (isinstance(inner, ast.Call) and dotted(inner.func) in {"globals", "vars"}):
            self.summary.patched.append("*")

    def walruses(self, tree: ast.Module) -> None:
        """Bind what ``:=`` binds, wherever it stands: which of them are in functions is not asked."""
        for node in ast.walk(tree):
            if isinstance(node, ast.NamedExpr):
                self.bind(node.target.id, "other", at=node)

    def call(self, node: ast.Call) -> None:
        name = dotted(node.func) or ""
        last = name.rpartition(".")[2]
        if name in {"exec", "globals.update"} or (last == "" and _calls(node.func, "globals")):
            self.summary.patched.append("*")
        elif name in {"setattr", "delattr"} and node.args:
            module = dotted(node.args[0])
            key = plain(node.args[1]) if len(node.args) > 1 else NOT_PLAIN
            if module:
                self.summary.patched.append(f"{module}.{key}" if isinstance(key, str) else f"{module}.*")
        elif last == "config_from_object" and node.args:
            given = plain(node.args[0])
            words = {each.arg: plain(each.value) for each in node.keywords}
            namespace = words.get("namespace", "")
            what = given if isinstance(given, str) else dotted(node.args[0]) or ""
            self.summary.configured.append((namespace if isinstance(namespace, str) else "*", what))
        elif name.endswith(".conf.update"):
            on = name.removesuffix(".conf.update")
            for item in [*node.args, *(each.value for each in node.keywords if each.arg is None)]:
                found = plain(item)
                for key, value in found.items() if isinstance(found, dict) else ():
                    self.summary.settings.append(Set(str(key), value, node.lineno, on))
            for word in node.keywords:
                if word.arg:
                    self.summary.settings.append(Set(word.arg, plain(word.value), word.value.lineno, on))


def promises_of(arguments: ast.arguments) -> tuple[tuple[bool, ...], dict[str, bool]]:
    """Return which parameters are annotated as JSON: those given by position in their order, and all by name."""
    first = [*arguments.posonlyargs, *arguments.args]
    said = {each.arg: says_json(each.annotation) for each in [*first, *arguments.kwonlyargs]}
    return tuple(said[each.arg] for each in first), said


def result_of(node: Function) -> str | None:
    """Return what a function returns the result of: ``Celery`` of ``return Celery()``, or of a name assigned once from that."""
    match _returned(node.body):
        case [ast.Call(func=func)]:
            return dotted(func)
        case [ast.Name(id=name)]:
            return _made_in(node, name)
    return None


def _returned(body: list[ast.stmt]) -> list[ast.expr | None]:
    """Return what is returned somewhere in a body, functions within included."""
    found: list[ast.expr | None] = []
    todo: list[ast.AST] = list(body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Return):
            found.append(node.value)
        for block in ("body", "orelse", "finalbody", "handlers", "cases"):
            held = getattr(node, block, None)
            # A conditional expression has them too, but is no statement.
            if held.__class__ is list:
                todo += held
    return found


def _made_in(node: Function, name: str) -> str | None:
    """Return what is called for a name that is assigned once in a function; None for any other."""
    inside = [inner for each in node.body for inner in ast.walk(each)]
    stores = [
        each for each in inside if isinstance(each, ast.Name) and each.id == name and not isinstance(each.ctx, ast.Load)
    ]
    match [each.value for each in inside if isinstance(each, ast.Assign) and each.targets == stores]:
        case [ast.Call(func=func)]:
            return dotted(func)
    return None


def name_place(lines: Lines, node: Function | ast.ClassDef) -> tuple[int, int]:
    """Return where the name of a definition stands."""
    start = lines.column(node.lineno, node.col_offset)
    line = node.lineno
    usual = "class " if isinstance(node, ast.ClassDef) else "def "
    if lines.lines[line - 1].startswith(f"{usual}{node.name}", start):
        return line, start + len(usual)
    while line <= len(lines.lines):
        text = lines.lines[line - 1]
        found = _word(text, node.name, start)
        if found >= 0:
            return line, found
        line, start = line + 1, 0
    return node.lineno, lines.column(node.lineno, node.col_offset)


def _word(text: str, word: str, start: int) -> int:
    """Return where a definition's name begins after ``async``, ``def`` and ``class``; -1 where it is not on the line."""
    while start < len(text):
        if not (text[start].isalnum() or text[start] == "_"):
            start += 1
            continue
        end = start
        while end < len(text) and (text[end].isalnum() or text[end] == "_"):
            end += 1
        if text[start:end] not in {"async", "def", "class"}:
            return start
        start = end
    return -1


def _json(value: Any) -> str:
    """Return "json" for a constant that nothing changes and that JSON can hold."""
    scalars = value if isinstance(value, tuple) else [value]
    return "json" if all(each is None or isinstance(each, str | int | float) for each in scalars) else ""


def _first(call: ast.Call | None) -> str:
    return (dotted(call.args[0]) or "") if call and call.args else ""


def _calls(func: ast.expr, name: str) -> bool:
    return isinstance(func, ast.Attribute) and isinstance(func.value, ast.Call) and dotted(func.value.func) == name


def _is_migration(path: str) -> bool:
    return "/migrations/" in f"/{path}"
