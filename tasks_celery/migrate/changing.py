"""Rewrites the files of a project: each on its own, several processes at a time. What each becomes, `rewriting` says."""

from __future__ import annotations

import difflib
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks_celery.migrate.finding import Finding, Verdict
from tasks_celery.migrate.rewriting import chosen, needed, rewrite
from tasks_celery.migrate.source import Project
from tasks_celery.migrate.source.parsing import UnreadableError, decode
from tasks_celery.migrate.source.pool import each
from tasks_celery.migrate.writing import NotWrittenError, encode, refuse_nonsense, replace_file

#: As many files are done sooner than other processes are begun.
FEW = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How files are to be rewritten: `only` by these fixers, written or not, with a diff or without."""

    root: Path
    only: frozenset[str] = frozenset()
    write: bool = False
    diff: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What became of one file: how much each fixer changed, the diff where it was asked for, and why it was left, if it was."""

    path: str
    fixers: Counter[str]
    diff: str = ""
    problem: str = ""


def paths_to_change(findings: Collection[Finding], only: Collection[str]) -> list[str]:
    """Return the files in which these fixers have anything to change; raise ValueError for an unknown fixer."""
    asked = chosen(only)
    moving = (finding for finding in findings if finding.verdict is Verdict.MOVES)
    return sorted({finding.path for finding in moving if needed(finding) <= asked})


def change_all(
    project: Project, paths: Sequence[str], asked: Asked, progress: Callable[[int, int], None]
) -> Iterator[Changed]:
    """Rewrite files and yield what became of each, in their order."""
    processes = 1 if len(paths) < FEW else os.cpu_count()
    return each(_change, (project, asked), paths, processes=processes, progress=progress)


def _change(shared: tuple[Project, Asked], path: str) -> Changed:
    project, asked = shared
    return change(project, path, asked)


def change(project: Project, path: str, asked: Asked) -> Changed:
    """Rewrite one file, as far as it is asked for; what keeps it from being written is told, and nothing is raised."""
    file = asked.root / path
    fixers: Counter[str] = Counter()
    try:
        before = file.read_bytes()
        text = decode(before)
        done = rewrite(text, path=path, project=project, only=asked.only)
        fixers.update(finding.fixer for finding in done.changed)
        refuse_nonsense(done.text, path)
        if asked.write and done.text != text:
            replace_file(file, before, encode(done.text, before))
    except OSError as error:
        return Changed(path=path, fixers=fixers, problem=f"it cannot be read: {error.strerror}.")
    except (NotWrittenError, UnreadableError) as error:
        return Changed(path=path, fixers=fixers, problem=str(error))
    return Changed(path=path, fixers=fixers, diff=difference(text, done.text, path) if asked.diff else "")


def difference(before: str, after: str, path: str) -> str:
    """Return a unified diff of a file, as patch and git take it."""
    lines = difflib.unified_diff(_lines(before), _lines(after), f"a/{path}", f"b/{path}")
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _lines(text: str) -> list[str]:
    # Not splitlines(): a form feed and its like are no end of a line to patch.
    parts = text.split("\n")
    return [f"{part}\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])
