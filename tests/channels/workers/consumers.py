"""Both. The consumers of a project that has workers of Channels, and its ASGI application; nothing here knows tasks_celery."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from channels.consumer import AsyncConsumer, SyncConsumer
from channels.exceptions import StopConsumer
from channels.routing import ChannelNameRouter, ProtocolTypeRouter
from django.contrib.auth import get_user_model

#: What the consumers did, in order.
done: list[Any] = []


class Thumbnails(SyncConsumer):
    def generate(self, message: dict[str, Any]) -> None:
        done.append((self.scope, message, threading.get_ident()))

    def generate_dotted(self, message: dict[str, Any]) -> None:
        done.append("dotted")

    def count_users(self, message: dict[str, Any]) -> None:
        done.append(get_user_model().objects.count())

    def answer(self, message: dict[str, Any]) -> None:
        self.send({"said": message["id"]})
        self.send({"said": "and that is all"})

    def answer_bytes(self, message: dict[str, Any]) -> None:
        self.send({"bytes": b"x"})

    def fail(self, message: dict[str, Any]) -> None:
        raise LookupError("no such picture")

    def stop(self, message: dict[str, Any]) -> None:
        raise StopConsumer


class Letters(AsyncConsumer):
    async def generate(self, message: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        done.append((self.scope, message, threading.get_ident()))

    async def tell_group(self, message: dict[str, Any]) -> None:
        await self.channel_layer.group_send(message["group"], {"type": "told", "id": message["id"]})

    async def answer(self, message: dict[str, Any]) -> None:
        await self.send({"said": message["id"]})

    async def fail(self, message: dict[str, Any]) -> None:
        raise LookupError("no such letter")

    async def wait_for_ever(self, message: dict[str, Any]) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            done.append("cancelled")


async def raw(scope: Any, receive: Any, send: Any) -> None:
    """An application that is no consumer: it waits for one event after the other."""
    while True:
        done.append(await receive())


async def stubborn(scope: Any, receive: Any, send: Any) -> None:
    """It takes every error for one of its events, and goes on."""
    while True:
        try:
            done.append(await receive())
        except Exception as error:  # noqa: BLE001
            done.append(type(error).__name__)


async def deaf(scope: Any, receive: Any, send: Any) -> None:
    return None


def middleware(inner: Any) -> Any:
    async def application(scope: Any, receive: Any, send: Any) -> Any:
        done.append("before")
        try:
            await inner({**scope, "tenant": "north"}, receive, send)
        finally:
            done.append("after")

    return application


channels = ChannelNameRouter(
    {
        "thumbnails": Thumbnails.as_asgi(),
        "letters": Letters.as_asgi(),
        "wrapped": middleware(Letters.as_asgi()),
        "raw": raw,
        "stubborn": stubborn,
        "deaf": deaf,
    }
)
application = ProtocolTypeRouter({"channel": channels})
wrapped = middleware(application)
no_channels = ProtocolTypeRouter({})
