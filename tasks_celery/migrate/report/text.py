"""A report as text, for a terminal or a log: what matters most first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap

from tasks_celery.migrate.finding import Finding, Verdict
from tasks_celery.migrate.report.counting import KINDS, Group, Report
from tasks_celery.migrate.report.wording import HEADINGS, counted, freed, headline, next_steps

WIDTH = 110
#: How many places are told for one reason; JSON and the page have all.
PLACES = 6
_ORDER = (Verdict.MOVES, Verdict.PERSON, Verdict.UNSAFE, Verdict.STAYS)


def as_text(report: Report) -> str:
    """Return a report as lines of text, the summary first."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"{report.title}: {counted(report.files, 'file')} read" if report.files else report.title
    yield headline(report)
    if said := freed(report):
        yield said
    if report.findings:
        yield from _table(report)
        for verdict in (Verdict.UNSAFE, Verdict.PERSON, *([Verdict.STAYS] if report.all_told else [])):
            yield from _section(verdict, report)
        yield from _fixers(report)
        if not report.all_told:
            yield from _files(report)
        yield from _next(report)


def _table(report: Report) -> Iterator[str]:
    yield ""
    yield f"{'':28}" + "".join(f"{each.value:>8}" for each in _ORDER)
    for kind, count in report.kinds().items():
        numbers = "".join(f"{count[each] or '·':>8}" for each in _ORDER)
        yield f"{KINDS.get(kind, kind):28}{numbers}"


def left_as_text(findings: Sequence[Finding]) -> str:
    """Return what was left of some findings, by reason."""
    report = Report.of(findings, title="", files=0)
    lines = [line for verdict in (Verdict.UNSAFE, Verdict.PERSON) for line in _section(verdict, report)]
    return "".join(f"{line}\n" for line in [*lines, ""] if lines)


def _section(verdict: Verdict, report: Report) -> Iterator[str]:
    groups = report.groups(verdict)
    if groups:
        yield ""
        yield f"{HEADINGS[verdict]} ({report.verdicts()[verdict]})"
        for group in groups:
            yield from _group(group, len(group.findings) if report.all_told else PLACES)


def _group(group: Group, places: int) -> Iterator[str]:
    label = KINDS.get(group.kind, group.kind)
    first = f"{len(group.findings):5}  "
    yield from wrap(f"{label}: {group.reason}", WIDTH, initial_indent=first, subsequent_indent=" " * len(first))
    yield from (f"         {place(each)}  {each.name}" for each in group.findings[:places])
    if len(group.findings) > places:
        yield f"         and {len(group.findings) - places} more"


def place(finding: Finding) -> str:
    """Return where something was found, as editors and terminals take it."""
    return f"{finding.path}:{finding.anchor.line}" if finding.anchor.line else finding.path


def _fixers(report: Report) -> Iterator[str]:
    fixers = report.fixers()
    if fixers:
        yield ""
        yield f"{HEADINGS[Verdict.MOVES]} ({fixers.total()})"
        yield from (f"{number:5}  {fixer}" for fixer, number in fixers.most_common())


def _files(report: Report) -> Iterator[str]:
    files = report.by_file()
    if files:
        yield ""
        yield "By file"
        for path, count in files.items():
            said = ", ".join(f"{count[each]} {each.value}" for each in _ORDER if count[each])
            yield f"  {path}: {said}"


def _next(report: Report) -> Iterator[str]:
    steps = next_steps(report)
    if steps:
        yield ""
        yield "What to do next"
        for number, (sentence, line) in enumerate(steps, start=1):
            yield from wrap(sentence, WIDTH, initial_indent=f"  {number}. ", subsequent_indent=" " * 5)
            if line:
                yield f"       {line}"
