"""Web process. The connections that `publish` sends through: each wait for the broker has an end.

Celery's own pool, which ``.delay()`` goes on using, waits for as long as the project has it: by default for ever for a Redis
that accepts and does not answer. This one is made from the same configuration, and nothing of the project's is changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from time import monotonic
from typing import Any, cast
from weakref import WeakKeyDictionary

from celery import Celery
from kombu import Connection, Producer
from kombu.connection import ConnectionPool
from kombu.exceptions import LimitExceeded, OperationalError
from kombu.pools import ProducerPool
from kombu.utils.json import dumps

from tasks_celery.remembered import remembered


class Unanswered(Exception):
    """The broker was given a message and did not answer in time: it may take it yet."""


@dataclass(slots=True)
class _Errand:
    """One message on its way: until when it may be tried again, and whether a try got no answer."""

    deadline: float
    unanswered: bool = False


_errand: ContextVar[_Errand | None] = ContextVar("tasks_celery_errand", default=None)


def _stop_in_time(error: BaseException, interval: float) -> None:
    """Raise the error of a try that is the last: what kombu calls before it sleeps and tries again."""
    errand = _errand.get()
    if errand is None:
        return
    errand.unanswered = errand.unanswered or timed_out(error)
    if monotonic() + (interval or 0) >= errand.deadline:
        raise error


#: For `send_task`: the project's own policy goes on to say how often and how soon, this says when it is enough.
RETRY_POLICY: Mapping[str, Any] = {"errback": _stop_in_time}


@contextmanager
def sending(app: Celery, *, within: float) -> Iterator[ShortcutProducer]:
    """Yield a producer for one message, which the broker has to take within so many seconds.

    Raise Unanswered where a try ended without an answer, else what was raised. A connection that failed is closed,
    without a word to the broker: half a message may have been written to it, and a broker that is frozen says no goodbye.
    """
    errand = _Errand(deadline=monotonic() + within)
    token = _errand.set(errand)
    try:
        with _acquired(_pool(app, within), within=_least(within, _acquire_timeout(app))) as producer:
            yield producer
    except Exception as error:
        if errand.unanswered or timed_out(error):
            raise Unanswered(str(error) or "it did not answer in time") from error
        raise
    finally:
        _errand.reset(token)


def timed_out(error: BaseException) -> bool:
    """Whether an error says, or came of one that says, that no answer came in time."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, TimeoutError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


@contextmanager
def _acquired(pool: _Producers, *, within: float) -> Iterator[ShortcutProducer]:
    try:
        producer: ShortcutProducer = pool.acquire(block=True, timeout=within)  # type: ignore[assignment]  # the pool's own kind
    except LimitExceeded as error:
        raise OperationalError(
            f"all {pool.limit} connections to the broker (broker_pool_limit) were in use for {within:g} s"
        ) from error
    connection: Any = producer.connection
    try:
        yield producer
    except BaseException:
        connection.collect()
        raise
    finally:
        producer.release()


@dataclass(slots=True)
class Shortcut:
    """What is done with a message for a list of Redis, instead of sending it: `push` gets the list's key and the text.

    `before` is called where the message goes another way (an exchange, a queue that expires), before it does. `reached`
    is whether either has been: before that, nothing has been kept or sent.
    """

    push: Callable[[str, str], None]
    before: Callable[[], object]
    reached: bool = False


