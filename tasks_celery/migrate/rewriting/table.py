"""The fixers there are."""

from __future__ import annotations

from tasks_celery.migrate.rewriting.apply_async import ApplyAsyncFixer
from tasks_celery.migrate.rewriting.context import ContextFixer
from tasks_celery.migrate.rewriting.delay import DelayFixer
from tasks_celery.migrate.rewriting.fixer import Fixer
from tasks_celery.migrate.rewriting.on_commit import OnCommitFixer
from tasks_celery.migrate.rewriting.result import ResultFixer
from tasks_celery.migrate.rewriting.schedule import ScheduleFixer
from tasks_celery.migrate.rewriting.task import TaskFixer

#: By the name that ``--only`` takes, in the order in which they see a node.
FIXERS: dict[str, type[Fixer]] = {
    each.name: each
    for each in (ContextFixer, TaskFixer, DelayFixer, ApplyAsyncFixer, OnCommitFixer, ResultFixer, ScheduleFixer)
}
