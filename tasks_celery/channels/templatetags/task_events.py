"""Web process. ``{% load task_events %}``: what a page needs to hear its user's events, rendered into it."""

from __future__ import annotations

import logging
from typing import Any

from django import template
from django.http import HttpRequest
from django.template import Context
from django.templatetags.static import static
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from tasks_celery.channels.since import access_in, events_since

logger = logging.getLogger("tasks_celery.channels")

ELEMENT = "tasks_celery/element.js"
SOCKET = "/ws/tasks/"

register = template.Library()


@register.simple_tag(takes_context=True)
def task_events_since(context: Context) -> str:
    """Return the position of the user's last event, as ``epoch:seq``: what comes while the page loads is heard too.

    It is taken here, unless the view has done so before it read what the page shows (`events_since`). Empty where nobody
    is signed in, and where the log of events is away or there is none.
    """
    request = _request_in(context)
    return events_since(request) if request else ""


@register.simple_tag(takes_context=True)
def task_events(context: Context, **attributes: Any) -> SafeString:
    """Return an element that listens for the user's events and fires each as a DOM event; nothing for nobody.

    `src` is the address of the socket, `fallback` that of the stream, by default where the project's URLs have it.
    Other attributes, such as ``id="reports"``, are the element's too; one that is None or False is left out.
    """
    request = _request_in(context)
    if request is None or access_in(request) is None:
        return SafeString()
    known = {"src": SOCKET, "since": events_since(request), "fallback": _stream_url()}
    named = {name.replace("_", "-"): value for name, value in attributes.items()}
    return format_html(
        '<script type="module" src="{}"{}></script><task-events{}></task-events>',
        static(ELEMENT),
        _attributes({"nonce": _nonce_in(context)}),
        _attributes(known | named),
    )


def _request_in(context: Context) -> HttpRequest | None:
    request = context.get("request")
    if isinstance(request, HttpRequest):
        return request
    logger.warning(
        "A page with tags of task_events was rendered without its request, so it hears nothing. Render it with "
        "the request, and have django.template.context_processors.request in TEMPLATES."
    )
    return None


def _stream_url() -> str | None:
    try:
        return reverse("task_events:events")
    except NoReverseMatch:
        return None  # the project has left the view out


def _nonce_in(context: Context) -> str | None:
    """Return the nonce of the page's content security policy: Django's own, since 6.0, or django-csp's."""
    request = context["request"]
    for nonce in (context.get("csp_nonce"), getattr(request, "_csp_nonce", None), getattr(request, "csp_nonce", None)):
        # Django's is false until somebody reads it.
        if nonce is not None:
            return str(nonce)
    return None


def _attributes(values: dict[str, Any]) -> SafeString:
    given = (
        (name, "" if value is True else value)
        for name, value in values.items()
        if value is not None and value is not False
    )
    return format_html_join("", ' {}="{}"', given)
