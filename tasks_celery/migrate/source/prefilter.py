"""Which files need not be parsed again, by the words that they have: only those that cannot hold what is looked for."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks_celery.migrate.source.project import Project

_WORDS = re.compile(rb"[A-Za-z0-9_]+")
_PARTS = re.compile(r"\w+")
#: What all that is looked for is named after, and texts that are looked for without a name.
CELERY = frozenset({
    "celery", "kombu", "billiard", "django_celery_beat", "django_celery_results", "channels", "tasks", "django_tasks",
    "tasks_celery", "channels_redis", "transaction", "Celery", "shared_task", "AsyncResult", "delay", "apply_async",
    "group_send", "get_channel_layer", "send_task", "on_commit", "enqueue", "pickle", "ATOMIC_REQUESTS",
})  # fmt: skip
_ANY_CASE = (b"celery", b"broker", b"task_always_eager")


class Words:
    """Words, one of which a file has that holds what is looked for."""

    def __init__(self, words: Iterable[str]) -> None:
        self._words = frozenset(each.encode() for each in words)
        # What is not ASCII can be written in several ways.
        self._is_plain = all(each.isascii() for each in self._words)

    def may_be_in(self, data: bytes) -> bool:
        """Return whether any of them may be in a file."""
        if not self._is_plain:
            return True
        if not data.isascii():
            data = unicodedata.normalize("NFKC", data.decode("utf-8", "replace")).encode()
        return not self._words.isdisjoint(_WORDS.findall(data))


def words_of_tasks(project: Project) -> Words:
    """Return the words that a file has one of which uses a task: the tasks' names, and all that they are imported or assigned as."""
    words = {each.rpartition(".")[2] for each in project.tasks}
    words |= {_PARTS.findall(each)[-1] for each in project.by_name if _PARTS.findall(each)}
    return Words(_reached(project, words))


def words_of_celery(project: Project) -> frozenset[str]:
    """Return the names that lead to Celery, to Channels or to a task, wherever in the project they are bound."""
    return _reached(project, {*CELERY, *(each.rpartition(".")[2] for each in project.tasks)})


def has_celery(data: bytes) -> bool:
    """Return whether a file speaks of Celery or its settings at all."""
    lower = data.lower()
    return any(each in lower for each in _ANY_CASE)


def _reached(project: Project, words: set[str]) -> frozenset[str]:
    """Add what is bound to any of the words, then what is bound to those."""
    leads: dict[str, set[str]] = {}
    for summary in project.modules.values():
        for name, bindings in summary.bindings.items():
            for each in bindings:
                for part in _PARTS.findall(each.target):
                    leads.setdefault(part, set()).add(name)
        for name, (bases, _) in summary.classes.items():
            for part in {part for each in bases for part in each.split(".")}:
                leads.setdefault(part, set()).add(name)
    found, todo = set(words), list(words)
    while todo:
        new = leads.get(todo.pop(), set()) - found
        found |= new
        todo += new
    return frozenset(found)
