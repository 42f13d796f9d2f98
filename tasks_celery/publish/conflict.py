"""Web process. What a second unique task is answered: the result of the first, or a refusal; `unique` says which are the same.

A store tells who has a key as it would keep the record (`Store.create`), and then keeps nothing. So a task that has its
like leaves nothing: no record, no message, and no signal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tasks_celery.compat import AnyResult
from tasks_celery.exceptions import AlreadyEnqueued, OptionsError, StoreError
from tasks_celery.publish import undo
from tasks_celery.publish.prepare import Prepared
from tasks_celery.results import Results, to_result
from tasks_celery.stores import Record
from tasks_celery.stores.nowhere import NOWHERE
from tasks_celery.unique import unique_of

_RELEASED = {
    "start": "until it starts",
    "finish": "until it has finished",
    "time": "for a time",
}


def keep(results: Results, prepared: Prepared) -> AnyResult | None:
    """Keep the record of a task that is about to be sent; return None, or what the second of a unique task is answered.

    Raise StoreError, and AlreadyEnqueued where the task asks for that; OptionsError where nobody would know of the first.
    """
    refuse_without_store(results, [prepared])
    holder = undo.keep(results, prepared.record)
    return answer(results, prepared, holder, again=lambda: undo.keep(results, prepared.record)) if holder else None


def keep_many(results: Results, prepared: Sequence[Prepared]) -> list[AnyResult | None]:
    """Keep the records of several tasks, and return for each what `keep` would."""
    refuse_without_store(results, prepared)
    return answers(results, prepared, undo.keep_many(results, [each.record for each in prepared]))


def refuse_without_store(results: Results, prepared: Sequence[Prepared]) -> None:
    """Raise OptionsError for unique tasks of a project that has no place for the records that tell so."""
    unique = [each.record for each in prepared if each.record.unique] if results.store is NOWHERE else []
    if unique:
        raise OptionsError(
            f"The task {unique[0].name} is unique, and there is no place for the records that tell so: give OPTIONS['RESULTS'] "
            "a URL, or Celery a Redis as its result backend."
        )


def answer(
    results: Results, prepared: Prepared, holder: str, *, again: Callable[[], str | None] | None = None
) -> AnyResult | None:
    """Return the result of the task that has the key of this one; raise AlreadyEnqueued where the task asks for that.

    None where that one has gone meanwhile, and this one is kept; `again` keeps it, and tells who has the key then.
    """
    first = find_first(results, prepared.record, holder, again=again)
    if first is None:
        return None
    if refuses(prepared.result.task):
        raise refusal(prepared.record, first.id)
    return to_result(first, prepared.result.task)


def find_first(
    results: Results, record: Record, holder: str, *, again: Callable[[], str | None] | None = None
) -> Record | None:
    """Return the record of the task that has the key, None where it has gone and the new one is kept.

    Raise AlreadyEnqueued where a key outlives the record of its task, as one for a time may.
    """
    keep = again or (lambda: results.store.create(record, lifetime=results.lifetime(record)))
    for _ in range(2):
        first = results.store.get(holder)
        if first is not None:
            return first
        latest = keep()
        if latest is None:
            return None
        holder = latest
    raise refusal(record, holder)


def answers(results: Results, prepared: Sequence[Prepared], holders: Sequence[str | None]) -> list[AnyResult | None]:
    """Return, for each of several tasks, what `answer` would; `holders` is what `Store.create_many` told of them.

    A task may have its like among those before it. Where one is refused, or the store
    does not answer, none is enqueued: what was kept is discarded.
    """
    pairs = list(zip(prepared, holders, strict=True))
    kept = [each for each, holder in pairs if holder is None]
    told: list[AnyResult | None] = []
    try:
        for each, holder in pairs:
            told.append(None if holder is None else answer(results, each, holder))
            if holder is not None and told[-1] is None:
                kept.append(each)
    except (AlreadyEnqueued, StoreError):
        for each in kept:
            results.undo(each.record)
        raise
    return told


def refuses(task: Any) -> bool:
    """Whether a second one is refused rather than answered with the first one's result."""
    unique = unique_of(task)
    return unique is not None and unique.on_conflict == "raise"


def refusal(record: Record, holder: str) -> AlreadyEnqueued:
    """Return what says that a task has its like."""
    return AlreadyEnqueued(
        f"The task {record.name} was not enqueued: it is unique, and id={holder} has its key {_RELEASED[record.unique_until]}.",
        result_id=holder,
    )
