"""A report as JSON: its shape is a promise."""

from __future__ import annotations

import json

from tasks_celery.migrate.report.as_json import as_json
from tests.migrate.report.making import MIXED, finding, report


def test_the_shape_of_version_1() -> None:
    made = json.loads(as_json(report(finding(reason="Because."))))
    person = {"moves": 0, "person": 1, "unsafe": 0, "stays": 0}
    assert made == {
        "version": 1,
        "title": "shop",
        "files": 3,
        "tasks": person,
        "verdicts": person,
        "kinds": {"task": person},
        "fixers": {},
        "queues": ["celery", "default"],
        "findings": [
            {
                "path": "shop/tasks.py",
                "line": 1,
                "column": 4,
                "kind": "task",
                "name": "shop.tasks.add",
                "verdict": "person",
                "reason": "Because.",
                "fixer": "",
            }
        ],
    }


def test_facts_are_left_out_for_they_may_quote_the_source() -> None:
    assert "hidden" not in as_json(report(finding(written="hidden")))


def test_all_findings_are_there() -> None:
    assert len(json.loads(as_json(MIXED))["findings"]) == 6
