from __future__ import annotations

import asyncio
import importlib
import json
import logging
import sys
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.layers import channel_layers
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import ImproperlyConfigured

from tasks_celery import context
from tasks_celery.channels import consumers, publisher
from tasks_celery.channels.consumers import LONGEST_MESSAGE, TaskEventsConsumer
from tasks_celery.channels.events import Envelope, group_message
from tasks_celery.channels.groups import group_name
from tasks_celery.compat import API_MODULE
from tests.channels import jobs
from tests.channels.helpers import event

READY = {"type": "task.ready", "seq": None, "epoch": None}
Open = Callable[..., WebsocketCommunicator]


@pytest.fixture
async def dial() -> AsyncIterator[Open]:
    """Make sockets of users; those that are still open hang up at the end."""
    made: list[WebsocketCommunicator] = []

    def dial(user: Any = None, consumer: type[TaskEventsConsumer] = TaskEventsConsumer) -> WebsocketCommunicator:
        socket = WebsocketCommunicator(consumer.as_asgi(), "/ws/tasks/")
        if user is not None:
            socket.scope["user"] = user
        made.append(socket)
        return socket

    yield dial
    for socket in made:
        if not socket.future.done():
            await socket.disconnect()
    await sync_to_async(publisher.close)()
    await channel_layers["default"].flush()


async def join(socket: WebsocketCommunicator) -> WebsocketCommunicator:
    assert (await socket.connect(timeout=5))[0]
    assert await socket.receive_json_from(timeout=5) == READY
    return socket


async def tell(user: str, *envelopes: Envelope) -> None:
    await channel_layers["default"].group_send(group_name(user), group_message(envelopes))


async def heard(socket: WebsocketCommunicator) -> str:
    return str((await socket.receive_json_from(timeout=5))["data"]["id"])


async def still_hears(socket: WebsocketCommunicator) -> None:
    """Let the socket of user 7 come to what it was sent before, then tell it of an event."""
    for number in range(5):  # a consumer takes from the page and from the layer in turns
        await tell("7", event(number))
        assert await heard(socket) == str(number)
    assert socket.input_queue.empty()


def groups() -> dict[str, Any]:
    found: dict[str, Any] = channel_layers["default"].groups
    return found


# --- refusals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "code"),
    [(None, 4401), (AnonymousUser(), 4401), (object(), 4401), (User(pk=7, is_active=False), 4403)],
)
async def test_who_may_not_listen_is_told_so_after_accept_and_joins_nothing(user: Any, code: int, dial: Open) -> None:
    socket = dial(user)
    assert (await socket.connect(timeout=5))[0]
    assert await socket.receive_output(timeout=5) == {"type": "websocket.close", "code": code}
    assert groups() == {}


@pytest.mark.parametrize(
    "message",
    [
        {"type": "report.ready"},
        {"type": "task.reset"},
        {"type": "close"},
        {"type": "accept"},
        {"type": "send.json"},
        {"type": "_private"},
        {"type": "__init__"},
        {"type": None},
        {"type": ["task.event"]},
        {},
        {"type": "task.event"},
        {"type": "task.event", "envelopes": [{"text": {"type": "close"}}, None]},
        {"type": "task.event", "event": {"of": "another release"}},
    ],
)
async def test_a_message_that_is_not_known_is_ignored(message: dict[str, Any], dial: Open) -> None:
    socket = await join(dial(User(pk=7)))
    await channel_layers["default"].group_send(group_name("7"), message)
    await tell("7", event("after"))
    assert await heard(socket) == "after"


async def test_what_is_no_dict_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    # The in-memory layer refuses these; the pub/sub layer does not.
    with caplog.at_level(logging.DEBUG, "tasks_celery.channels"):
        await TaskEventsConsumer().dispatch(["task.event"])
    assert "unknown type None" in caplog.text


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "",
        "[]",
        "7",
        "null",
        '"since"',
        '{"type": "websocket.disconnect"}',
        '{"type": "task.event", "envelopes": []}',
        "[" * LONGEST_MESSAGE,
        "[" * 1_000_000,
        '{"since": "' + "x" * LONGEST_MESSAGE + '"}',
        '{"since": null}',
        '{"since": {"epoch": "e1", "seq": 4}}',
        "\ud800",
    ],
)
async def test_whatever_a_page_says_it_goes_on_hearing(text: str, dial: Open) -> None:
    socket = await join(dial(User(pk=7)))
    await socket.send_input({"type": "websocket.receive", "text": text})
    await socket.send_input({"type": "websocket.receive", "bytes": text.encode(errors="replace")})
    await still_hears(socket)


