"""Findings and reports of tests."""

from __future__ import annotations

from tasks_celery.migrate.finding import Anchor, Finding, Verdict
from tasks_celery.migrate.report import Report

MOVES, PERSON, UNSAFE, STAYS = Verdict.MOVES, Verdict.PERSON, Verdict.UNSAFE, Verdict.STAYS


def finding(
    verdict: Verdict = PERSON,
    kind: str = "task",
    *,
    name: str = "shop.tasks.add",
    path: str = "shop/tasks.py",
    line: int = 1,
    reason: str = "Because.",
    **facts: object,
) -> Finding:
    fixer = "task" if verdict is MOVES else ""
    anchor = Anchor(line, 4)
    return Finding(
        path=path, anchor=anchor, kind=kind, name=name, verdict=verdict, reason=reason, fixer=fixer, facts=facts
    )


def report(*findings: Finding, title: str = "shop", files: int = 3, default_queue: str = "celery") -> Report:
    return Report.of(findings, title=title, files=files, default_queue=default_queue)


#: One of everything.
MIXED = report(
    finding(MOVES, line=3, reason=""),
    finding(MOVES, line=9, name="shop.tasks.mail", reason=""),
    finding(PERSON, line=20, name="shop.tasks.odd", reason="It is odd: adopt() it."),
    finding(UNSAFE, "argument", path="shop/views.py", line=5, reason="A set is no JSON."),
    finding(STAYS, "signal", path="shop/signals.py", name="task_success", reason="It goes on."),
    finding(STAYS, "queue", path="shop/views.py", line=5, name="mail", reason="Q.", queue="mail"),
)
