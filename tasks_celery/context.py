"""Both. What travels with a task: who asked, for which tenant, the request's id, the language.

Web process: a middleware says who asks with `asking`, and `publish` takes `current()` along in the
message and the record. Worker process: `restored` puts the same facts back in force around the task
and around what is announced about it, so that a task enqueued by a task still belongs to who asked first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.utils import translation

if TYPE_CHECKING:
    from django.dispatch import Signal

    from tasks_celery.compat import AnyResult

logger = logging.getLogger("tasks_celery")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Who asked for a task, and in which request and language.

    `user` is the user's primary key as text, None where nobody is signed in; `group` the name of a Django group whose members
    stand for one, as with a schedule that nobody asked for; `tenant` is whom of several customers of the site they belong
    to, where a project keeps these apart.
    """

    user: str | None = None
    group: str | None = None
    tenant: str | None = None
    request_id: str | None = None
    language: str | None = None

    def as_dict(self) -> dict[str, str]:
        """Return the facts that are known, as JSON can carry them."""
        facts = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in facts.items() if value is not None}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any] | None) -> Context:
        """Return the context that `as_dict` described; facts of a later release are left out."""
        known = cls.__slots__
        return cls(**{name: str(value) for name, value in (facts or {}).items() if name in known and value is not None})


#: Looks the context up when it is asked for: most requests enqueue nothing and should not pay for it.
_source: ContextVar[Callable[[], Context] | None] = ContextVar("tasks_celery.context", default=None)


def current() -> Context:
    """Return the context in force here; empty outside a request, a socket or a task."""
    source = _source.get()
    return source() if source else Context(language=translation.get_language())


@contextmanager
def asking(source: Callable[[], Context]) -> Iterator[None]:
    """Let `source` say who asks, for whatever is enqueued in this block."""
    token = _source.set(source)
    try:
        yield
    finally:
        _source.reset(token)


@contextmanager
def restored(context: Context) -> Iterator[None]:
    """Put a stored context back in force for this block, its language included."""
    with asking(lambda: context), translation.override(context.language or translation.get_language()):
        yield


def announce(signal: Signal, sender: type, result: AnyResult) -> None:
    """Send a task signal; a receiver that raises is logged with the task's id and hurts nobody."""
    for receiver, response in signal.send_robust(sender=sender, task_result=result):
        if isinstance(response, Exception):
            name = getattr(receiver, "__qualname__", repr(receiver))
            logger.error("Task id=%s: the signal receiver %s raised", result.id, name, exc_info=response)
