"""Web process, and whoever sends what waited. A record becomes Celery's message, and goes to the broker.

Through ``app.amqp``, where `apply_async` goes too: routers, signals, events, headers and declarations are Celery's. Left out is
what `apply_async` does for its caller's AsyncResult, a subscription for each task above all.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from weakref import WeakKeyDictionary

from celery import Celery
from celery.backends.rpc import RPCBackend
from kombu.utils.functional import maybe_list

from tasks_celery.message import HEADER, facts_of
from tasks_celery.moments import to_aware
from tasks_celery.publish import delayed
from tasks_celery.publish.broker import RETRY_POLICY, Shortcut, ShortcutProducer
from tasks_celery.remembered import remembered
from tasks_celery.stores import Record
from tasks_celery.twin import TwinBackend

#: What of `Record.sending` says where a message goes; the rest is in it.
_ROUTING = ("queue", "exchange", "routing_key")

#: What a project may say of all messages of a task (``task_annotations``), for the broker.
_DELIVERY = ("delivery_mode", "mandatory", "immediate")

#: What of a task's own options goes with each of its messages.
_OF_TASK = ("time_limit", "soft_time_limit", "ignore_result", "compression")


def send(backend: TwinBackend, producer: ShortcutProducer, record: Record, *, shortcut: Shortcut | None = None) -> None:
    """Send the message of a task, or have it take a shortcut.

    Raise what kombu, its transports and the project's routers and receivers raise.
    """
    app, twin = backend.app, backend.app.tasks.get(record.name)
    asked = {name: getattr(twin, name, None) for name in _OF_TASK} | dict(record.sending)
    args, kwargs = tuple(asked.pop("args", record.args)), asked.pop("kwargs", record.kwargs)
    options = _routed(backend, record, asked, args, kwargs, twin)
    compression = asked.pop("compression", None)
    headers: Mapping[str, Any] = asked.pop("headers", None) or {}
    expires, eta = to_aware(record.expires), _later(record.run_after)
    if expires is not None:
        options["expiration"] = max(0.0, (expires - datetime.now(UTC)).total_seconds())
    if eta is not None and backend.settings.delayed_delivery:
        options |= _detour(app, producer, options, eta)
    ignore_result = bool(asked.pop("ignore_result", None))
    message = app.amqp.create_task_message(
        record.id,
        record.name,
        args,
        kwargs,
        eta=eta,
        expires=expires,
        retries=record.retries,
        callbacks=maybe_list(asked.pop("link", None)),
        errbacks=maybe_list(asked.pop("link_error", None)),
        reply_to=asked.pop("reply_to", None) or app.thread_oid,
        create_sent_event=remembered(app, "sent_event", lambda: app.conf.task_send_sent_event),
        ignore_result=ignore_result,
        argsrepr=_shown(args),
        kwargsrepr=_shown(kwargs),
        **asked,
    )
    connection: Any = producer.connection
    with connection._reraise_as_library_errors():
        if not ignore_result and isinstance(app.backend, RPCBackend):
            app.backend.on_task_call(producer, record.id)  # its queue has to be there before the worker answers
        producer.shortcut = shortcut
        try:
            app.amqp.send_task_message(
                producer,
                record.name,
                message,
                headers={**headers, HEADER: facts_of(record)},
                serializer="json",
                compression=compression,
                retry=None if shortcut is None else False,  # it tries again by itself
                retry_policy=RETRY_POLICY,
                **options,
            )
        finally:
            producer.shortcut = None


def _routed(
    backend: TwinBackend, record: Record, asked: dict[str, Any], args: Any, kwargs: Mapping[str, Any], twin: Any
) -> dict[str, Any]:
    options = {name: asked.pop(name) for name in _ROUTING if name in asked} or {"queue": record.queue_name}
    if "priority" in asked:  # the broker's number already, or none
        options["priority"] = asked.pop("priority")
    else:
        options["priority"] = backend.scale_of(record.queue_name).place(record.priority)
    options |= {name: value for name in _DELIVERY if (value := getattr(twin, name, None)) is not None}
    router: Any = backend.app.amqp.router  # its stub knows neither lists nor tasks
    routed: dict[str, Any] = router.route(options, record.name, args, kwargs, twin)
    return routed


def _later(moment: datetime | None) -> datetime | None:
    aware = to_aware(moment)
    return aware if aware is not None and aware > datetime.now(UTC) else None


def can_delay(app: Celery, record: Record) -> bool:
    """Whether RabbitMQ itself can hold the message of a task back until it is due."""
    eta = _later(record.run_after)
    if eta is None:
        return False
    queue = app.amqp.queues[record.queue_name]
    return delayed.detour(_driver(app), queue, seconds=_until(eta)) is not None


def _detour(app: Celery, producer: ShortcutProducer, options: Mapping[str, Any], eta: datetime) -> dict[str, Any]:
    """Return where RabbitMQ holds a message back, as options of it; none where it cannot, and the worker waits."""
    queue, key = options.get("queue"), str(options.get("routing_key") or "")
    way = delayed.detour(_driver(app), queue, seconds=_until(eta), routing_key=key) if queue else None
    if queue is None or way is None:
        return {}
    _declare_detour(app, producer.connection, queue)
    return {"queue": None, "exchange": way.exchange, "routing_key": way.routing_key, "exchange_type": "topic"}


#: The queues whose way through RabbitMQ's delays has been declared here, by app.
_declared: WeakKeyDictionary[Celery, set[tuple[str, str]]] = WeakKeyDictionary()


def _declare_detour(app: Celery, connection: Any, queue: Any) -> None:
    known, key = _declared.setdefault(app, set()), (str(connection.as_uri()), str(queue.name))
    if key not in known:
        delayed.prepare(connection, queue, queue_type=app.conf.broker_native_delayed_delivery_queue_type)
        known.add(key)


def _driver(app: Celery) -> str:
    return remembered(app, "driver", lambda: str(app.connection_for_write().transport.driver_type))


def _until(moment: datetime) -> float:
    return (moment - datetime.now(UTC)).total_seconds()


#: Types whose repr is what Celery's `saferepr` shows of them, at a tenth of its price.
_PLAIN = frozenset({int, float, bool, type(None)})

#: How many characters of arguments Celery shows, and we without asking it.
_SHOWN = 1_000


def _shown(arguments: tuple[Any, ...] | Mapping[str, Any]) -> str | None:
    """Return how arguments are shown in a message's headers; None leaves it to Celery, for what is long or nested."""
    values = [*arguments, *arguments.values()] if isinstance(arguments, Mapping) else arguments
    if not all(type(value) in _PLAIN or _is_plain_text(value) for value in values):
        return None
    text = repr(arguments)
    return text if len(text) < _SHOWN else None


def _is_plain_text(value: Any) -> bool:
    # Celery escapes nothing.
    return type(value) is str and len(value) < _SHOWN and value.isprintable() and not {"'", "\\"} & set(value)
