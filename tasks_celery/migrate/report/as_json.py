"""A report as JSON, for other programs. Its shape has a version: what is there stays while that is 1, more may be added."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from tasks_celery.migrate.finding import Finding, Verdict
from tasks_celery.migrate.report.counting import Report

VERSION = 1


def as_json(report: Report) -> str:
    """Return a report as JSON: an object, with all findings."""
    return json.dumps(as_object(report), indent=1, ensure_ascii=False) + "\n"


def as_object(report: Report) -> dict[str, Any]:
    """Return what `as_json` writes."""
    return {
        "version": VERSION,
        "title": report.title,
        "files": report.files,
        "tasks": _numbers(report.verdicts("task")),
        "verdicts": _numbers(report.verdicts()),
        "kinds": {kind: _numbers(count) for kind, count in report.kinds().items()},
        "fixers": dict(report.fixers().most_common()),
        "queues": report.queues(),
        "findings": [_finding(each) for each in report.findings],
    }


def _numbers(count: Counter[Verdict]) -> dict[str, int]:
    return {each.value: count[each] for each in Verdict}


def _finding(finding: Finding) -> dict[str, Any]:
    """Return a finding without its facts, which may quote the source."""
    return {
        "path": finding.path,
        "line": finding.anchor.line,
        "column": finding.anchor.column,
        "kind": finding.kind,
        "name": finding.name,
        "verdict": finding.verdict.value,
        "reason": finding.reason,
        "fixer": finding.fixer,
    }
