"""What the tests of calls share: a project whose task has moved already, a module that calls it, and what becomes of that."""

from __future__ import annotations

import ast
import tokenize
from io import StringIO
from textwrap import dedent

from tasks_celery.migrate.finding import Finding, Verdict
from tasks_celery.migrate.rewriting import rewrite
from tasks_celery.migrate.source import Names, Project
from tasks_celery.migrate.things import analyse

PATH = "shop/views.py"
MOVED = """
from tasks_celery import task

@task
def add(a=0, b=0, **more): ...

@task
def mail(number): ...

@task(enqueue_on_commit=True)
def waits(a=0, b=0): ...
"""
CELERYS = MOVED.replace("from tasks_celery import task", "from celery import shared_task as task").replace(
    "(enqueue_on_commit=True)", ""
)
IMPORTS = "from shop.tasks import add, mail, waits\n"


def project_of(
    text: str,
    tasks: str = MOVED,
    moving: tuple[str, ...] = (),
    *,
    assume_json: bool = False,
    assume_known_ids: bool = False,
    use_tz: bool = True,
    **others: str,
) -> Project:
    """Return a project with this text as its ``shop/views.py``; of Celery's tasks, those of the names in `moving` move."""
    texts = {"shop/__init__.py": "", "shop/tasks.py": tasks, PATH: text}
    texts |= {f"shop/{name}.py": dedent(other) for name, other in others.items()}
    project = Project.of(texts)
    project.moving = {f"shop.tasks.{each}" for each in moving}
    project.assume_json = assume_json
    project.assume_known_ids = assume_known_ids
    project.settings["USE_TZ"] = use_tz
    return project


def found(text: str, kind: str = "call", **given: object) -> list[Finding]:
    """Return what is found of one kind in a module with this text, below the import of the tasks."""
    text = IMPORTS + dedent(text)
    names = Names(PATH, text, "shop.views", project_of(text, **given))  # type: ignore[arg-type]
    return [each for each in analyse(names) if each.kind == kind]


def left(text: str, kind: str = "call", **given: object) -> Finding:
    """Return the one thing of a kind in a text, which is left for a reason; nothing is rewritten."""
    [only] = found(text, kind, **given)
    assert only.verdict is not Verdict.MOVES, only
    assert only.reason
    assert only.reason.endswith(".")
    assert only.fixer == ""
    return only


def rewritten(text: str, only: tuple[str, ...] = (), **given: object) -> str:
    """Return what a text becomes, without the first line: Python with the comments that it had, and stable."""
    source = IMPORTS + dedent(text)
    once = rewrite(source, path=PATH, project=project_of(source, **given), only=only).text  # type: ignore[arg-type]
    compile(ast.parse(once), PATH, "exec")
    again = rewrite(once, path=PATH, project=project_of(once, **given), only=only).text  # type: ignore[arg-type]
    assert again == once
    assert comments(once) == comments(source)
    return once.removeprefix(IMPORTS)


def comments(text: str) -> list[str]:
    return sorted(
        each.string for each in tokenize.generate_tokens(StringIO(text).readline) if each.type == tokenize.COMMENT
    )


def same(text: str, **given: object) -> bool:
    """Whether nothing of a text is rewritten."""
    return rewritten(text, **given) == dedent(text)


__all__ = ["CELERYS", "IMPORTS", "MOVED", "PATH", "found", "left", "project_of", "rewritten", "same"]
