"""Rows of django-celery-beat: which of them send a task that is gone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Protocol

from tasks_celery.migrate.finding import Anchor, Finding, Verdict

_GONE = (
    "No task of this project has this name: beat sends it, and a worker throws it away. Delete the row, or name it in the "
    "aliases of the task that took its place."
)
_GONE_AND_OFF = (
    "No task of this project has this name, and the row is switched off: delete it before somebody switches it on."
)
_FINE = "Its task is there."
_OFF = "Its task is there; the row is switched off."


class Row(Protocol):
    """What is asked of a ``PeriodicTask``."""

    pk: int
    name: str
    task: str
    enabled: bool


def find_gone(rows: Iterable[Row], known: Collection[str]) -> Iterator[Finding]:
    """Yield what becomes of each row, where a project has tasks of the names that are `known`."""
    for row in rows:
        verdict, reason = _verdict(row, known)
        yield Finding(
            path=f"PeriodicTask {row.pk}",
            anchor=Anchor(0, 0),
            kind="schedule",
            name=f"{row.name}: {row.task}{_perhaps(row.task, known)}",
            verdict=verdict,
            reason=reason,
        )


def _verdict(row: Row, known: Collection[str]) -> tuple[Verdict, str]:
    if row.task in known:
        return Verdict.STAYS, _FINE if row.enabled else _OFF
    return (Verdict.UNSAFE, _GONE) if row.enabled else (Verdict.PERSON, _GONE_AND_OFF)


def _perhaps(task: str, known: Collection[str]) -> str:
    """Return which task may have taken the place of one that is gone: one whose function is called so."""
    if task in known:
        return ""
    function = task.rpartition(".")[2]
    same = sorted(each for each in known if each.rpartition(".")[2] == function)
    return f" (perhaps now {same[0]})" if len(same) == 1 else ""
