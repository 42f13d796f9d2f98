"""Web process, and whoever sends what waited. Many messages on one connection, with as few round trips as the broker allows.

A broker may go away in the middle, so each message has an outcome of its own: it was sent, it was not, or nobody knows.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence, Set
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from kombu import Producer

from tasks_celery.adopt import UNTOLD
from tasks_celery.compat import AnyResult
from tasks_celery.exceptions import PartlyEnqueued, StoreError
from tasks_celery.publish import conflict, express, sender, undo
from tasks_celery.publish.broker import Shortcut, Unanswered, sending
from tasks_celery.publish.prepare import Prepared, announce_enqueued
from tasks_celery.results import Results
from tasks_celery.stores import Record
from tasks_celery.stores.base import AnswerMissing
from tasks_celery.twin import TwinBackend

logger = logging.getLogger("tasks_celery")

#: How many messages go to Redis at once.
CHUNK = 500

#: More commands than a chunk of messages can be: kombu is to send them at its end, and not some of them sooner.
NEVER_FULL = 1_000_000


@dataclass(slots=True)
class Delivery:
    """What became of several messages, by their ids: those `sent`, those that may have been, and why not all were.

    `kept` are those that have their records for sure.
    """

    sent: set[str] = field(default_factory=set)
    doubtful: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)
    error: Exception | None = None


def dispatch(backend: TwinBackend, prepared: Sequence[Prepared]) -> list[AnyResult]:
    """Keep the records of tasks, send their messages and announce them; return their results in order.

    Raise StoreError, or AlreadyEnqueued for a unique task, with nothing enqueued; PartlyEnqueued where some were.
    """
    results, outcome = backend.results, Delivery()
    try:
        answers = _enqueue(backend, results, prepared, outcome)
    except BaseException:
        for each in prepared:
            if each.record.id in outcome.kept - outcome.sent:
                results.undo(each.record)
        raise
    ours = [each for each, answer in zip(prepared, answers, strict=True) if answer is None]
    refusal = _take_back(results, ours, outcome)
    for each in ours:
        if each.record.id in outcome.sent:
            announce_enqueued(backend, each)
    if refusal is not None:
        raise refusal from outcome.error
    undo.settle_doubts(results.store)
    return [each.result if answer is None else answer for each, answer in zip(prepared, answers, strict=True)]


def _enqueue(
    backend: TwinBackend, results: Results, prepared: Sequence[Prepared], outcome: Delivery
) -> Sequence[AnyResult | None]:
    """Keep records and send messages; return what the seconds of unique tasks are answered, None for each of the others."""
    records = [each.record for each in prepared]
    # A store has to say first what is to be sent: not what waits, nor what has its like.
    is_plain = not any(record.held or record.unique for record in records)
    database = express.broker_database(backend.app, results.store) if is_plain else None
    if database is not None:
        _keep_and_send(backend, results, records, database, outcome)
        return [None] * len(prepared)
    answers = conflict.keep_many(results, prepared)
    ours = [record for record, answer in zip(records, answers, strict=True) if answer is None]
    outcome.kept = {record.id for record in ours}
    outcome.sent |= {record.id for record in ours if record.held}
    send_records(backend, [record for record in ours if not record.held], outcome)
    return answers


def _take_back(results: Results, prepared: Sequence[Prepared], outcome: Delivery) -> PartlyEnqueued | None:
    """Take back what was not sent, and return what the caller is told; None where everything was."""
    missing = [each.record for each in prepared if each.record.id not in outcome.sent]
    if outcome.error is None or not missing:
        return None
    doubtful = [record for record in missing if record.id in outcome.doubtful]
    kept = [record for record in missing if record.id in outcome.kept - outcome.doubtful]
    left = undo.take_back_many(results, kept, doubtful, outcome.error)
    outcome.sent |= left.begun
    return _refusal(prepared, outcome, left.unknown)


def _refusal(prepared: Sequence[Prepared], outcome: Delivery, may_run: Set[str]) -> PartlyEnqueued | None:
    ids = [each.record.id for each in prepared]
    sent = [each for each in ids if each in outcome.sent]
    unknown = [each for each in ids if each in may_run]
    not_sent = [each for each in ids if each not in outcome.sent | may_run]
    if len(sent) == len(ids):
        return None
    return PartlyEnqueued(
        f"Of {len(ids)} tasks, {len(sent)} were enqueued, {len(not_sent)} were not"
        + (f", and {len(unknown)} may yet be run" if unknown else "")
        + f": the broker did not take their messages ({outcome.error}). `sent`, `not_sent` and `doubtful` of this error have their "
        "ids, in order. Check CELERY_BROKER_URL and that the broker runs, then enqueue the others again.",
        sent=sent,
        not_sent=not_sent,
        doubtful=unknown,
    )


def _keep_and_send(
    backend: TwinBackend, results: Results, records: Sequence[Record], database: int, outcome: Delivery
) -> None:
    """Keep each record together with its message, where the broker is the store's own Redis."""
    entries: list[express.Entry] = []

    def collect(record: Record) -> Shortcut:
        def push(key: str, text: str) -> None:
            entries.append((record, results.lifetime(record), database, key, text))

        def keep() -> None:
            results.ready(record)
            outcome.kept.add(record.id)

        return Shortcut(push=push, before=keep)

    under_way = ""
    try:
        with sending(backend.app, within=backend.settings.timeout / 2) as producer:
            for record in records:
                under_way = record.id
                pushed = len(entries)
                sender.send(backend, producer, record, shortcut=collect(record))
                if len(entries) == pushed:  # it went another way
                    outcome.sent.add(record.id)
    except Exception as error:  # noqa: BLE001  kombu, its transports and the project's routers raise what they like
        outcome.error = error
        if isinstance(error, Unanswered):
            outcome.doubtful |= {under_way} & outcome.kept
        return
    _push(results, entries, outcome)


