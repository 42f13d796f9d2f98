"""Sentences that a report's text and its page have in common."""

from __future__ import annotations

from tasks_celery.migrate.finding import Verdict
from tasks_celery.migrate.report.counting import Report

HEADINGS = {
    Verdict.UNSAFE: "Unsafe today",
    Verdict.PERSON: "Needs a person",
    Verdict.MOVES: "Moves by itself",
    Verdict.STAYS: "Stays as it is",
}
_CLAUSES = {
    Verdict.MOVES: ("moves by itself", "move by themselves"),
    Verdict.PERSON: ("needs a person", "need a person"),
    Verdict.UNSAFE: ("is unsafe today", "are unsafe today"),
    Verdict.STAYS: ("stays as it is", "stay as they are"),
}
_REST = (
    "Decide about the rest when you like: what has not moved goes on beside what has, and adopt() gives a Celery task "
    "Django's API without a change to it."
)


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: ``1 task``, ``2 tasks``."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def headline(report: Report) -> str:
    """Return the report in a sentence: its tasks, or all that was found where there is none."""
    kind = "task" if report.verdicts("task") else None
    verdicts = report.verdicts(kind)
    only = next(iter(kinds)) if len(kinds := report.kinds()) == 1 else ""
    noun = counted(verdicts.total(), kind or ("schedule" if only == "schedule" else "thing"))
    said = [f"{verdicts[each]} {_CLAUSES[each][verdicts[each] != 1]}" for each in _CLAUSES if verdicts[each]]
    return (
        f"{noun}: {', '.join(said)}." if said else "Nothing of Celery was found." if report.files else "There is none."
    )


def freed(report: Report) -> str:
    """Return what to try first where all that keeps tasks is a setting that cannot be read; "" where it is not so."""
    number = report.kept_by_serializer()
    return (
        f"{counted(number, 'task')} would move but for task_serializer, which is computed: where it is JSON, say --assume-json."
        if number
        else ""
    )


def tasks_setting(report: Report) -> str:
    """Return the line for the settings that names all queues in use."""
    queues = ", ".join(f'"{each}"' for each in report.queues())
    return f'TASKS = {{"default": {{"BACKEND": "tasks_celery.CeleryBackend", "QUEUES": [{queues}]}}}}'


def next_steps(report: Report) -> list[tuple[str, str]]:
    """Return what to do next: sentences, each with the line that goes with it or nothing."""
    verdicts = report.verdicts()
    steps: list[tuple[str, str]] = []
    if report.all_told:
        return steps
    if verdicts[Verdict.UNSAFE]:
        steps.append(("Mend what is unsafe. It is so without a move, too.", ""))
    if report.verdicts("task"):
        steps.append(
            (
                "Name the queues in the settings, beside what is there; nothing else changes by it.",
                tasks_setting(report),
            )
        )
        steps.append(
            ("Have workers read them, all in one or some in each.", f"celery worker -Q {','.join(report.queues())}")
        )
    if verdicts[Verdict.MOVES]:
        steps.append(
            ("Look at what would be changed, then change it.", "python -m tasks_celery.migrate rewrite PATH --diff")
        )
    if verdicts[Verdict.PERSON]:
        steps.append((_REST, ""))
    return steps
