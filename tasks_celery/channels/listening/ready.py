"""Web process. What a page is told beside the position once it is ready."""

from __future__ import annotations

import asyncio
import logging
from functools import cache

from django.conf import settings
from django.utils.module_loading import autodiscover_modules

from tasks_celery.channels.access import user_tag
from tasks_celery.channels.events import READY, state_text
from tasks_celery.channels.log import Position
from tasks_celery.channels.notify import event_names

logger = logging.getLogger("tasks_celery.channels")


def ready_text(stream: str, position: Position | None) -> str:
    """Return the message that says: events arrive from here on.

    With it, the tag of the user, by which tabs of one user know each other; with DEBUG, also the names of all events, so
    that the page can say that one it waits for does not exist.
    """
    names = {"events": event_names()} if settings.DEBUG else {}
    return state_text(READY, position, user=user_tag(stream), **names)


async def learn_names() -> None:
    """See to it that the names of all events are known, where pages are told them."""
    if settings.DEBUG:
        await asyncio.to_thread(_import_tasks)


@cache
def _import_tasks() -> None:
    """Import the tasks modules of all apps, as a web process need not have done."""
    try:
        autodiscover_modules("tasks")
    except Exception:  # the project's modules
        logger.exception("A tasks module cannot be imported; the events of those that can are known")