def _push(results: Results, entries: Sequence[express.Entry], outcome: Delivery) -> None:
    try:
        told = express.push_all(results, entries)
    except StoreError as error:
        outcome.error = error
        return
    for (record, *_), answer in zip(entries, told, strict=True):
        if not isinstance(answer, Exception):
            outcome.sent.add(record.id)
            continue
        outcome.error = outcome.error or answer
        if isinstance(answer, AnswerMissing):
            outcome.doubtful.add(record.id)


def send_records(backend: TwinBackend, records: Sequence[Record], outcome: Delivery) -> None:
    """Send the messages of tasks that have their records, in order, up to the first that the broker does not take."""
    if not records:
        return
    under_way: list[str] = []
    try:
        with sending(backend.app, within=backend.settings.timeout / 2) as producer:
            for chunk in _chunks(records):
                with _batch(producer):
                    for record in chunk:
                        under_way.append(record.id)
                        sender.send(backend, producer, record)
                        if not _is_batched(producer):
                            outcome.sent.add(under_way.pop())
                outcome.sent.update(under_way)
                under_way.clear()
    except Exception as error:  # noqa: BLE001  as above
        outcome.error = error
        if isinstance(error, Unanswered) or type(error).__name__ == "BatchPublishError":  # kombu's, since 5.7
            outcome.doubtful.update(under_way)


def send_kept(backend: TwinBackend, records: Sequence[Record]) -> list[Record]:
    """Send the messages of tasks that have their records, and return those that the broker took; it raises nothing.

    Nothing is stored or announced: the tasks have been enqueued before. Left out is what no message can be made of again.
    """
    outcome = Delivery()
    send_records(backend, [record for record in records if UNTOLD not in record.sending], outcome)
    if outcome.error is not None:
        logger.error(
            "The broker took %d of %d messages of tasks that were due: %s",
            len(outcome.sent),
            len(records),
            outcome.error,
        )
    return [record for record in records if record.id in outcome.sent]


def _chunks(records: Sequence[Record]) -> Iterator[list[Record]]:
    rest = iter(records)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


def _batch(producer: Producer) -> AbstractContextManager[Any]:
    """Return kombu's batch, which since 5.7 has Redis take many messages in one round trip."""
    batched: Any = producer
    return batched.batch(max_size=NEVER_FULL) if _is_batched(producer) else nullcontext()


def _is_batched(producer: Producer) -> bool:
    return bool(getattr(producer, "supports_batch_publish", False))
