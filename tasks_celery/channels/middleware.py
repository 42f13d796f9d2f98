"""Web process. Remembers who asks, so that what is enqueued in a request or on a socket belongs to its user.

The user, and their tenant, are looked up when something is enqueued, and only then. What a streaming response does while it
streams comes after the middleware: tasks enqueued by its generator belong to nobody, unless the
view says otherwise with `tasks_celery.context.asking`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connections
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import translation

from tasks_celery.channels.tenants import tenant_of
from tasks_celery.context import Context, asking

logger = logging.getLogger("tasks_celery.channels")

Result = TypeVar("Result")
Scope = MutableMapping[str, Any]
ASGIApplication = Callable[[Scope, Callable[..., Any], Callable[..., Any]], Awaitable[None]]

#: What a proxy's request id looks like. Anybody can send the header, and it ends up in messages and logs.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")


class AudienceMiddleware:
    """Makes the request's user the audience of what its view enqueues. Comes after AuthenticationMiddleware.

    In an async view, ``aenqueue()`` looks the user up in a thread. A plain ``enqueue()`` there makes the event loop
    wait for it, unless the view has loaded the user before: ``await request.auser()``.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self._answer(request)
        with asking(lambda: _context_of(request)):
            response: HttpResponseBase = self.get_response(request)
            return response

    async def _answer(self, request: HttpRequest) -> HttpResponseBase:
        with asking(lambda: _context_of(request)):
            response: HttpResponseBase = await self.get_response(request)
            return response


class AudienceScope:
    """Makes the user in a scope the audience of what a consumer enqueues.

    Comes inside what signs in: ``AuthMiddlewareStack(AudienceScope(URLRouter(…)))``.
    """

    def __init__(self, inner: ASGIApplication) -> None:
        self.inner = inner

    async def __call__(self, scope: Scope, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        # The scope, not its user: a consumer may sign somebody in or out meanwhile.
        with asking(lambda: _context_of_scope(scope)):
            await self.inner(scope, receive, send)


def _context_of(request: HttpRequest) -> Context:
    return Context(
        user=_user_of(request),
        tenant=_tenant_of(request),
        request_id=_request_id_of(request),
        language=translation.get_language(),
    )


def _context_of_scope(scope: Scope) -> Context:
    return Context(user=_key_of(scope.get("user")), tenant=_tenant_of(scope), language=translation.get_language())


def _user_of(request: HttpRequest) -> str | None:
    try:
        return _key_of(getattr(request, "user", None))
    except SynchronousOnlyOperation:
        # An async view, and nobody has loaded the user. It may have been loaded by `auser()`, whose
        # result Django keeps apart; else this thread may not ask the database, but another may.
        loaded = getattr(request, "_acached_user", None)
        return _key_of(loaded) if loaded is not None else _in_fresh_thread(lambda: _key_of(request.user))


def _tenant_of(source: HttpRequest | Scope) -> str | None:
    try:
        try:
            return tenant_of(source)
        except SynchronousOnlyOperation:
            # An async view or a consumer, and the project's function asks the database.
            return _in_fresh_thread(lambda: tenant_of(source))
    except Exception:  # the project's function, which must not keep the task from being enqueued
        logger.exception("What is enqueued here belongs to no tenant, as TASK_EVENTS['TENANT'] does not work")
        return None


def _key_of(user: object) -> str | None:
    """Return the user's primary key as text; None for nobody and for somebody anonymous."""
    key = getattr(user, "pk", None)  # this is where a lazy user is loaded
    return None if key is None else str(key)


def _request_id_of(request: HttpRequest) -> str | None:
    request_id = request.headers.get("X-Request-ID", "")
    return request_id if _REQUEST_ID.fullmatch(request_id) else None


def _in_fresh_thread(load: Callable[[], Result]) -> Result:
    def load_and_hang_up() -> Result:
        try:
            return load()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="tasks_celery.audience") as thread:
        return thread.submit(copy_context().run, load_and_hang_up).result()
