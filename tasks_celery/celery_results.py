"""Both. What Celery's own result tells of a task that has no record: sent by old producers, or by other apps.

`celery_reader` has read it; here it becomes a record.
"""

from __future__ import annotations

import builtins
from ast import literal_eval
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from celery import Celery, states
from celery.utils.serialization import UnpickleableExceptionWrapper
from django.utils import timezone

from tasks_celery import moments
from tasks_celery.celery_reader import Meta, read
from tasks_celery.exceptions import StoreError
from tasks_celery.stores import Error, Record, Status
from tasks_celery.stores.base import FINISHED
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


def from_celery(app: Celery, result_id: str, *, timeout: float) -> Record | None:
    """Return a record made from Celery's own result, for tasks that something else sent; None for nothing.

    Needs `result_extended` to know which task the id belongs to. Nothing is known of an id that Celery could have stored
    nothing under, nor of any where only the sender can read results (``rpc://``) or nobody can. Raise StoreError where
    the result backend cannot be read; Redis and memcached are given up after `timeout` seconds, a database or a
    folder as the project's own configuration of it says.
    """
    try:
        meta = read(app, result_id, timeout=timeout)
        # Celery says PENDING for any id, so PENDING is no knowledge.
        known = meta.get("status", states.PENDING) != states.PENDING and _name(meta)
        return _record(app, result_id, meta) if known else None
    except Exception as error:  # result backends raise what their clients raise
        raise StoreError(
            f"Celery's result backend did not answer for the id {result_id!r}: {error}. "
            "Check CELERY_RESULT_BACKEND, and that what it names runs."
        ) from error


def ended_in_celery(app: Celery, record: Record, *, timeout: float) -> Record | None:
    """Return a record as Celery's own result tells that its task ended; None where that tells of no end.

    A worker that keeps no records, of the release before, has run it. Raise StoreError as `from_celery` does.
    """
    try:
        meta = read(app, record.id, timeout=timeout)
        if STATUS_OF.get(str(meta.get("status"))) not in FINISHED:
            return None
        return _record(app, record.id, {**meta, "name": record.name})
    except Exception as error:  # result backends raise what their clients raise
        raise StoreError(f"Celery's result backend did not answer for the id {record.id!r}: {error}.") from error


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
    path, message = _exception(meta.get("result"))
    return Error(exception_class_path=path, traceback=meta.get("traceback") or f"{path}: {message}\n")


def _exception(stored: Any) -> tuple[str, str]:
    """Return where an exception's class lives, and its message: it is stored by name, or pickled if the project pickles."""
    if isinstance(stored, UnpickleableExceptionWrapper):
        return f"{stored.exc_module}.{stored.exc_cls_name}", str(stored)
    if isinstance(stored, BaseException):
        return f"{type(stored).__module__}.{type(stored).__qualname__}", str(stored)
    if not isinstance(stored, Mapping):
        return "builtins.Exception", str(stored)
    name, module, args = stored.get("exc_type"), stored.get("exc_module"), stored.get("exc_message", "")
    if name == UnpickleableExceptionWrapper.__name__ and isinstance(args, list) and len(args) == 4:
        return f"{args[0]}.{args[1]}", str(args[3])
    message = ", ".join(map(str, args)) if isinstance(args, list | tuple) else str(args)
    if not module:
        return f"builtins.{name if hasattr(builtins, str(name)) else 'Exception'}", message
    return f"{module}.{name}", message
