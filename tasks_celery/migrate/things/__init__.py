"""The old things, a module for each: where they are, whether they move, and why not.

Each module has ``find(names) -> Iterator[Finding]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tasks_celery.migrate.finding import Finding
from tasks_celery.migrate.source import Names
from tasks_celery.migrate.things import (
    calls,
    canvas,
    commits,
    context,
    eager,
    pushes,
    queues,
    results,
    schedules,
    settings,
    signals,
    tasks,
    unsafe,
)

#: What looks for each of them.
FINDERS: tuple[Callable[[Names], Iterator[Finding]], ...] = (
    calls.find,
    canvas.find,
    commits.find,
    context.find,
    eager.find,
    pushes.find,
    queues.find,
    results.find,
    schedules.find,
    settings.find,
    signals.find,
    tasks.find,
    unsafe.find,
)


def analyse(names: Names) -> Iterator[Finding]:
    """Yield all that is found in one file, from top to bottom."""
    yield from sorted(
        (finding for find in FINDERS for finding in find(names)), key=lambda each: (each.anchor, each.kind)
    )
