"""What the tests of tasks, contexts and schedules share: a small project in memory, and what became of it."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from tasks_celery.migrate.finding import Finding, Verdict
from tasks_celery.migrate.rewriting import rewrite
from tasks_celery.migrate.source import Names, Project
from tasks_celery.migrate.things import analyse

PATH = "shop/tasks.py"
#: Celery's queue is Django's: nothing has to be written about it.
SETTINGS = 'CELERY_TASK_DEFAULT_QUEUE = "default"\n'
SHARED = "from celery import shared_task\n\n\n"


def texts_of(text: str, others: Mapping[str, str] | None = None, settings: str = SETTINGS) -> dict[str, str]:
    """Return the files of a project: this text in its ``shop/tasks.py``."""
    return {
        "shop/__init__.py": "",
        "mysite/__init__.py": "",
        "mysite/settings.py": settings,
        PATH: text,
        **(others or {}),
    }


def findings(
    text: str, others: Mapping[str, str] | None = None, settings: str = SETTINGS, kind: str = "task"
) -> list[Finding]:
    """Return what is found in ``shop/tasks.py``, of one kind."""
    project = Project.of(texts_of(text, others, settings))
    return [each for each in analyse(Names.of(PATH, text, project)) if each.kind == kind]


def reason(text: str, others: Mapping[str, str] | None = None, settings: str = SETTINGS, kind: str = "task") -> str:
    """Return why the one thing there is in ``shop/tasks.py`` is left, which it has to be; nothing is rewritten."""
    [found] = findings(text, others, settings, kind)
    assert found.verdict is Verdict.PERSON, found
    assert moved(text, others, settings) == text
    return found.reason


def moved(text: str, others: Mapping[str, str] | None = None, settings: str = SETTINGS, path: str = PATH) -> str:
    """Return what a file of the project becomes: Python, that stays as it is when all is rewritten once more."""
    texts = texts_of(text, others, settings)
    project = Project.of(texts)
    named = [each for each in texts if each in (PATH, path, "mysite/settings.py")]
    after = texts | {each: rewrite(texts[each], path=each, project=project).text for each in named}
    again = Project.of(after)
    for each in named:
        compile(ast.parse(after[each]), each, "exec")
        assert rewrite(after[each], path=each, project=again).text == after[each]
    return after[path]
