"""Web process. The socket that brings a user's events to a page.

Nothing here asks the database or waits for Django's one synchronous thread: an event reaches a thousand
sockets while somebody else's query is still running.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar, Final

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import autodiscover_modules

from tasks_celery.channels.events import EVENT, READY, Json, texts_in
from tasks_celery.channels.groups import group_name
from tasks_celery.channels.layer import NEEDS_CHANNELS, consumes_here
from tasks_celery.channels.notify import event_names

try:
    from channels.exceptions import StopConsumer
    from channels.generic.websocket import AsyncJsonWebsocketConsumer
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(NEEDS_CHANNELS) from error

logger = logging.getLogger("tasks_celery.channels")

#: Close codes. Sent after accept: a browser cannot tell a refused handshake from a server that is down.
NOBODY_SIGNED_IN: Final = 4401
NO_LONGER_ALLOWED: Final = 4403
#: Characters of a message from a page; ``{"since": …}`` needs fewer.
LONGEST_MESSAGE: Final = 1_000


class TaskEventsConsumer(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    """Sends the events of the user in the scope, and of nobody else.

    Belongs behind AllowedHostsOriginValidator and AuthMiddlewareStack.
    """

    #: The messages that are acted on, each with its method. Others, such as a later release's, are ignored: Channels'
    #: own lookup would call any method that a type names, and end the socket where there is none.
    handlers: ClassVar[Mapping[str, str]] = {
        "websocket.connect": "websocket_connect",
        "websocket.receive": "websocket_receive",
        "websocket.disconnect": "websocket_disconnect",
        EVENT: "task_event",
    }
    groups: list[str]

    async def dispatch(self, message: object) -> None:
        """Call the message's method, without the hop to the database thread that Channels makes for each."""
        kind = message.get("type") if isinstance(message, dict) else None
        name = self.handlers.get(kind) if isinstance(kind, str) else None
        if name is None:
            logger.debug("A message of the unknown type %r is ignored", kind)
            return
        await getattr(self, name)(message)

    async def connect(self) -> None:
        """Accept; then refuse who may not listen, or join the user's group and say that events arrive from now on."""
        await self.accept()
        user = self.scope.get("user")
        if refusal := _refusal(user):
            await self.close(code=refusal)
            return
        await self.join(group_name(str(user.pk)))
        await self.send_json(await _ready())

    async def join(self, group: str) -> None:
        """Hear what is sent to `group` until the socket closes."""
        if self.channel_layer is None:
            raise ImproperlyConfigured("CHANNEL_LAYERS has no layer for the events of tasks. Run: manage.py check")
        consumes_here(self.channel_layer)
        # Awaited: without it, nothing is joined and nothing complains.
        await self.channel_layer.group_add(group, self.channel_name)
        self.groups = [*self.groups, group]

    async def websocket_disconnect(self, message: Mapping[str, Any]) -> None:
        """Leave the groups, so that nothing is sent to a channel that nobody reads.

        As Channels has it, but without the hop to the database thread: a thousand pages that leave at once would
        queue there.
        """
        for group in self.groups:
            await self.channel_layer.group_discard(group, self.channel_name)
        await self.disconnect(message["code"])
        raise StopConsumer

    async def task_event(self, message: Mapping[str, Any]) -> None:
        """Send on what the layer brought."""
        for text in texts_in(message):
            await self.send(text_data=text)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any) -> None:
        """Take a position to go on from; ignore whatever else a page may send."""
        if not text_data or len(text_data) > LONGEST_MESSAGE:
            logger.debug("A message from the page is ignored: it is empty, binary or too long")
            return
        try:
            content = json.loads(text_data)
        except (ValueError, RecursionError):
            logger.debug("A message from the page is ignored: it is no JSON")
            return
        if isinstance(content, dict) and "since" in content:
            await self.resume(content["since"])

    async def resume(self, since: object) -> None:
        """Send the events after the position `since`. No log of events is kept yet, so there are none."""
        logger.debug("No events are kept, so none are sent again (since=%r)", since)


def _refusal(user: Any) -> int | None:
    if not getattr(user, "is_authenticated", False):
        return NOBODY_SIGNED_IN
    if not getattr(user, "is_active", True):
        return NO_LONGER_ALLOWED
    return None


async def _ready() -> Json:
    ready: Json = {"type": READY, "seq": None, "epoch": None}
    if settings.DEBUG:
        # So that the page can say that an event it waits for does not exist.
        await sync_to_async(_import_tasks, thread_sensitive=False)()
        ready["events"] = event_names()
    return ready


@cache
def _import_tasks() -> None:
    """Import the tasks modules of all apps, as a web process need not have done."""
    try:
        autodiscover_modules("tasks")
    except Exception:  # the project's modules
        logger.exception("A tasks module cannot be imported; the events of those that can are known")
