"""Web process. The socket that brings a user's events to a page.

It is one coroutine, the server's own, which waits for what the page says. Neither a task nor a channel of the layer is
its own, and nothing here asks the database or waits for Django's one synchronous thread: an event reaches a thousand
sockets while somebody else's query is still running.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qs

from tasks_celery.channels.access import (
    NO_LONGER_ALLOWED,
    NOBODY_SIGNED_IN,
    SERVER_SHUTS_DOWN,
    TRY_AGAIN_LATER,
    Access,
    Refused,
    access_of_scope,
    access_of_token,
    allowed,
    tenant_or_refused,
)
from tasks_celery.channels.events import Json, position_of
from tasks_celery.channels.layer import NEEDS_CHANNELS
from tasks_celery.channels.listening.hub import LayerError
from tasks_celery.channels.listening.subscription import Item, Subscription
from tasks_celery.channels.log import Position

try:
    from channels.consumer import AsyncConsumer
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(NEEDS_CHANNELS) from error

logger = logging.getLogger("tasks_celery.channels")

#: Characters of a message from a page; a position or a token needs fewer.
LONGEST_MESSAGE: Final = 1_000
#: Seconds that a page which said that it would may take to send its token.
TOKEN_WITHIN = 10.0
#: Seconds that a server which shuts down waits for a socket to leave its group.
LEAVE_WITHIN = 1.0
#: From here on, a close code means what an application says.
PRIVATE: Final = 3000
#: A cursor that no log knows: whoever comes with one that cannot be read is told to fetch their state afresh.
NOWHERE: Final = Position("?", 0)

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Json], Awaitable[None]]


class TaskEventsConsumer(AsyncConsumer):  # type: ignore[misc]
    """Sends the events of the user in the scope, and of nobody else.

    Belongs behind AllowedHostsOriginValidator and AuthMiddlewareStack. In the query, ``since=epoch:seq`` asks for what came
    after, ``acks=1`` promises acknowledgements, and ``auth=message`` a token as the first message.
    """

    async def __call__(self, scope: Json, receive: Receive, send: Send) -> None:
        """Serve one socket until it closes."""
        self.scope, self.base_send = scope, send
        self.subscription: Subscription | None = None
        try:
            if subscription := await self._begin(receive):
                await self._listen(receive, subscription)
        except asyncio.CancelledError:
            # How daphne shuts down. uvicorn closes with this code by itself.
            await self._leave_at_shutdown()
            raise
        finally:
            if self.subscription is not None:
                await self.subscription.shut()

    def access(self) -> Access:
        """Return who listens, from what the middleware put into the scope. Raise Refused."""
        return access_of_scope(self.scope)

    async def close(self, code: int) -> None:
        """Close the socket with this code; where the server has none of the standard's, with its private twin (4012 for 1012)."""
        try:
            await self.base_send({"type": "websocket.close", "code": code})
        except Exception:
            # autobahn, below daphne, takes 1000 and those from 3000 on from an application, and raises a bare Exception.
            if code >= PRIVATE:
                raise
            await self.base_send({"type": "websocket.close", "code": code + PRIVATE})

    async def _begin(self, receive: Receive) -> Subscription | None:
        """Accept; then refuse who may not listen, or begin to send."""
        if (await receive())["type"] != "websocket.connect":
            return None
        await self.base_send({"type": "websocket.accept"})
        query = parse_qs(self.scope.get("query_string", b"").decode("latin-1"))
        try:
            access = await self._token(receive) if query.get("auth") == ["message"] else self.access()
            return await self._subscribe(access, query) if access else None
        except Refused as refused:
            await self.close(refused.code)
        except LayerError:  # the hub has said so
            await self.close(TRY_AGAIN_LATER)
        return None

    async def _subscribe(self, access: Access, query: Mapping[str, list[str]]) -> Subscription:
        since = query.get("since")
        self.subscription = Subscription(
            access,
            since=(position_of(since[-1]) or NOWHERE) if since else None,
            acks=query.get("acks") == ["1"],
            send=self._send,
            close=self.close,
        )
        await self.subscription.open()
        return self.subscription

    async def _token(self, receive: Receive) -> Access | None:
        """Return whom the page's token names; None for a page that has gone. Raise Refused."""
        try:
            async with asyncio.timeout(TOKEN_WITHIN):
                while (message := await receive())["type"] != "websocket.disconnect":
                    if "token" in (content := _content_of(message)):
                        access = access_of_token(content["token"], tenant_or_refused(self.scope))
                        # Nothing has asked for its user yet, as Channels has for a session's.
                        if not (await asyncio.to_thread(allowed, [access]))[0]:
                            raise Refused(NO_LONGER_ALLOWED)
                        return access
        except TimeoutError as error:
            raise Refused(NOBODY_SIGNED_IN) from error
        return None

    async def _listen(self, receive: Receive, subscription: Subscription) -> None:
        while (message := await receive())["type"] != "websocket.disconnect":
            content = _content_of(message)
            if since := position_of(content.get("since")):
                subscription.resume(since)
            if seen := position_of(content.get("seen")):
                subscription.seen(seen)

    async def _send(self, item: Item) -> None:
        await self.base_send({"type": "websocket.send", "text": item.text})

    async def _leave_at_shutdown(self) -> None:
        try:
            async with asyncio.timeout(LEAVE_WITHIN):
                await self.close(SERVER_SHUTS_DOWN)
                if self.subscription is not None:
                    await self.subscription.shut()
        except Exception as error:  # noqa: BLE001 - the server's: it need not take this any more
            logger.debug("A page could not be told that the server shuts down: %s: %s", type(error).__name__, error)


def _content_of(message: Mapping[str, Any]) -> Json:
    """Return what a page says; nothing for what is no JSON object, binary or too long."""
    text = message.get("text")
    if not text or len(text) > LONGEST_MESSAGE:
        return {}
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        logger.debug("A message from the page is ignored: it is no JSON")
        return {}
    return content if isinstance(content, dict) else {}
