from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from channels.layers import channel_layers
from django.contrib.auth.models import User
from django.core.handlers.asgi import ASGIHandler
from django.urls import include, path

from tasks_celery.channels import sse
from tasks_celery.channels.access import Access, session_tag
from tasks_celery.channels.events import CONTROL, Heard, event_text, group_message
from tasks_celery.channels.listening.subscription import Item
from tasks_celery.channels.log import Entry, Position, find_log
from tasks_celery.channels.sse import COMMENT, event_stream, frame_of
from tasks_celery.channels.tokens import make_token
from tests.channels.helpers import DEADLINE, event
from tests.channels.listening.helpers import until

urlpatterns = [path("tasks/", include("tasks_celery.channels.urls"))]

#: Each test has a user, and so a stream, of its own: the log in memory outlives a test.
keys = count(2_000_000)


@pytest.fixture(autouse=True)
def _log(settings: Any) -> None:
    settings.TASK_EVENTS = {"LOG": "memory://", "KEEP": 500}


@pytest.fixture
def ada() -> Access:
    return Access(user=str(next(keys)), has_row=False)


def keep(access: Access, *numbers: object) -> list[Heard]:
    """Keep events in the log of who has `access`, and return them as the layer would bring them."""
    entries = [Entry(access.stream, str(number), event(number).body) for number in numbers]
    positions = find_log().append(entries)
    return [
        Heard(position, event_text(entry.body, position))
        for entry, position in zip(entries, positions, strict=True)
        if isinstance(position, Position)
    ]


async def push(access: Access, *events: Heard) -> None:
    await channel_layers["default"].group_send(access.stream, group_message(access.stream, events))


class Reader:
    """Reads a stream as a browser does."""

    def __init__(self, texts: AsyncIterator[str]) -> None:
        self.texts = texts

    async def frame(self) -> str:
        """Return the next frame as it is; nothing at the end."""
        async with asyncio.timeout(DEADLINE):
            return await anext(self.texts, "")

    async def next(self) -> tuple[str | None, dict[str, Any]]:
        """Return the id and the content of the next message."""
        lines = (await self.frame()).removesuffix("\n\n").split("\n")
        fields = dict(line.split(": ", 1) for line in lines)
        assert set(fields) <= {"id", "data"}
        return fields.get("id"), json.loads(fields["data"])

    async def types(self, number: int) -> list[str]:
        return [(await self.next())[1]["type"] for _ in range(number)]


@asynccontextmanager
async def reading(access: Access, since: Position | None = None) -> AsyncIterator[Reader]:
    texts = event_stream(access, since)
    reader = Reader(texts)
    assert (await reader.frame()).startswith("retry: ")
    try:
        yield reader
    finally:
        await texts.aclose()  # type: ignore[attr-defined]
    assert not channel_layers["default"].groups.get(access.stream), "nobody listens any more"


# --- how it ends ---------------------------------------------------------------------------------------------------


async def test_who_signs_out_is_told_the_code_and_the_stream_ends() -> None:
    ada = Access(user=str(next(keys)), has_row=False, session="key")
    async with reading(ada) as reader:
        assert await reader.types(1) == ["task.ready"]
        await channel_layers["default"].group_send(
            ada.stream, {"type": CONTROL, "stream": ada.stream, "session": session_tag("key")}
        )
        assert await reader.next() == (None, {"type": "task.close", "code": 4403})
        assert await reader.frame() == ""


