"""``python -m tasks_celery.migrate report PATH`` and ``… rewrite PATH``. Runs without settings, and imports nothing of the project."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from io import TextIOWrapper
from typing import TYPE_CHECKING

from tasks_celery.migrate.finding import Finding, Verdict
from tasks_celery.migrate.report.asking import (
    EXIT_CODES,
    NoOutputError,
    add_assumptions,
    add_output_options,
    assume,
    look_through,
    narrow,
    read_project,
    report_of,
    write,
)
from tasks_celery.migrate.report.progress import shown
from tasks_celery.migrate.report.text import left_as_text
from tasks_celery.migrate.report.wording import counted
from tasks_celery.migrate.source import Project
from tasks_celery.migrate.source.pool import CrashedError
from tasks_celery.migrate.where import WrongPathError, where

if TYPE_CHECKING:  # it needs LibCST
    from tasks_celery.migrate.changing import Changed

_REWRITE = """\
Change what moves by itself. Without --write nothing is changed, and what would be is listed. What cannot be proven is left,
and said with its reason; nothing is written into the code about it. Running it again changes nothing.

Exit code: 0 done, 1 a file had to be left though it moves (each is said), 2 the command line is wrong or nothing can be read."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (WrongPathError, NoOutputError, CrashedError, _UsageError) as error:
        sys.stderr.write(f"tasks_celery.migrate: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130


class _UsageError(Exception):
    """The command cannot do what it is asked for."""


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="python -m tasks_celery.migrate",
        description="Move a Celery project to Django's tasks, function by function.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_report(commands.add_parser("report", help="say what there is, what moves, and why the rest does not"))
    _add_rewrite(commands.add_parser("rewrite", help="change what moves by itself"))
    return parser


def _add_report(parser: ArgumentParser) -> None:
    parser.description = "Say what there is of Celery in a project, what moves by itself, what needs a person and why, and what is unsafe today."
    parser.epilog = EXIT_CODES
    parser.add_argument(
        "path", metavar="PATH", help="the project's folder; or a package or file in it, to be told of that alone"
    )
    add_output_options(parser)
    add_assumptions(parser)
    parser.set_defaults(run=report)


def _add_rewrite(parser: ArgumentParser) -> None:
    parser.formatter_class = RawDescriptionHelpFormatter
    parser.description = _REWRITE
    parser.add_argument(
        "path", metavar="PATH", help="the project's folder; or a package or file in it, to change that alone"
    )
    parser.add_argument("--write", action="store_true", help="replace the files")
    parser.add_argument(
        "--only", action="append", default=[], metavar="FIXER", help="leave all others; can be given more than once"
    )
    parser.add_argument("--diff", action="store_true", help="print unified diffs")
    add_assumptions(parser)
    parser.add_argument("--quiet", action="store_true", help="show no progress on stderr")
    parser.set_defaults(run=rewrite)


def report(options: Namespace) -> int:
    """Report on a project; return the exit code."""
    asked = where(options.path)
    project = read_project(asked, sys.stderr, quiet=options.quiet)
    _assume(project, options)
    findings = look_through(asked, project, sys.stderr, quiet=options.quiet)
    return write(report_of(asked, project, findings), options, sys.stdout)


def rewrite(options: Namespace) -> int:
    """Rewrite a project, or say what would be changed; return the exit code."""
    try:
        from tasks_celery.migrate.changing import Asked, change_all, paths_to_change
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "libcst":
            raise
        raise _UsageError("rewrite needs LibCST: pip install 'tasks-celery[migrate]'. report needs nothing.") from error
    place = where(options.path)
    asked = Asked(root=place.root, only=frozenset(options.only), write=options.write, diff=options.diff)
    try:
        paths_to_change((), asked.only)  # before what takes long
    except ValueError as error:
        raise _UsageError(str(error)) from error
    project = read_project(place, sys.stderr, quiet=options.quiet)
    _assume(project, options)
    narrow(project, place)
    findings = look_through(place, project, sys.stderr, quiet=options.quiet)
    with shown(sys.stderr, "Rewriting", quiet=options.quiet) as progress:
        changed = list(change_all(project, paths_to_change(findings, asked.only), asked, progress))
    return _tell(changed, findings, options)


def _assume(project: Project, options: Namespace) -> None:
    queue = {"task_default_queue": options.queue} if options.queue else {}
    assume(project, json=options.assume_json, known_ids=options.assume_known_ids, settings=queue)


def _tell(changed: Sequence[Changed], findings: Sequence[Finding], options: Namespace) -> int:
    done = [each for each in changed if each.fixers and not each.problem]
    for each in done:
        sys.stdout.write(each.diff or f"{each.path}: {_fixers(each)}\n")
    problems = [each for each in changed if each.problem]
    for each in problems:
        sys.stderr.write(f"{each.path} is left: {each.problem}\n")
    out = sys.stderr if options.diff else sys.stdout
    out.write(left_as_text([each for each in findings if each.verdict in (Verdict.PERSON, Verdict.UNSAFE)]))
    said = "changed" if options.write else "would be changed (--write changes them)"
    out.write(f"{counted(len(done), 'file')} {said}.\n")
    return int(bool(problems))


def _fixers(changed: Changed) -> str:
    return ", ".join(f"{number} {fixer}" for fixer, number in sorted(changed.fixers.items()))


if __name__ == "__main__":
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show is no reason to end
    sys.exit(main())
