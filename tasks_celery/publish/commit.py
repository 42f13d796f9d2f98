"""Web process. Whether a task is sent at once or as a transaction commits, and what a transaction keeps until then.

Where records are kept in the database of the transaction, the row is written in it, and says that its message is still to be
sent: an outbox. Elsewhere nothing is kept before the commit. Either way a rollback, of a savepoint too, leaves nothing, and
`committed` does the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.utils.connection import ConnectionDoesNotExist

from tasks_celery.compat import AnyResult, AnyTask
from tasks_celery.exceptions import EnqueueError, OptionsError
from tasks_celery.publish import conflict
from tasks_celery.publish.committed import Deferred, due_if_held
from tasks_celery.publish.dispatch import dispatch
from tasks_celery.publish.prepare import Prepared
from tasks_celery.stores import Store
from tasks_celery.twin import TwinBackend


def enqueue(backend: TwinBackend, prepared: Sequence[Prepared]) -> list[AnyResult]:
    """Enqueue tasks now, or as the transaction commits that they are to wait for; return their results in order.

    The result of one that waits is READY and has no `enqueued_at`. Raise what `dispatch` raises, and
    AlreadyEnqueued for a unique task that has its like already.
    """
    aliases = [alias_to_wait_for(backend, each.result.task) for each in prepared]
    if not any(aliases):
        return list(dispatch(backend, prepared))
    results: dict[str, AnyResult] = {}
    # Those that wait for nothing come last: what is raised for them leaves the transaction, most likely, and ends it.
    for alias in sorted(set(aliases), key=lambda alias: alias is None):
        group = [each for each, its in zip(prepared, aliases, strict=True) if its == alias]
        told = dispatch(backend, group) if alias is None else _defer(backend, group, alias)
        results |= {each.record.id: result for each, result in zip(group, told, strict=True)}
    return [results[each.record.id] for each in prepared]


def alias_to_wait_for(backend: TwinBackend, task: AnyTask) -> str | None:
    """Return the database whose transaction a task that is enqueued now waits for; None where it is sent at once.

    Raise OptionsError for a database that DATABASES does not have; EnqueueError where autocommit is off and no `atomic` block
    tells when to commit.
    """
    alias = _alias_asked_for(backend, task)
    if alias is None:
        return None
    try:
        connection: Any = connections[alias]
    except ConnectionDoesNotExist as error:
        raise OptionsError(
            f"The task {task.module_path} is to be enqueued on commit in the database {alias!r}, which DATABASES does not "
            "have: see ENQUEUE_ON_COMMIT in TASKS, and enqueue_on_commit of the task."
        ) from error
    if connection.in_atomic_block:
        return alias
    # Not get_autocommit(), which would connect: where nothing is connected, no transaction is open.
    if connection.connection is not None and not connection.autocommit:
        raise EnqueueError(
            f"The task {task.module_path} was not enqueued: it is to be sent on commit, and the database {alias!r} has "
            "autocommit off, where Django does not tell of commits. Use transaction.atomic(), or enqueue_on_commit=False."
        )
    return None


def _alias_asked_for(backend: TwinBackend, task: AnyTask) -> str | None:
    of_backend = backend.settings.enqueue_on_commit
    of_task = getattr(getattr(task, "options", None), "enqueue_on_commit", None)
    asked = of_backend if of_task is None else of_task
    if not asked:
        return None
    named = [alias for alias in (asked, of_backend) if isinstance(alias, str)]
    return named[0] if named else DEFAULT_DB_ALIAS


def _defer(backend: TwinBackend, prepared: Sequence[Prepared], alias: str) -> list[AnyResult]:
    waiting = [_unsent(backend, each) for each in prepared]
    store = backend.results.store
    is_kept = database_of(store) == alias
    told = _keep(backend, waiting) if is_kept else _answers_so_far(backend, waiting, alias)
    ours = [each for each, answer in zip(waiting, told, strict=True) if answer is None]
    if ours:
        connections[alias].on_commit(Deferred(backend, store, ours, is_kept))
    return [each.result if answer is None else answer for each, answer in zip(waiting, told, strict=True)]


def _unsent(backend: TwinBackend, prepared: Prepared) -> Prepared:
    record = replace(prepared.record, enqueued_at=None, held=True, due=due_if_held(backend, prepared.record))
    return replace(prepared, result=replace(prepared.result, enqueued_at=None), record=record)


def database_of(store: Store) -> str | None:
    """Return the alias of the database that a store keeps its records in, None for a store elsewhere."""
    return getattr(store, "alias", None)


# --- records in the database of the transaction


def _keep(backend: TwinBackend, waiting: Sequence[Prepared]) -> list[AnyResult | None]:
    # Not by way of `undo`: what goes wrong here takes the transaction, and the rows with it, along.
    results, records = backend.results, [each.record for each in waiting]
    holders = results.store.create_many(records, lifetimes=[results.lifetime(record) for record in records])
    return conflict.answers(results, waiting, holders)


# --- records elsewhere


def _answers_so_far(backend: TwinBackend, waiting: Sequence[Prepared], alias: str) -> list[AnyResult | None]:
    """Return the results of tasks that have their like, enqueued or waiting for the same commit; None for the others."""
    known = {each.record.unique: each for each in _waiting_for(alias, backend.results.store)}
    told: list[AnyResult | None] = []
    for each in waiting:
        told.append(_answer_so_far(backend, each, known) if each.record.unique else None)
        known.setdefault(each.record.unique, each)
    return told


def _answer_so_far(backend: TwinBackend, waiting: Prepared, known: dict[str, Prepared]) -> AnyResult | None:
    first = known.get(waiting.record.unique)
    if first is not None:
        if conflict.refuses(waiting.result.task):
            raise conflict.refusal(waiting.record, first.record.id)
        return first.result
    holder = backend.results.store.holder(waiting.record.unique)
    # Where that one is gone as we look, nobody has the key: `committed` will see.
    return conflict.answer(backend.results, waiting, holder, again=lambda: None) if holder else None


def _waiting_for(alias: str, store: Store) -> list[Prepared]:
    """Return what waits for the commit of a transaction: not what was enqueued in a part of it that was rolled back.

    Read from where Django keeps it, as its captureOnCommitCallbacks does: nothing else knows of savepoints. Whatever was
    enqueued in a savepoint that is still open, or released, is rolled back only with what is enqueued now.
    """
    callbacks = (entry[1] for entry in connections[alias].run_on_commit)
    deferred = [each for each in callbacks if isinstance(each, Deferred) and each.store is store and not each.is_over]
    return [each for one in deferred for each in one.prepared]