async def test_where_the_layer_cannot_be_joined_the_page_is_told_to_come_again(
    ada: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(group: str, channel: str) -> None:
        raise OSError("no route")

    monkeypatch.setattr(channel_layers["default"], "group_add", away)
    async with reading(ada) as reader:
        assert await reader.next() == (None, {"type": "task.close", "code": 1013})
        assert await reader.frame() == ""


# --- what is sent --------------------------------------------------------------------------------------------------


async def test_a_stream_tells_that_it_is_ready_and_what_comes_then(ada: Access) -> None:
    async with reading(ada) as reader:
        id_, ready = await reader.next()
        assert ready["type"] == "task.ready"
        assert id_ == f"{ready['epoch']}:0"
        (heard,) = keep(ada, 1)
        await push(ada, heard)
        assert await reader.next() == (str(heard.position), json.loads(heard.text))


async def test_what_a_page_missed_comes_first_each_with_its_id(ada: Access) -> None:
    first, *missed = keep(ada, 1, 2, 3)
    async with reading(ada, first.position) as reader:
        for heard in missed:
            assert await reader.next() == (str(heard.position), json.loads(heard.text))
        id_, ready = await reader.next()
        assert (id_, ready["type"]) == (str(missed[-1].position), "task.ready")


async def test_a_position_that_never_was_is_a_reset(ada: Access) -> None:
    (heard,) = keep(ada, 1)
    async with reading(ada, Position("another", 1)) as reader:
        id_, reset = await reader.next()
        assert (id_, reset["type"]) == (str(heard.position), "task.reset")
        assert await reader.types(1) == ["task.ready"]


async def test_nothing_of_somebody_else_is_sent(ada: Access) -> None:
    bob = Access(user=str(next(keys)), has_row=False)
    async with reading(ada) as reader, reading(bob) as theirs:
        assert await reader.types(1) == await theirs.types(1) == ["task.ready"]
        await push(bob, *keep(bob, "of bob"))
        assert (await theirs.next())[1]["data"]["id"] == "of bob"
        await push(ada, *keep(ada, "of ada"))
        assert (await reader.next())[1]["data"]["id"] == "of ada"


async def test_a_slow_page_gets_every_event_in_order_and_only_one_of_them_is_under_way(
    ada: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Item] = []
    monkeypatch.setattr(sse, "frame_of", lambda item: made.append(item) or frame_of(item))
    async with reading(ada) as reader:
        await reader.types(1)
        for number in range(300):
            await push(ada, *keep(ada, number))
            await asyncio.sleep(0)
        assert len(made) <= 2, "the one that was read, and one more"
        assert [(await reader.next())[1]["data"]["id"] for _ in range(300)] == [str(number) for number in range(300)]


async def test_while_nothing_happens_a_comment_is_written(ada: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    async with reading(ada) as reader:
        await reader.types(1)
        monkeypatch.setattr(sse, "HEARTBEAT", 0.01)
        assert await reader.frame() == COMMENT == ":\n\n"
        assert await reader.frame() == COMMENT
        monkeypatch.undo()
        made: list[Item] = []
        monkeypatch.setattr(sse, "frame_of", lambda item: made.append(item) or frame_of(item))
        await push(ada, *keep(ada, 1, 2))
        await until(lambda: made)
        assert (await reader.next())[1]["data"]["id"] == "1"
        await asyncio.sleep(0)
        assert len(made) == 1, "a comment that was taken makes no room for more"
        assert (await reader.next())[1]["data"]["id"] == "2"


async def test_pages_come_back_at_different_times(ada: Access) -> None:
    waits = set()
    for _ in range(20):
        texts = event_stream(ada, None)
        waits.add(await anext(texts))
        await texts.aclose()  # type: ignore[attr-defined]
    assert len(waits) > 1
    assert all(1_000 <= int(wait.removeprefix("retry: ").rstrip()) <= 5_000 for wait in waits)


def test_a_frame_is_an_id_and_one_line() -> None:
    text = event_text(event("line\nline\r\u2028").body, Position("e", 7))
    assert frame_of(Item(Position("e", 7), text)) == f"id: e:7\ndata: {text}\n\n"
    assert len(text.splitlines()) == 2  # U+2028 ends no line of a stream
    assert frame_of(Item(None, "{}")) == "data: {}\n\n"


def test_connections_of_the_requests_thread_are_closed_but_for_a_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []
    opened = [
        SimpleNamespace(in_atomic_block=is_in, close=lambda is_in=is_in: closed.append(is_in))
        for is_in in (True, False)
    ]
    monkeypatch.setattr(sse, "connections", SimpleNamespace(all=lambda *, initialized_only: opened))
    sse._hang_up()
    assert closed == [False]


# --- within Django ---------------------------------------------------------------------------------------------------


@pytest.mark.urls(__name__)
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_stuck", [False, True])
async def test_when_the_page_goes_away_nobody_listens_any_more(is_stuck: bool) -> None:
    user = await User.objects.acreate(pk=next(keys), username="ada")
    ada = Access(user=str(user.pk))
    sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    gone = asyncio.Event()
    asked = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> dict[str, Any]:
        for message in asked:
            return message
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.put_nowait(message)
        if is_stuck and b"task.event" in message.get("body", b""):
            await asyncio.Event().wait()

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/tasks/events/",
        "query_string": b"",
        "headers": [
            (b"host", b"localhost"),
            (b"accept", b"text/event-stream"),
            (b"authorization", f"Bearer {make_token(user)}".encode()),
        ],
    }

    async def until_sent(text: bytes) -> None:
        async with asyncio.timeout(DEADLINE):
            while text not in (await sent.get()).get("body", b""):
                pass

    serving = asyncio.create_task(ASGIHandler()(scope, receive, send))
    await until_sent(b"task.ready")
    assert channel_layers["default"].groups.get(ada.stream)
    await push(ada, *keep(ada, 1))
    await until_sent(b"task.event")
    gone.set()
    async with asyncio.timeout(DEADLINE):
        await serving
        while channel_layers["default"].groups.get(ada.stream):  # noqa: ASYNC110 - the layer tells nobody
            await asyncio.sleep(0)
