"""What a finder finds in a project of a few texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from textwrap import dedent

from tasks_celery.migrate.finding import Finding
from tasks_celery.migrate.source import Names, Project

Find = Callable[[Names], Iterable[Finding]]

TASKS = """
from celery import shared_task

@shared_task
def add(*args, **kwargs): ...
"""


def look(find: Find, text: str, path: str = "shop/views.py", **others: str) -> list[Finding]:
    """Return what is found in one text of a project that has the task ``shop.tasks.add``, and modules by name."""
    texts = {"shop/__init__.py": "", "shop/tasks.py": TASKS, path: dedent(text)}
    texts |= {f"shop/{name}.py": dedent(other) for name, other in others.items()}
    return list(find(Names.of(path, texts[path], Project.of(texts))))


def told(findings: Iterable[Finding]) -> list[tuple[str, str, str]]:
    """Return of each its kind, name and verdict."""
    return [(each.kind, each.name, each.verdict.value) for each in findings]


def by_name(findings: Iterable[Finding]) -> Mapping[str, Finding]:
    return {each.name: each for each in findings}
