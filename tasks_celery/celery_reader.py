"""Both. Reads Celery's result backends: as the project has configured them, but through a copy that `_reader` makes.

What a copy does otherwise: it leaves exceptions as they are stored, asks once, and gives up in time.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from errno import ENAMETOOLONG
from typing import Any

from celery import Celery
from celery.backends.cache import CacheBackend
from celery.backends.filesystem import FilesystemBackend

#: What memcached takes as a key (its protocol.txt, "Keys").
MEMCACHED_KEY_BYTES = 250

Meta = Mapping[str, Any]


def read(app: Celery, result_id: str, *, timeout: float) -> Meta:
    """Return what the app's result backend has stored under an id, as it is stored; nothing for what it cannot hold.

    Raises what the client of the result backend raises.
    """
    backend: Any = app.backend
    # Without the method there is nothing that a second process could read: rpc:// and a disabled backend.
    if not hasattr(backend, "_get_task_meta_for") or not _can_hold(backend, result_id):
        return {}
    try:
        # Not `get_task_meta`: it keeps a SUCCESS for the life of a thread, and asks again and again while a server is away.
        stored: Meta = _reader(backend, timeout)._get_task_meta_for(result_id)
    except OSError as error:
        if error.errno == ENAMETOOLONG:
            return {}
        raise
    return stored


def _can_hold(backend: Any, result_id: str) -> bool:
    """Whether a result may be stored under an id; the clients of Celery's backends refuse others in a way of their own."""
    if not result_id or "\0" in result_id or not _is_unicode(result_id):
        return False
    if isinstance(backend, FilesystemBackend):
        # The id is a part of a file's name: a path in it would lead out of the folder.
        return not {os.sep, os.altsep} & set(result_id)
    if _is_memcached(backend):
        key = backend.get_key_for_task(result_id)
        printable = not any(character.isspace() or ord(character) in {*range(33), 127} for character in key)
        readable = key.isascii() or bool(backend.options.get("allow_unicode_keys"))
        return printable and readable and len(key.encode()) <= MEMCACHED_KEY_BYTES
    return True


def _is_memcached(backend: Any) -> bool:
    return issubclass(type(backend), CacheBackend) and backend.backend != "memory"


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair
        return False
    return True


class _Kept(threading.local):
    """The reader that this thread used last: its connection serves one thread, and one process."""

    made_for: tuple[Any, float, int] = (None, 0, 0)
    reader: Any = None


_kept = _Kept()


def _reader(backend: Any, timeout: float) -> Any:
    """Return a copy of a result backend that tells what is stored as it is stored, and soon.

    It leaves an exception the name of its class, which Celery would make again from the modules that happen to be
    imported here. The backend itself stays as it is, for whoever waits for a result with it.
    """
    made_for = (backend, timeout, os.getpid())
    if _kept.made_for != made_for:
        _kept.made_for, _kept.reader = made_for, _copy(backend, timeout)
    return _kept.reader


def _copy(backend: Any, timeout: float) -> Any:
    reader: Any = object.__new__(type(backend))
    reader.__dict__.update(backend.__dict__)
    reader.meta_from_decoded = _unchanged
    if hasattr(reader, "connparams"):
        reader.__dict__.pop("client", None)
        reader.connparams = {**reader.connparams, **_redis_within(timeout)}
    elif _is_memcached(reader):
        reader.__dict__.pop("client", None)
        reader.options = {**reader.options, **_memcached_within(timeout)}
    return reader


def _unchanged(meta: Meta) -> Meta:
    return meta


def _redis_within(timeout: float) -> dict[str, Any]:
    """Return what makes Celery's client of Redis give up in time: by default it waits for two minutes, repeatedly."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    # One retry without a pause, but not of a timeout: a connection that the server closed while idle fails once.
    retry = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
    return {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry_on_timeout": False,
        "retry": retry,
    }


def _memcached_within(timeout: float) -> dict[str, Any]:
    """Return the same for memcached; nothing for the clients of Celery before 5.7, which name their options otherwise."""
    from celery.backends import cache

    if not hasattr(cache, "DEFAULT_CLIENT_OPTIONS"):
        return {}
    from pymemcache.exceptions import MemcacheUnexpectedCloseError  # type: ignore[import-untyped]

    lost = [ConnectionError, MemcacheUnexpectedCloseError]
    return {"connect_timeout": timeout, "timeout": timeout, "retry_attempts": 2, "retry_delay": 0, "retry_for": lost}
