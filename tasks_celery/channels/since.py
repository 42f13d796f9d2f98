"""Web process. From where on a page is told of events: the position of its user's last event, taken as the page is made."""

from __future__ import annotations

import logging

from django.http import HttpRequest

from tasks_celery.channels.access import Access, Refused, access_of_request
from tasks_celery.channels.log import Cursor, EventLogError, find_log

logger = logging.getLogger("tasks_celery.channels")

_TAKEN = "_task_events_since"


def events_since(request: HttpRequest) -> str:
    """Return the position of the user's last event, as ``epoch:seq``; a page that connects with it is told all that comes after.

    Call it before the view reads what the page shows: what comes in between is then told, and not missed. The first call
    takes the position, and the template tags render the same one. Empty where nobody is signed in, and where the log of events does not
    answer or there is none.
    """
    taken = getattr(request, _TAKEN, None)
    if taken is None:
        taken = _position(request)
        setattr(request, _TAKEN, taken)
    return str(taken)


def access_in(request: HttpRequest) -> Access | None:
    """Return who would listen; None where nobody may."""
    try:
        return access_of_request(request)
    except Refused:
        return None


def _position(request: HttpRequest) -> str:
    access = access_in(request)
    if access is None:
        return ""
    try:
        (found,) = find_log().read([Cursor(access.stream)])
    except EventLogError:
        logger.exception("A page is rendered without the position of its events, as their log does not answer")
        return ""
    return str(found.top) if found.top else ""
