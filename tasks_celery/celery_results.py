"""Both. What Celery's own result tells of a task that has no record: sent by old producers, or by other apps.

The project's result backend is asked as it is configured, but through a copy of it: `_reader` says what differs.
"""

from __future__ import annotations

import builtins
import os
import threading
from ast import literal_eval
from collections.abc import Mapping
from datetime import datetime
from errno import ENAMETOOLONG
from typing import Any

from celery import Celery, states
from celery.backends.cache import CacheBackend
from celery.backends.filesystem import FilesystemBackend
from celery.utils.serialization import UnpickleableExceptionWrapper
from django.utils import timezone

from tasks_celery import moments
from tasks_celery.exceptions import StoreError
from tasks_celery.stores import Error, Record, Status
from tasks_celery.values import jsonable

#: What Celery's states mean to Django: a retry waits to be run again, a revoked task never will.
STATUS_OF: Mapping[str, Status] = {
    states.PENDING: "READY",
    states.RECEIVED: "READY",
    states.RETRY: "READY",
    states.STARTED: "RUNNING",
    states.SUCCESS: "SUCCESSFUL",
    states.FAILURE: "FAILED",
    states.REVOKED: "FAILED",
}

#: What memcached takes as a key (its protocol.txt, "Keys").
MEMCACHED_KEY_BYTES = 250

Meta = Mapping[str, Any]


def from_celery(app: Celery, result_id: str, *, timeout: float) -> Record | None:
    """Return a record made from Celery's own result, for tasks that something else sent; None for nothing.

    Needs `result_extended` to know which task the id belongs to. Nothing is known of an id that Celery could have stored
    nothing under, nor of any where only the sender can read results (``rpc://``) or nobody can. Raise StoreError where
    the result backend cannot be read; Redis and memcached are given up after `timeout` seconds, a database or a
    folder as the project's own configuration of it says.
    """
    try:
        meta = _read(app, result_id, timeout)
        return _record(app, result_id, meta) if meta else None
    except Exception as error:  # result backends raise what their clients raise
        raise StoreError(
            f"Celery's result backend did not answer for the id {result_id!r}: {error}. "
            "Check CELERY_RESULT_BACKEND, and that what it names runs."
        ) from error


def _read(app: Celery, result_id: str, timeout: float) -> Meta | None:
    backend: Any = app.backend
    # Without the method there is nothing that a second process could read: rpc:// and a disabled backend.
    if not hasattr(backend, "_get_task_meta_for") or not _can_hold(backend, result_id):
        return None
    try:
        # Not `get_task_meta`: it keeps a SUCCESS for the life of a thread, and asks again and again while a server is away.
        meta: Meta = _reader(backend, timeout)._get_task_meta_for(result_id)
    except OSError as error:
        if error.errno == ENAMETOOLONG:
            return None
        raise
    # Celery says PENDING for any id, so PENDING is no knowledge.
    return meta if meta.get("status", states.PENDING) != states.PENDING and _name(meta) else None


def _can_hold(backend: Any, result_id: str) -> bool:
    """Whether a result may be stored under an id; the clients of Celery's backends refuse others in a way of their own."""
    if not result_id or "\0" in result_id or not _is_unicode(result_id):
        return False
    if isinstance(backend, FilesystemBackend):
        # The id is a part of a file's name: a path in it would lead out of the folder.
        return not {os.sep, os.altsep} & set(result_id)
    if isinstance(backend, CacheBackend) and backend.backend != "memory":
        key = backend.get_key_for_task(result_id)
        printable = not any(character.isspace() or ord(character) in {*range(33), 127} for character in key)
        readable = key.isascii() or bool(backend.options.get("allow_unicode_keys"))
        return printable and readable and len(key.encode()) <= MEMCACHED_KEY_BYTES
    return True


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair
        return False
    return True


# --- the reader


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
    elif isinstance(reader, CacheBackend) and reader.backend != "memory":
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
    from pymemcache.exceptions import MemcacheUnexpectedCloseError

    lost = [ConnectionError, MemcacheUnexpectedCloseError]
    return {"connect_timeout": timeout, "timeout": timeout, "retry_attempts": 2, "retry_delay": 0, "retry_for": lost}


# --- what was read


def _name(meta: Meta) -> str | None:
    # django-celery-results has names of its own.
    return meta.get("name") or meta.get("task_name")


def _record(app: Celery, result_id: str, meta: Meta) -> Record:
    status = STATUS_OF.get(str(meta["status"]), "RUNNING")
    name = str(_name(meta))
    return Record(
        id=result_id,
        name=name,
        path=name,
        alias="",
        queue_name=meta.get("queue") or app.conf.task_default_queue,
        args=jsonable(_arguments(meta.get("args"), ())),
        kwargs=jsonable(_arguments(meta.get("kwargs"), {})),
        status=status,
        retries=meta.get("retries") or 0,
        finished_at=_finished_at(app, meta) if status in ("FAILED", "SUCCESSFUL") else None,
        worker_ids=(meta["worker"],) if meta.get("worker") else (),
        errors=(_error(meta),) if status == "FAILED" else (),
        return_value=jsonable(meta.get("result")) if status == "SUCCESSFUL" else None,
    )


def _arguments(stored: Any, none: Any) -> Any:
    """Return arguments in the shape of `none`, and `none` for what cannot be known of them.

    django-celery-results keeps what Celery shows of them in logs: a Python literal, or as much of it as is not too long.
    """
    if isinstance(stored, str):
        try:
            stored = None if "..." in stored else literal_eval(stored)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return none
    kinds = Mapping if isinstance(none, Mapping) else (list, tuple)
    return stored if isinstance(stored, kinds) else none


def _finished_at(app: Celery, meta: Meta) -> datetime | None:
    done = meta.get("date_done")
    if isinstance(done, str):
        done = datetime.fromisoformat(done)
    if done is not None and timezone.is_naive(done):
        # A column without a zone: in Django's database the project's time, in Celery's own what `app.now()` says.
        done = moments.to_aware(done) if "task_name" in meta else done.replace(tzinfo=app.timezone)
    return moments.as_project(done)


def _error(meta: Meta) -> Error:
    path, message = _class_path(meta.get("result")), _message(meta.get("result"))
    return Error(exception_class_path=path, traceback=meta.get("traceback") or f"{path}: {message}\n")


def _class_path(stored: Any) -> str:
    """Return where an exception's class lives: it is stored by name, or pickled where the project has it so."""
    if isinstance(stored, UnpickleableExceptionWrapper):
        return f"{stored.exc_module}.{stored.exc_cls_name}"
    if isinstance(stored, BaseException):
        return f"{type(stored).__module__}.{type(stored).__qualname__}"
    if not (isinstance(stored, Mapping) and stored.get("exc_type")):
        return "builtins.Exception"
    name, module, args = stored["exc_type"], stored.get("exc_module"), stored.get("exc_message")
    if name == UnpickleableExceptionWrapper.__name__ and isinstance(args, list) and len(args) > 1:
        return f"{args[0]}.{args[1]}"
    if module:
        return f"{module}.{name}"
    return f"builtins.{name}" if hasattr(builtins, name) else "builtins.Exception"


def _message(stored: Any) -> str:
    if not isinstance(stored, Mapping):
        return str(stored)
    message = stored.get("exc_message", "")
    return ", ".join(map(str, message)) if isinstance(message, list | tuple) else str(message)
