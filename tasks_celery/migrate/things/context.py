"""What tasks with ``bind=True`` do with their first parameter: whether Django's context can do the same.

All or nothing for a function, together with its decorator: the fixer `context` changes it as `task` changes that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tasks_celery.migrate.finding import Finding, Verdict
from tasks_celery.migrate.source import Names
from tasks_celery.migrate.things.bound import Bound
from tasks_celery.migrate.things.definitions import Definition, definitions


def find(names: Names) -> Iterator[Finding]:
    """Yield what each bound task does with the task, and whether that moves."""
    for each in definitions(names):
        if each.bound is not None:
            yield _finding(names, each, each.bound)


def _finding(names: Names, definition: Definition, bound: Bound) -> Finding:
    verdict, reason = Verdict.MOVES, ""
    if bound.left:
        verdict, reason = (
            Verdict.PERSON,
            f"{_sentence(bound.left)}: a Django task's context has nothing that is known to be the same, so the task stays.",
        )
    elif definition.left:
        verdict, reason = Verdict.STAYS, "It goes with its decorator, which stays."
    return Finding(
        path=names.path,
        anchor=names.anchor(definition.place.node),
        kind="context",
        name=definition.origin,
        verdict=verdict,
        reason=reason,
        fixer="context" if verdict is Verdict.MOVES else "",
        facts={"bound": bound.name, "edits": [list(each) for each in bound.edits], "needs": ["task"]},
    )


def _sentence(clauses: Iterable[str]) -> str:
    text = ", ".join(dict.fromkeys(clauses))
    return text[:1].upper() + text[1:]
