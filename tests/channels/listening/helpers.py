"""Test process. Sockets, a layer and a log in this process, for the tests of what listens."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from channels.layers import InMemoryChannelLayer, channel_layers
from channels.testing import WebsocketCommunicator

from tasks_celery.channels.consumers import TaskEventsConsumer
from tasks_celery.channels.events import Envelope, Heard, event_text, group_message
from tasks_celery.channels.groups import group_name
from tasks_celery.channels.log import Entry, Position, find_log
from tests.channels.helpers import DEADLINE, event

ADA = "7"
Json = dict[str, Any]


def write(number: object = 1, user: str = ADA) -> Heard:
    """Put an event into the log alone; return what a push of it brings."""
    envelope = event(number)
    stream = group_name(user)
    (position,) = find_log().append([Entry(stream, str(number), envelope.body)])
    assert position is None or isinstance(position, Position)
    return Heard(position, event_text(envelope.body, position))


async def push(*heard: Heard, user: str = ADA) -> None:
    """Send events to the user's group, in one message."""
    stream = group_name(user)
    await channel_layers["default"].group_send(stream, group_message(stream, list(heard)))


async def tell(*numbers: object, user: str = ADA) -> None:
    """Log and push events, as a publisher does."""
    await push(*(write(number, user) for number in numbers), user=user)


def envelope_of(text: str) -> Envelope:
    content = json.loads(text)
    return Envelope(event=content["event"], data=content["data"])


def texts_by_id(texts: list[str]) -> list[str]:
    """Return the ids of the events, and the types of what is none."""
    contents = [json.loads(text) for text in texts]
    return [content["data"]["id"] if content["type"] == "task.event" else content["type"] for content in contents]


async def until(is_so: Callable[[], object], *, what: str = "") -> None:
    """Wait until it is so; fail when it is not within the deadline."""
    deadline = time.monotonic() + DEADLINE
    while not is_so():
        assert time.monotonic() < deadline, f"Not so within {DEADLINE} s: {what or is_so}"
        await asyncio.sleep(0.002)


class Faulty(InMemoryChannelLayer):
    """The in-memory layer, with faults: it loses, doubles or delays messages, and raises, as it is told to."""

    def __init__(self) -> None:
        super().__init__(capacity=10_000)
        self.loses = False
        self.doubles = False
        self.adds: list[str] = []
        self.discards: list[str] = []
        self.errors: list[Exception] = []
        self.waits: asyncio.Event | None = None

    async def group_send(self, group: str, message: Json) -> None:
        if not self.loses:
            await super().group_send(group, message)
            if self.doubles:
                await super().group_send(group, message)

    async def receive(self, channel: str) -> Any:
        if self.errors:
            await asyncio.sleep(0)
            raise self.errors.pop()
        return await super().receive(channel)

    async def group_add(self, group: str, channel: str) -> None:
        self.adds.append(group)
        await self._gate()
        await super().group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        self.discards.append(group)
        await self._gate()
        await super().group_discard(group, channel)

    async def _gate(self) -> None:
        if self.errors:
            raise self.errors.pop()
        if self.waits:
            await self.waits.wait()


class Dialling:
    """Makes sockets of users; `hang_up` closes those that are still open."""

    def __init__(self) -> None:
        self.made: list[WebsocketCommunicator] = []

    def __call__(
        self, user: Any = None, query: str = "", consumer: type[TaskEventsConsumer] = TaskEventsConsumer
    ) -> WebsocketCommunicator:
        socket = WebsocketCommunicator(consumer.as_asgi(), f"/ws/tasks/{query}")
        if user is not None:
            socket.scope["user"] = user
        self.made.append(socket)
        return socket

    async def hang_up(self) -> None:
        for socket in self.made:
            if not socket.future.done():
                await socket.disconnect()


async def dialling() -> AsyncIterator[Dialling]:
    """Yield what makes sockets; afterwards all hang up, and nothing runs any more."""
    dial = Dialling()
    before = asyncio.all_tasks()
    yield dial
    await dial.hang_up()
    await asyncio.sleep(0)
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not left
    await channel_layers["default"].flush()