async def test_only_a_position_is_handed_on_and_no_long_one(dial: Open) -> None:
    positions: list[object] = []

    class Noting(TaskEventsConsumer):
        async def resume(self, since: object) -> None:
            positions.append(since)
            await super().resume(since)

    socket = await join(dial(User(pk=7), Noting))
    for said in ({"since": "x" * LONGEST_MESSAGE}, {"until": 7}, {"since": {"epoch": "e1", "seq": 4}}):
        await socket.send_input({"type": "websocket.receive", "text": json.dumps(said)})
    await still_hears(socket)
    assert positions == [{"epoch": "e1", "seq": 4}]


async def test_a_tasks_module_that_cannot_be_imported_is_logged_and_the_socket_lives(
    dial: Open, settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(name: str) -> None:
        raise SyntaxError("in a tasks module")

    settings.DEBUG = True
    monkeypatch.setattr(consumers, "autodiscover_modules", broken)
    consumers._import_tasks.cache_clear()
    socket = dial(User(pk=7))
    assert (await socket.connect(timeout=5))[0]
    assert "job.done" in (await socket.receive_json_from(timeout=5))["events"]
    assert "in a tasks module" in caplog.text
    consumers._import_tasks.cache_clear()


async def test_without_a_layer_the_error_says_so(dial: Open, settings: Any) -> None:
    settings.CHANNEL_LAYERS = {}
    socket = dial(User(pk=7))
    assert (await socket.connect(timeout=5))[0]
    with pytest.raises(ImproperlyConfigured, match=r"Run: manage\.py check"):
        await socket.receive_output(timeout=5)
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}


def test_without_channels_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "channels.generic.websocket", None)
    monkeypatch.delitem(sys.modules, "tasks_celery.channels.consumers")
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'tasks-celery\[channels\]'"):
        importlib.import_module("tasks_celery.channels.consumers")


# --- what works -----------------------------------------------------------------------------------------------


async def test_each_user_hears_their_own_and_on_every_page(dial: Open) -> None:
    ada, ada_too, grace = [await join(dial(User(pk=key))) for key in (7, 7, 8)]
    await tell("7", event("for ada"))
    await tell("8", event("for grace"))
    assert [await heard(ada), await heard(ada_too), await heard(grace)] == ["for ada", "for ada", "for grace"]
    for socket in (ada, ada_too, grace):
        assert await socket.receive_nothing(timeout=0.05)


async def test_events_that_left_together_arrive_one_by_one_in_order(dial: Open) -> None:
    socket = await join(dial(User(pk=7)))
    await tell("7", *(event(number) for number in range(50)))
    assert [await heard(socket) for _ in range(50)] == [str(number) for number in range(50)]


@pytest.mark.parametrize("nasty", ["close", "websocket.disconnect", "accept"])
async def test_a_payload_with_a_type_calls_nothing(nasty: str, dial: Open) -> None:
    socket = await join(dial(User(pk=7)))
    await tell("7", Envelope(event="report.ready", data={"id": "1", "type": nasty, "payload": {"type": nasty}}))
    message = await socket.receive_json_from(timeout=5)
    assert message["type"] == "task.event"
    assert message["data"]["payload"] == {"type": nasty}
    await tell("7", event("after"))
    assert await heard(socket) == "after"


async def test_who_hangs_up_leaves_the_group(dial: Open) -> None:
    socket = await join(dial(User(pk=7)))
    assert list(groups()) == [group_name("7")]
    await socket.disconnect()
    assert groups() == {}


async def test_with_debug_the_page_is_told_every_name_there_is(dial: Open, settings: Any) -> None:
    settings.DEBUG = True
    socket = dial(User(pk=7))
    assert (await socket.connect(timeout=5))[0]
    ready = await socket.receive_json_from(timeout=5)
    names = ready.pop("events")
    assert ready == READY
    assert names == sorted(names)
    assert {"job.done", "job.failed"} <= set(names)


async def test_an_event_does_not_wait_for_the_thread_of_the_database(dial: Open) -> None:
    socket = await join(dial(User(pk=7)))
    query_is_over = threading.Event()
    query = asyncio.ensure_future(sync_to_async(query_is_over.wait, thread_sensitive=True)(20))
    try:
        await tell("7", event("meanwhile"))
        assert await heard(socket) == "meanwhile"
        assert not query.done()
    finally:
        query_is_over.set()
        await query


async def test_a_task_that_ends_is_heard_by_who_asked(dial: Open, settings: Any) -> None:
    settings.TASKS = {"default": {"BACKEND": f"{API_MODULE}.backends.immediate.ImmediateBackend"}}
    ada, grace = [await join(dial(User(pk=key))) for key in (7, 8)]
    with context.restored(context.Context(user="7")):
        result = await jobs.tell_both.aenqueue()
    message = await ada.receive_json_from(timeout=5)
    assert (message["event"], message["data"]["id"]) == ("job.done", result.id)
    assert await grace.receive_nothing(timeout=0.05)
