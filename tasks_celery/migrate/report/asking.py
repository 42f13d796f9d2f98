"""The options of a report, and what is done by them: shared by the two commands that make one."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, TextIO

from tasks_celery.migrate.finding import Finding, Verdict
from tasks_celery.migrate.report.as_json import as_json
from tasks_celery.migrate.report.counting import Report
from tasks_celery.migrate.report.page import as_page
from tasks_celery.migrate.report.progress import shown
from tasks_celery.migrate.report.text import as_text
from tasks_celery.migrate.source import Project
from tasks_celery.migrate.source.judging import moving_of, scheduled_of
from tasks_celery.migrate.source.reading import find_all, read
from tasks_celery.migrate.things.definitions import waiting_calls
from tasks_celery.migrate.where import Where

#: What ``--fail-on`` takes.
VERDICTS = [Verdict.MOVES, Verdict.PERSON, Verdict.UNSAFE]
EXIT_CODES = "Exit code: 0 nothing was found that --fail-on names, 1 something was, 2 the command line is wrong or nothing can be read."


class Out(Protocol):
    """What a report is written to: a stream, or what Django's commands have for one."""

    def write(self, text: str, /) -> object: ...


class NoOutputError(Exception):
    """A file that was asked for cannot be written."""


def add_output_options(parser: ArgumentParser) -> None:
    """Add what a report is written to, and what its exit code says."""
    parser.add_argument("--json", metavar="FILE", help="also write it as JSON; - writes that alone, to stdout")
    parser.add_argument("--html", metavar="FILE", help="also write it as a page of HTML that needs nothing else")
    parser.add_argument(
        "--fail-on",
        action="append",
        choices=[each.value for each in VERDICTS],
        default=[],
        help="exit with 1 if anything has this verdict; can be given more than once",
    )
    parser.add_argument("--quiet", action="store_true", help="show no progress on stderr")


def read_project(where: Where, errors: TextIO, *, quiet: bool) -> Project:
    """Read a project, and show how far that is. Raise CrashedError where it was ended."""
    with shown(errors, "Reading", quiet=quiet) as progress:
        return read(where.root, progress=progress)


def add_assumptions(parser: ArgumentParser) -> None:
    """Add what may be taken for granted where the source does not say it."""
    parser.add_argument(
        "--queue", metavar="NAME", help="Celery's default queue, where the settings do not say it plainly"
    )
    parser.add_argument(
        "--assume-json",
        action="store_true",
        help="take the arguments of tasks, and a task_serializer that is computed, for JSON, also where that cannot be proven",
    )
    parser.add_argument(
        "--assume-known-ids",
        action="store_true",
        help="take every id that a result is asked for by for that of a Django task's: of an unknown one get_result() raises, "
        "where AsyncResult says PENDING. It is imported from django_tasks where the project imports that, else from django.tasks",
    )


def assume(
    project: Project, *, json: bool = False, known_ids: bool = False, settings: Mapping[str, Any] | None = None
) -> None:
    """Take things for granted in a project that was read, and find again which of its tasks and schedules move then."""
    project.assume_known_ids = project.assume_known_ids or known_ids
    if json or settings:
        project.assume_json = project.assume_json or json
        project.settings.update(settings or {})
        project.moving = set().union(*(moving_of(project, path) for path in project.defining))
        _schedule(project, project.scheduling)


def narrow(project: Project, where: Where) -> None:
    """Have nothing move in a project that what was asked for of it does not hold as a whole."""
    if not where.under:
        return
    project.moving = {origin for origin in project.moving if _is_within(project, where, origin)}
    _schedule(project, [path for path in project.scheduling if where.covers(path)])
    for origin in [each for each in project.scheduled if not where.covers(project.tasks[each].path)]:
        del project.scheduled[origin]


def _is_within(project: Project, where: Where, origin: str) -> bool:
    paths = [project.tasks[origin].path, *(use.path for use in waiting_calls(project, origin))]
    return all(map(where.covers, paths))


def _schedule(project: Project, paths: Iterable[str]) -> None:
    project.scheduled = {}
    for path in paths:
        project.scheduled.update(scheduled_of(project, path))


def look_through(where: Where, project: Project, errors: TextIO, *, quiet: bool) -> list[Finding]:
    """Return what is found in what was asked for of a project, and show how far that is."""
    with shown(errors, "Looking", quiet=quiet) as progress:
        return [each for each in find_all(project, progress=progress) if where.covers(each.path)]


def report_of(where: Where, project: Project, findings: Iterable[Finding]) -> Report:
    """Return the report of what was found in a project."""
    files = sum(where.covers(path) for path in project.by_path)
    queue = project.settings.get("task_default_queue")
    default = queue if isinstance(queue, str) else "celery"
    return Report.of(findings, title=Path(where.root, where.under).name, files=files, default_queue=default)


def write(report: Report, options: Namespace, out: Out) -> int:
    """Write a report as the options ask for it; return the exit code. Raise NoOutputError for a file that cannot be written."""
    if options.json != "-":
        out.write(as_text(report))
    for name, render in (("json", as_json), ("html", as_page)):
        target = getattr(options, name)
        if target == "-":
            out.write(render(report))
        elif target:
            _write_file(target, render(report))
    verdicts = report.verdicts()
    return int(any(verdicts[Verdict(each)] for each in options.fail_on))


def _write_file(target: str, text: str) -> None:
    try:
        with open(os.path.expanduser(target), "w", encoding="utf-8") as file:  # noqa: PTH111, PTH123
            file.write(text)
    except OSError as error:
        raise NoOutputError(f"{target} cannot be written: {error.strerror}.") from error
