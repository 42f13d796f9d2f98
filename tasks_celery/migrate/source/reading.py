"""Reads a project from its folder, and finds in it what there is to be found: in several processes, file by file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tasks_celery.migrate.finding import Anchor, Finding, Verdict
from tasks_celery.migrate.source.judging import moving_of, scheduled_of
from tasks_celery.migrate.source.modules import is_package, module_names
from tasks_celery.migrate.source.names import Names
from tasks_celery.migrate.source.parsing import UnreadableError, decode
from tasks_celery.migrate.source.pool import Progress, each
from tasks_celery.migrate.source.prefilter import Words, has_celery, words_of_celery, words_of_tasks
from tasks_celery.migrate.source.project import Project, Use
from tasks_celery.migrate.source.summary import Summary, summarise
from tasks_celery.migrate.source.tree import tree_of
from tasks_celery.migrate.source.uses import uses_in


def read(folder: str | Path, *, processes: int | None = None, progress: Progress | None = None) -> Project:
    """Return the project in a folder; nothing of it is imported or run.

    `progress` is called with how many files are done, and of how many. A file that cannot be read is no error: `find_all`
    has a finding for it. Raises `CrashedError` where a process was ended before it was done.
    """
    root = Path(folder)
    tree = tree_of(root)
    names = module_names(tree.files)
    known = {path: (names[path][0], root) for path in tree.files}
    summaries = each(_summary, known, tree.files, processes=processes, progress=progress)
    project = Project.linked(summaries, names)
    project.root, project.skipped = str(root), dict(tree.skipped)
    words = words_of_tasks(project)
    _prepare(project)
    if project.tasks:
        for found in each(_uses, (project, words), tree.files, processes=processes, progress=None):
            project.add(found)
    for moving in each(moving_of, project, project.defining, processes=processes, progress=None):
        project.moving |= moving
    for path in project.scheduling:
        project.scheduled.update(scheduled_of(project, path))
    return project


def find_all(project: Project, *, processes: int | None = None, progress: Progress | None = None) -> list[Finding]:
    """Return what is found in all files of a project, by path and from top to bottom."""
    paths = sorted(project.by_path)
    _prepare(project)
    shared = (project, Words(words_of_celery(project)))
    found = each(_findings, shared, paths, processes=processes, progress=progress)
    every = [*_skipped(project), *(finding for findings in found for finding in findings)]
    return sorted(every, key=lambda one: one.path)


def _prepare(project: Project) -> None:
    """Have everything known that is asked of all modules, before each process would find it out for itself."""
    for name in ("links", "by_path", "by_name", "importing", "assigned", "odd_keys", "odd_fields"):
        getattr(project, name)


def _summary(known: dict[str, tuple[str, Path]], path: str) -> Summary:
    module, root = known[path]
    try:
        text = decode((root / path).read_bytes())
    except UnreadableError as error:
        return Summary(module, path, is_package(path), error=error.why, error_line=error.line)
    except OSError as error:
        return Summary(module, path, is_package(path), error=f"it cannot be read: {error.strerror}")
    try:
        return summarise(module, path, text, is_package=is_package(path))
    except RecursionError:
        return Summary(module, path, is_package(path), error="its expressions are nested too deeply")


def _uses(shared: tuple[Project, Words], path: str) -> list[Use]:
    project, words = shared
    try:
        data = project.data(path)
        return uses_in(project, path, decode(data)) if words.may_be_in(data) else []
    except (OSError, UnreadableError, RecursionError):
        # It is told of where things are looked for.
        return []


def _findings(shared: tuple[Project, Words], path: str) -> list[Finding]:
    from tasks_celery.migrate.things import analyse

    project, words = shared
    summary = project.by_path[path]
    if summary.error:
        return [_unreadable(path, summary.error, summary.error_line)]
    try:
        data = project.data(path)
        if not has_celery(data) and not words.may_be_in(data):
            return []
        return list(analyse(Names.of(path, decode(data), project)))
    except UnreadableError as error:
        return [_unreadable(path, error.why, error.line)]
    except OSError as error:
        return [_unreadable(path, f"it cannot be read: {error.strerror}")]
    except RecursionError:
        return [_unreadable(path, "its expressions are nested too deeply")]
    except Exception as error:
        error.add_note(f"in {path}")
        raise


def _skipped(project: Project) -> Iterable[Finding]:
    return (_unreadable(path, why) for path, why in sorted(project.skipped.items()))


def _unreadable(path: str, why: str, line: int = 1) -> Finding:
    return Finding(
        path=path,
        anchor=Anchor(line, 0),
        kind="unreadable",
        name=path,
        verdict=Verdict.PERSON,
        reason=f"Nothing in this file was looked at: {why}. Look through it by hand.",
    )