class ShortcutProducer(Producer):
    """A producer that gives its next message to a shortcut, where one is set.

    What Celery sends beside a task's message, its events, goes the usual way.
    """

    shortcut: Shortcut | None = None

    def _publish(  # kombu's own door to the channel, the last before a transport of its own
        self,
        body: Any,
        priority: Any,
        content_type: Any,
        content_encoding: Any,
        headers: Any,
        properties: Any,
        routing_key: Any,
        mandatory: Any,
        immediate: Any,
        exchange: Any,
        declare: Any,
        *rest: Any,
        **more: Any,
    ) -> Any:
        message = (body, priority, content_type, content_encoding, headers, properties)
        declare = [entity for entity in declare or () if not self._is_declared(entity)]
        send = super()._publish
        shortcut, self.shortcut = self.shortcut, None
        if shortcut is not None:
            policy = rest[-1]  # the retry policy: with a shortcut kombu is not asked to try again by itself
            for entity in declare:
                self.maybe_declare(entity, retry=True, **policy)
            shortcut.reached = True
            if self._is_list(exchange, routing_key):
                return shortcut.push(*self._as_list_entry(message, routing_key))
            shortcut.before()
            send = cast("Any", self.connection).ensure(self, send, **policy)
        return send(*message, routing_key, mandatory, immediate, exchange, declare, *rest, **more)

    def _is_declared(self, entity: Any) -> bool:
        """Whether kombu need not declare an entity, which it finds out only once it has copied it (kombu/common.py)."""
        channel: Any = self.channel
        return entity.can_cache_declaration and hash(entity) in channel.connection.client.declared_entities

    def _is_list(self, exchange: str, routing_key: str) -> bool:
        """Whether a message is one more entry of a list, and no more than that (kombu/transport/redis.py, `_put`)."""
        return not exchange and routing_key not in getattr(self.channel, "_expires", ())

    def _as_list_entry(self, parts: tuple[Any, ...], queue: str) -> tuple[str, str]:
        channel: Any = self.channel
        message = channel.prepare_message(*parts)
        channel._inplace_augment_message(message, "", queue)
        key = channel._q_for_pri(queue, channel._get_message_priority(message, reverse=False))
        return f"{channel.global_keyprefix or ''}{key}", dumps(message)


class _Producers(ProducerPool):
    Producer = ShortcutProducer


class _Connections(ConnectionPool):
    # A fork leaves the parent's connections alone: to close them in the child would shut them down for both.
    close_after_fork = False


#: By app; then by process, for a child of a fork must not use (nor close, nor let go of) what its parent has open.
_pools: WeakKeyDictionary[Celery, dict[tuple[int, float, str], _Producers]] = WeakKeyDictionary()


def _pool(app: Celery, within: float) -> _Producers:
    url = remembered(app, "broker_write_url", lambda: str(app.conf.broker_write_url))
    known, key = _pools.setdefault(app, {}), (os.getpid(), within, url)
    return known.get(key) or known.setdefault(key, _make_pool(app, within))


def _make_pool(app: Celery, within: float) -> _Producers:
    limit = app.conf.broker_pool_limit or 0
    connections = _Connections(_connection(app, within), limit=limit)
    return _Producers(connections, limit=limit, close_after_fork=False)


def _connection(app: Celery, within: float) -> Connection:
    """Return a connection like the app's own, still closed, with deadlines."""
    plain = app.connection_for_write()
    # Of several brokers, the first may be the one that does not answer.
    each = within / max(1, len(plain.alt))
    known = plain.transport_options or {}
    # What kombu goes by while it opens a connection: these options, not the policy, and the time for one broker unless told.
    opening = {**RETRY_POLICY, "connect_retries_timeout": _least(within, known.get("connect_retries_timeout"))}
    return app.connection_for_write(
        connect_timeout=_least(each, plain.connect_timeout),
        transport_options=opening | _deadlines(plain.transport.driver_type, known, each),
    )


def _deadlines(driver: str, options: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Return what makes a transport give up in time, or sooner where the project says so; nothing for one without it."""
    if driver == "redis":
        waits = {"socket_timeout": seconds, "socket_connect_timeout": seconds}
    elif driver == "amqp":
        # A write that has got half way waits once more for the other half.
        waits = {"read_timeout": seconds, "write_timeout": seconds / 2}
    else:
        return {}
    bounded: dict[str, Any] = {name: _least(wait, options.get(name)) for name, wait in waits.items()}
    # redis-py would write the message a second time, and wait for as long again.
    return bounded | ({"retry_on_timeout": False} if driver == "redis" else {})


def _acquire_timeout(app: Celery) -> float | None:
    name = "broker_pool_acquire_timeout"  # since Celery 5.7
    timeout: float | None = remembered(app, name, lambda: app.conf.get(name))
    return timeout


def _least(seconds: float, project: float | None) -> float:
    """Return the shorter of our time and the project's; None and 0 are its words for no limit."""
    return min(seconds, float(project)) if project else seconds
