"""Both. A project's consumers for workers of Channels, as they were; nothing here knows of tasks."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from channels.consumer import AsyncConsumer, SyncConsumer
from channels.routing import ChannelNameRouter, ProtocolTypeRouter
from django.contrib.auth import get_user_model

from integration.channel_workers.apps import note


class Thumbnails(SyncConsumer):
    def generate(self, message: dict[str, Any]) -> None:
        note("handled", channel=self.scope["channel"], number=message["number"], users=get_user_model().objects.count())

    def slow(self, message: dict[str, Any]) -> None:
        note("begun", number=message["number"])
        time.sleep(message["seconds"])
        note("handled", channel=self.scope["channel"], number=message["number"])

    def fail(self, message: dict[str, Any]) -> None:
        raise LookupError("no such picture")


class Letters(AsyncConsumer):
    async def generate(self, message: dict[str, Any]) -> None:
        await self.channel_layer.group_send("heard", {"type": "letter.sent", "number": message["number"]})
        await asyncio.sleep(0.01)
        note("handled", channel=self.scope["channel"], number=message["number"])

    async def slow(self, message: dict[str, Any]) -> None:
        note("begun", number=message["number"])
        await asyncio.sleep(message["seconds"])
        note("handled", channel=self.scope["channel"], number=message["number"])


application = ProtocolTypeRouter(
    {"channel": ChannelNameRouter({"thumbnails": Thumbnails.as_asgi(), "letters": Letters.as_asgi()})}
)
