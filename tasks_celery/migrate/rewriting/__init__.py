"""Changes what moves, with LibCST: a text in, a text out. Nothing is read or written here."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import libcst as cst

from tasks_celery.migrate.finding import Finding, Verdict
from tasks_celery.migrate.rewriting.fixer import Fixer
from tasks_celery.migrate.rewriting.imports import with_imports
from tasks_celery.migrate.rewriting.table import FIXERS
from tasks_celery.migrate.rewriting.together import Together
from tasks_celery.migrate.source import Names, Project
from tasks_celery.migrate.things import analyse


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What a text became: `text`, which findings were `changed`, and which were `left`, each with its reason."""

    text: str
    changed: tuple[Finding, ...] = ()
    left: tuple[Finding, ...] = ()


def rewrite(
    text: str, *, path: str = "tasks.py", project: Project | None = None, only: Collection[str] = ()
) -> Rewritten:
    """Return a text with all changed that moves by itself; by these fixers alone, where `only` names some.

    `path` is the text's own in the project; without a `project` the text is one of its own. A text that does not parse
    is returned as it is. Raise ValueError for a fixer that there is not.
    """
    asked = chosen(only)
    project = Project.of({path: text}) if project is None else project
    try:
        names = Names.of(path, text, project)
    except SyntaxError:
        return Rewritten(text)
    findings = list(analyse(names))
    changed = [each for each in findings if each.verdict is Verdict.MOVES and asked.issuperset(needed(each))]
    left = tuple(each for each in findings if each not in changed and each.verdict is not Verdict.STAYS)
    if not changed:
        return Rewritten(text, left=left)
    fixers = [kind(each for each in changed if each.fixer == name) for name, kind in FIXERS.items()]
    module = cst.MetadataWrapper(cst.parse_module(text), unsafe_skip_copy=True).visit(Together(fixers))
    return Rewritten(with_imports(module, fixers, names.module).code, tuple(changed), left)


def chosen(only: Collection[str]) -> frozenset[str]:
    """Return the names of the fixers that are meant, all where none is named; raise ValueError for an unknown one."""
    unknown = sorted(set(only) - set(FIXERS))
    if unknown:
        raise ValueError(f"There is no fixer {', '.join(map(repr, unknown))}. Known are {', '.join(FIXERS)}.")
    return frozenset(only or FIXERS)


def needed(finding: Finding) -> set[str]:
    """Return the fixers that have to run for a finding to move: its own, and those that its facts say it `needs`."""
    return {finding.fixer, *finding.facts.get("needs", ())}


__all__ = ["FIXERS", "Fixer", "Rewritten", "chosen", "needed", "rewrite"]
