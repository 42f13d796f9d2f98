"""A report as one page of HTML that needs nothing else: no server, no network, and JavaScript only to sort and filter."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from importlib.resources import files
from string import Template

from tasks_celery.migrate.finding import Finding, Verdict
from tasks_celery.migrate.report.counting import KINDS, Report
from tasks_celery.migrate.report.text import place
from tasks_celery.migrate.report.wording import HEADINGS, counted, headline, next_steps

_ORDER = (Verdict.MOVES, Verdict.PERSON, Verdict.UNSAFE, Verdict.STAYS)


def as_page(report: Report) -> str:
    """Return a report as a page of HTML; all that comes from the project is escaped."""
    template = Template(files(__package__).joinpath("page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(report.title),
        headline=escape(headline(report)),
        files=escape(f"{counted(report.files, 'file')} read; nothing was run or changed." if report.files else ""),
        bar="".join(_bar(report)),
        kinds="".join(_kinds(report)),
        steps="".join(_steps(report)),
        reasons="".join(_reasons(report)),
        verdict_options="".join(_option(each.value, HEADINGS[each]) for each in _ORDER),
        kind_options="".join(_option(kind, KINDS.get(kind, kind)) for kind in report.kinds()),
        rows="".join(_row(each) for each in report.findings),
        total=str(len(report.findings)),
    )


def _bar(report: Report) -> Iterator[str]:
    verdicts = report.verdicts("task") or report.verdicts()
    for each in _ORDER:
        if verdicts[each]:
            yield f'<div class="{each}" style="flex-grow:{verdicts[each]}"><b>{verdicts[each]}</b> {each}</div>'


def _kinds(report: Report) -> Iterator[str]:
    for kind, count in report.kinds().items():
        numbers = "".join(f'<td class="n{"" if count[each] else " zero"}">{count[each]}</td>' for each in _ORDER)
        yield f'<tr><th scope="row">{escape(KINDS.get(kind, kind))}</th>{numbers}<td class="n">{count.total()}</td></tr>'


def _steps(report: Report) -> Iterator[str]:
    for sentence, line in next_steps(report):
        yield f"<li>{escape(sentence)}{f'<pre>{escape(line)}</pre>' if line else ''}</li>"


def _reasons(report: Report) -> Iterator[str]:
    for verdict in (Verdict.UNSAFE, Verdict.PERSON):
        for group in report.groups(verdict):
            kind = escape(KINDS.get(group.kind, group.kind))
            yield (
                f'<tr><td class="n">{len(group.findings)}</td><td><span class="tag {verdict}">{verdict}</span></td>'
                f"<td>{kind}</td><td>{escape(group.reason)}</td></tr>"
            )


def _option(value: str, label: str) -> str:
    return f'<option value="{escape(value)}">{escape(label)}</option>'


def _row(finding: Finding) -> str:
    return (
        f'<tr data-verdict="{finding.verdict}" data-kind="{escape(finding.kind)}">'
        f'<td><span class="tag {finding.verdict}">{finding.verdict}</span></td>'
        f"<td>{escape(finding.kind)}</td><td><code>{escape(finding.name)}</code></td>"
        f"<td><code>{escape(place(finding))}</code></td>"
        f"<td>{escape(finding.reason or finding.fixer)}</td></tr>\n"
    )
