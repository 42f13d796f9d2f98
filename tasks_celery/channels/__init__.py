"""Both. Every completion told to the user's browser, over Django Channels.

In the order of the flow: `notify` says what a task announces, `middleware` remembers who asked, `receivers` hears that the
task finished, `audience` says who is told, `events` what they are told, `groups` under which name. The event is kept in
the `log`, and `push` hands it to the channel layer as a hint. In the web process `listening` hears the hints, reads the log, and
knows where each page is in its stream; `consumers` (behind `routing`) and `views` (behind `urls`) are the doors
through which a page listens, `access` who may, and `since` says from where on. Only what listens or pushes needs Channels
itself: code that is decorated with `notify` imports without it.

Apart from that flow, `workers` makes durable tasks of events that were sent to workers of Channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasks_celery.channels.audience import members_of
from tasks_celery.channels.notify import notify

if TYPE_CHECKING:
    from tasks_celery.channels.since import events_since
    from tasks_celery.channels.tokens import make_token

__all__ = ["events_since", "make_token", "members_of", "notify"]

#: What a view uses and no tasks module needs, by where it is: it asks for the settings of the project when it is imported.
_OF_VIEWS = {"events_since": "since", "make_token": "tokens"}


def __getattr__(name: str) -> Any:
    if name not in _OF_VIEWS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_OF_VIEWS[name]}"), name)
