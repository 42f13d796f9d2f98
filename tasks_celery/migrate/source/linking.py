"""Where a dotted name of a module leads to, through imports, aliases and re-exports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tasks_celery.migrate.source.summary import Binding, Summary, absolute

Seen = frozenset[tuple[str, str]]


class Links:
    """The modules of a project, to be followed from one to the next.

    Everything answers None where it cannot be proven: a name that is bound twice to different things, that a star import
    or an assignment from elsewhere may replace, or that is both a submodule and a name of its package.
    """

    def __init__(self, modules: Mapping[str, Summary], also: Mapping[str, str] | None = None) -> None:
        self.modules, self.also = modules, also or {}
        self.packages = {name for each in (*modules, *self.also) for name in _above(each)}
        self.tops = {each.partition(".")[0] for each in (*modules, *self.also)}
        self.patched: frozenset[str] = frozenset()
        self._known: dict[tuple[str, str], str | None] = {}
        self.patched = frozenset(each for summary in modules.values() for each in self._patched_by(summary))
        self._known.clear()

    def resolve(self, module: str, name: str) -> str | None:
        """Return where a dotted name of a module's top level is defined; what follows a definition is kept."""
        first, dot, rest = name.partition(".")
        if (module, first) not in self._known:
            self._known[module, first] = self._follow(module, [first], frozenset())
        found = self._known[module, first]
        if found is None or not dot:
            return found
        # What follows a module is looked up in it, what follows a definition is its own.
        return self.origin(f"{found}.{rest}") if self.is_module(found) else f"{found}.{rest}"

    def origin(self, target: str) -> str | None:
        """Return where an absolute dotted name is defined, through re-exports; a foreign one (``celery.shared_task``) as it is."""
        return self._target(target, [], frozenset())

    def imported(self, summary: Summary, target: str, rest: str = "") -> str | None:
        """Return where what a module imports leads to (a target as `Binding` has it), and what follows it."""
        found = self._absolute(summary, target)
        return self._target(found, rest.split(".") if rest else [], frozenset()) if found else None

    def is_module(self, name: str) -> bool:
        """Return whether the project has a module or a namespace of this name."""
        return name in self.modules or name in self.packages or name in self.also

    def _absolute(self, summary: Summary, target: str) -> str | None:
        if summary.root and not target.startswith("."):
            top = target.partition(":")[0].partition(".")[0]
            return f"{summary.root}.{target}" if self.is_module(f"{summary.root}.{top}") else target
        return absolute(target, summary.module, is_package=summary.is_package)

    def _target(self, target: str, rest: Sequence[str], seen: Seen) -> str | None:
        module, colon, attribute = target.partition(":")
        after = [*(attribute.split(".") if attribute else []), *rest]
        if not colon:
            module, *more = target.split(".")
            after = [*more, *after]
        if module.partition(".")[0] not in self.tops:
            return ".".join([module, *after])
        return self._follow(module, after, seen) if self.is_module(module) else None

    def _follow(self, module: str, names: Sequence[str], seen: Seen) -> str | None:  # noqa: PLR0911
        module = self.also.get(module, module)
        if not names:
            return module
        first, *rest = names
        if (module, first) in seen or not self.patched.isdisjoint((f"{module}.{first}", f"{module}.*")):
            return None
        seen |= {(module, first)}
        summary = self.modules.get(module)
        found = summary.bindings.get(first, []) if summary else []
        submodule = f"{module}.{first}"
        if not found or summary is None:
            if self.is_module(submodule):
                return self._follow(submodule, rest, seen)
            return self._from_star(summary, first, rest, seen) if summary else None
        if self._is_covered(summary, first, found, seen):
            return None
        if self.is_module(submodule) and not all(self._is_of(summary, each, submodule) for each in found):
            return None
        leads = {self._bound(summary, first, each, rest, seen) for each in found}
        # Two definitions have one name, and yet are two.
        twice = len(found) > 1 and any(each.kind not in {"import", "alias"} for each in found)
        return leads.pop() if len(leads) == 1 and not twice else None

    def _bound(self, summary: Summary, name: str, binding: Binding, rest: Sequence[str], seen: Seen) -> str | None:
        match binding.kind:
            case "import":
                target = self._absolute(summary, binding.target)
                return self._target(target, rest, seen) if target else None
            case "alias":
                return self._follow(summary.module, [*binding.target.split("."), *rest], seen)
            case "function" | "class" | "call" | "constant":
                return ".".join([summary.module, name, *rest])
        return None

    def _is_of(self, summary: Summary, binding: Binding, submodule: str) -> bool:
        """Tell whether a name of a package that has a submodule of this name is no doubt.

        It is the submodule itself, or was imported from it: then the submodule is loaded already, and does not replace it.
        """
        target = self._absolute(summary, binding.target) or ""
        own = f"{summary.module}:{submodule.rpartition('.')[2]}"
        return binding.kind == "import" and (target == own or target.startswith(f"{submodule}:"))

    def _is_covered(self, summary: Summary, name: str, found: list[Binding], seen: Seen) -> bool:
        """Tell whether a star import after a definition may bind the name again."""
        first = min(each.line for each in found)
        after = [star for star, line in summary.stars if line > first]
        return any(self._may_export(each, summary, name, seen) for each in after)

    def _from_star(self, summary: Summary, name: str, rest: Sequence[str], seen: Seen) -> str | None:
        """Follow a name that star imports alone can bring: proven where all of them are of the project, and one brings it."""
        sources = [star for star, _ in summary.stars if self._may_export(star, summary, name, seen)]
        module = self._absolute(summary, sources[0]) if len(sources) == 1 else None
        source = self.modules.get(module or "")
        if source is None or ("__all__" in source.bindings and source.exported is None):
            return None
        return self._follow(source.module, [name, *rest], seen)

    def _may_export(self, star: str, summary: Summary, name: str, seen: Seen) -> bool:
        module = self._absolute(summary, star)
        module = self.also.get(module or "", module or "")
        source = self.modules.get(module)
        if source is None or (module, f"*{name}") in seen:
            return source is None
        if source.exported is not None:
            return name in source.exported
        if "__all__" in source.bindings and name in source.bindings:
            return True
        if name.startswith("_"):
            return False
        seen |= {(module, f"*{name}")}
        within = any(self._may_export(each, source, name, seen) for each, _ in source.stars)
        return name in source.bindings or self.is_module(f"{module}.{name}") or within

    def _patched_by(self, summary: Summary) -> Iterator[str]:
        for each in summary.patched:
            if each == "*":
                yield f"{summary.module}.*"
                continue
            holder, _, name = each.rpartition(".")
            first, _, rest = holder.partition(".")
            for target in summary.imports.get(first, ()):
                module = self.imported(summary, target, rest)
                if module is not None and self.is_module(module):
                    yield f"{module}.{name}"


def _above(module: str) -> Iterator[str]:
    parts = module.split(".")
    return (".".join(parts[:size]) for size in range(1, len(parts)))
