"""Web process. Where broker and store are one Redis, the record is kept and the message sent in one step.

A round trip less for each task, and nothing in between that could fail. The message is kombu's to the last byte; only the way it goes
is another: `ShortcutProducer` hands it over where it would be put into its list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from celery import Celery

from tasks_celery.exceptions import StoreError
from tasks_celery.publish.broker import Shortcut
from tasks_celery.remembered import remembered
from tasks_celery.results import Results
from tasks_celery.stores import Record, Store

#: A record, how many seconds it is kept, and where its message goes: the number of a database, the key of a list, the text.
Entry: TypeAlias = tuple[Record, float | None, int, str, str]

#: The schemes of kombu's plain Redis transport; others (Sentinel) find their server elsewhere.
_SCHEMES = ("redis", "rediss", "redis+socket", "socket")

#: Settings that say in pieces what the URL leaves out, or that it is not to be gone by.
_IN_PIECES = (
    "broker_transport",
    "broker_use_ssl",
    "broker_host",
    "broker_port",
    "broker_user",
    "broker_password",
    "broker_vhost",
)


def broker_database(app: Celery, store: Store) -> int | None:
    """Return the number that the broker's database has in the Redis of a store; None where the broker is elsewhere."""
    address = getattr(store, "address", None)
    if address is None:
        return None
    server, database = remembered(app, "express", lambda: _place_of_broker(app.conf))
    return database if server == address else None


def _place_of_broker(conf: Any) -> tuple[Any, int]:
    url = conf.broker_write_url
    if not _tells_all(url) or any(conf.get(name) for name in _IN_PIECES):
        return None, 0
    from redis import ConnectionPool  # here, for only a project with a Redis needs it

    from tasks_celery.stores.address import address_of, database_of, redis_url

    try:
        pool = ConnectionPool.from_url(redis_url(url))
    except ValueError:  # kombu will say what is wrong with it
        return None, 0
    parameters: Mapping[str, Any] = pool.connection_kwargs | {"connection_class": pool.connection_class}
    return address_of(parameters), database_of(parameters)


def _tells_all(url: Any) -> bool:
    """Whether a setting is one URL of a Redis that kombu reads as redis-py does."""
    if not isinstance(url, str) or ";" in url:
        return False
    scheme, found, rest = url.partition("://")
    # kombu does not know this parameter, and would connect to database 0.
    return bool(found) and scheme in _SCHEMES and "db=" not in rest.partition("?")[2]


def shortcut(results: Results, record: Record, database: int) -> Shortcut:
    """Return what keeps a record together with its message. It raises StoreError."""

    def push(key: str, text: str) -> None:
        (outcome,) = push_all(results, [(record, results.lifetime(record), database, key, text)])
        if isinstance(outcome, Exception):
            raise outcome

    return Shortcut(push=push, before=lambda: results.ready(record))


def push_all(results: Results, entries: Sequence[Entry]) -> list[str | StoreError | None]:
    """Keep each record together with its message, and return what became of each; see `RedisStore.create_and_push`."""
    store: Any = results.store
    outcomes: list[str | StoreError | None] = store.create_and_push(entries)
    return outcomes
