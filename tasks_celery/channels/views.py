"""Web process. A user's events over HTTP, for pages that cannot hold a WebSocket: as a stream, or a list at a time.

The view is a plain one, under ASGI too: it asks for the user and leaves the streaming to the event loop.
"""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from typing import Final

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_GET

from tasks_celery.channels.access import NO_LONGER_ALLOWED, NOBODY_SIGNED_IN, Access, Refused, access_of_request
from tasks_celery.channels.events import event_text, position_of
from tasks_celery.channels.log import Cursor, EventLogError, Position, Slice, find_log

logger = logging.getLogger("tasks_celery.channels")

STREAM: Final = "text/event-stream"
#: What nobody is given: a page that says it was there has missed what came since.
NOWHERE: Final = Position("", 0)
#: Seconds after which a page may ask again where the log was away.
ASK_AGAIN_AFTER: Final = 5


# Not for LoginRequiredMiddleware, which sends who is not signed in to a page to sign in at: a token is no session.
@login_not_required
@require_GET
def events(request: HttpRequest) -> HttpResponseBase:
    """Answer with the user's events after a position: as a stream where the page accepts one, else as a list.

    The position is that of the ``Last-Event-ID`` header, or of ``?since=epoch:seq``; without it, it is the last event's.
    """
    try:
        access = access_of_request(request)
    except Refused as refused:
        return _refusal(refused.code)
    if STREAM not in request.headers.get("Accept", ""):
        return _list(access, _since(request))
    if not hasattr(request, "scope"):
        return _error(
            HTTPStatus.NOT_IMPLEMENTED,
            "This server runs under WSGI, which cannot hold a stream open. Ask for application/json every few "
            "seconds, or run the project's ASGI application.",
        )
    # Needs Channels, which who only asks for lists need not have.
    from tasks_celery.channels.sse import EventStreamResponse

    return EventStreamResponse(access, _since(request))


def _since(request: HttpRequest) -> Position | None:
    said = request.headers.get("Last-Event-ID") or request.GET.get("since")
    return (position_of(said) or NOWHERE) if said else None


def _list(access: Access, since: Position | None) -> HttpResponse:
    try:
        (found,) = find_log().read([Cursor(access.stream, since)])
    except EventLogError:
        logger.exception("A page that asked for its events is told to come again, as the log does not answer")
        answer = _error(HTTPStatus.SERVICE_UNAVAILABLE, "The log of events does not answer. Ask again.")
        answer["Retry-After"] = str(ASK_AGAIN_AFTER)
        return answer
    return _json(_page(found, since))


def _page(found: Slice, since: Position | None) -> str:
    """Return the JSON of the events in a slice, and of the position from which on the page asks next."""
    last = found.top
    if since and found.top and found.bodies:
        last = Position(found.top.epoch, since.seq + len(found.bodies))
    first = last.seq - len(found.bodies) + 1 if last else 0
    events = [
        event_text(body, last and Position(last.epoch, seq)) for seq, body in enumerate(found.bodies, start=first)
    ]
    rest = {
        "seq": last and last.seq,
        "epoch": last and last.epoch,
        "reset": found.is_lost,
        "more": last != found.top,
    }
    # The events are JSON already, as they are in the log and on the socket.
    return f'{{"events":[{",".join(events)}],{json.dumps(rest)[1:]}'


def _refusal(code: int) -> HttpResponse:
    answer = _error(*_REFUSALS.get(code, (HTTPStatus.SERVICE_UNAVAILABLE, "Ask again later.")))
    if answer.status_code == HTTPStatus.UNAUTHORIZED:
        answer["WWW-Authenticate"] = "Bearer"
    return answer


_REFUSALS: Final = {
    NOBODY_SIGNED_IN: (HTTPStatus.UNAUTHORIZED, "Nobody is signed in, or the token is not valid or not any more."),
    NO_LONGER_ALLOWED: (HTTPStatus.FORBIDDEN, "The user is not active."),
}


def _error(status: HTTPStatus, text: str) -> HttpResponse:
    return _json(json.dumps({"error": text}), status)


def _json(text: str, status: HTTPStatus = HTTPStatus.OK) -> HttpResponse:
    return HttpResponse(text, status=status, content_type="application/json", headers={"Cache-Control": "no-store"})
