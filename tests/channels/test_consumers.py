from __future__ import annotations

import asyncio
import importlib
import json
import sys
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.layers import channel_layers
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import AnonymousUser, User
from django.core.signing import dumps

from tasks_celery import context
from tasks_celery.channels import consumers
from tasks_celery.channels.consumers import LONGEST_MESSAGE, TaskEventsConsumer
from tasks_celery.channels.events import CONTROL, Envelope
from tasks_celery.channels.groups import group_name
from tasks_celery.channels.listening import ready
from tasks_celery.channels.log import find_log
from tasks_celery.channels.log.base import Cursor
from tasks_celery.channels.push import publisher
from tasks_celery.channels.tokens import make_token
from tasks_celery.compat import API_MODULE
from tests.channels import jobs
from tests.channels.listening.helpers import ADA, Dialling, dialling, envelope_of, push, tell, write

GROUP = group_name(ADA)


@pytest.fixture
async def dial() -> AsyncIterator[Dialling]:
    """Make sockets of users; those that are still open hang up at the end."""
    async for each in dialling():
        yield each
    await sync_to_async(publisher.close)()


async def join(socket: WebsocketCommunicator) -> WebsocketCommunicator:
    assert (await socket.connect(timeout=5))[0]
    assert (await said(socket))["type"] == "task.ready"
    return socket


async def said(socket: WebsocketCommunicator) -> Any:
    return await socket.receive_json_from(timeout=5)


async def heard(socket: WebsocketCommunicator) -> str:
    return str((await said(socket))["data"]["id"])


async def still_hears(socket: WebsocketCommunicator) -> None:
    """Let the socket of Ada come to what it was sent before, then tell it of an event."""
    for number in range(3):
        await tell(number)
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
async def test_who_may_not_listen_is_told_so_after_accept_and_joins_nothing(
    user: Any, code: int, dial: Dialling
) -> None:
    socket = dial(user)
    assert (await socket.connect(timeout=5))[0]
    assert await socket.receive_output(timeout=5) == {"type": "websocket.close", "code": code}
    assert groups() == {}


@pytest.mark.parametrize(
    "message",
    [
        {"type": "report.ready"},
        {"type": "task.reset"},
        {"type": "websocket.disconnect"},
        {"type": "close"},
        {"type": "__init__"},
        {"type": None},
        {"type": ["task.event"]},
        {"type": "task.event"},
        {"type": "task.event", "stream": GROUP},
        {"type": "task.event", "stream": GROUP, "envelopes": [{"text": {"type": "close"}}, None]},
        {"type": "task.event", "stream": "another", "envelopes": [{"text": "?", "seq": None, "epoch": None}]},
        {"type": "task.event", "stream": ["no stream"], "envelopes": []},
        {"type": "task.later", "stream": GROUP, "event": {"of": "another release"}},
        {"type": CONTROL, "stream": GROUP},
        {"type": CONTROL, "stream": GROUP, "session": None},
        {},
    ],
)
async def test_a_message_that_is_not_known_is_ignored(message: dict[str, Any], dial: Dialling) -> None:
    socket = await join(dial(User(pk=7)))
    await channel_layers["default"].group_send(GROUP, message)
    await tell("after")
    assert await heard(socket) == "after"


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
        '{"since": {"epoch": "e1", "seq": -4}}',
        '{"since": {"epoch": "e1", "seq": 1e300}}',
        '{"since": {"epoch": 7, "seq": 4}}',
        '{"seen": {"epoch": "e1", "seq": 4}}',
        '{"seen": "all"}',
        '{"token": "no token"}',
        "\ud800",
    ],
)
async def test_whatever_a_page_says_it_goes_on_hearing(text: str, dial: Dialling) -> None:
    socket = await join(dial(User(pk=7)))
    await socket.send_input({"type": "websocket.receive", "text": text})
    await socket.send_input({"type": "websocket.receive", "bytes": text.encode(errors="replace")})
    await still_hears(socket)


async def test_a_position_in_a_message_that_is_too_long_is_not_taken(dial: Dialling) -> None:
    socket = await join(dial(User(pk=7)))
    await socket.send_json_to({"since": {"epoch": "e1", "seq": 0}, "and": "x" * LONGEST_MESSAGE})
    await still_hears(socket)


@pytest.mark.parametrize(
    "since", ["another:3", "garbage", "-1", "x:-1", "e:99999999999999999999", ":", "%00:1", "a:b:3"]
)
async def test_a_cursor_that_names_no_place_of_the_stream_is_a_reset_and_tells_nothing(
    since: str, dial: Dialling
) -> None:
    write("before")
    socket = dial(User(pk=7), f"?since={since}")
    assert (await socket.connect(timeout=5))[0]
    messages = [await said(socket), await said(socket)]
    assert [each["type"] for each in messages] == ["task.reset", "task.ready"]
    assert all("data" not in each for each in messages)
    await still_hears(socket)


async def test_the_cursor_of_another_user_tells_nothing(dial: Dialling) -> None:
    theirs = write("for grace", user="8").position
    write("for grace too", user="8")
    assert theirs is not None
    socket = dial(User(pk=7), f"?since={theirs}")
    assert (await socket.connect(timeout=5))[0]
    assert [(await said(socket))["type"], (await said(socket))["type"]] == ["task.reset", "task.ready"]
    await still_hears(socket)


@pytest.mark.parametrize(
    "first",
    [
        {"type": "websocket.receive", "text": '{"token": "forged"}'},
        {"type": "websocket.receive", "text": json.dumps({"token": dumps(["7", None, 1e12], salt="another")})},
        {"type": "websocket.receive", "text": '{"token": null}'},
    ],
)
async def test_who_said_that_a_token_comes_is_refused_without_a_good_one(first: Any, dial: Dialling) -> None:
    # Also one who is signed in: what the page asked for counts.
    socket = dial(User(pk=7), "?auth=message")
    assert (await socket.connect(timeout=5))[0]
    await socket.send_input(first)
    assert await socket.receive_output(timeout=5) == {"type": "websocket.close", "code": 4401}
    assert groups() == {}


async def test_who_sends_no_token_is_not_waited_for_long(dial: Dialling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "TOKEN_WITHIN", 0.02)
    socket = dial(None, "?auth=message")
    assert (await socket.connect(timeout=5))[0]
    await socket.send_to(text_data='{"since": {"epoch": "e1", "seq": 0}}')
    assert await socket.receive_output(timeout=5) == {"type": "websocket.close", "code": 4401}


async def test_who_goes_before_the_token_comes_leaves_nothing(dial: Dialling) -> None:
    socket = dial(None, "?auth=message")
    assert (await socket.connect(timeout=5))[0]
    await socket.disconnect()
    assert groups() == {}


async def test_who_hangs_up_before_they_connect_leaves_nothing(dial: Dialling) -> None:
    socket = dial(User(pk=7))
    await socket.send_input({"type": "websocket.disconnect", "code": 1006})
    await socket.wait(timeout=5)
    assert groups() == {}


async def test_a_tenant_that_cannot_be_told_lets_nobody_in(dial: Dialling, settings: Any) -> None:
    settings.TASK_EVENTS = {"TENANT": "tests.channels.listening.helpers.no_such_function"}
    for user, query in ((User(pk=7), ""), (None, "?auth=message")):
        socket = dial(user, query)
        assert (await socket.connect(timeout=5))[0]
        await socket.send_json_to({"token": "any"})
        assert await socket.receive_output(timeout=5) == {"type": "websocket.close", "code": 1013}


async def test_where_the_layer_cannot_be_joined_the_page_is_told_to_come_again(
    dial: Dialling, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(group: str, channel: str) -> None:
        raise ConnectionError("Redis is away")

    monkeypatch.setattr(channel_layers["default"], "group_add", refuse)
    socket = dial(User(pk=7))
    assert (await socket.connect(timeout=5))[0]
    assert await socket.receive_output(timeout=5) == {"type": "websocket.close", "code": 1013}
    monkeypatch.undo()
    await still_hears(await join(dial(User(pk=7))))


async def test_a_tasks_module_that_cannot_be_imported_is_logged_and_the_socket_lives(
    dial: Dialling, settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(name: str) -> None:
        raise SyntaxError("in a tasks module")

    settings.DEBUG = True
    monkeypatch.setattr(ready, "autodiscover_modules", broken)
    ready._import_tasks.cache_clear()
    socket = dial(User(pk=7))
    assert (await socket.connect(timeout=5))[0]
    assert "job.done" in (await socket.receive_json_from(timeout=5))["events"]
    assert "in a tasks module" in caplog.text
    ready._import_tasks.cache_clear()


async def test_without_a_layer_the_page_is_told_to_come_again_and_the_log_says_why(
    dial: Dialling, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CHANNEL_LAYERS = {}
    socket = dial(User(pk=7))
    assert (await socket.connect(timeout=5))[0]
    assert await socket.receive_output(timeout=5) == {"type": "websocket.close", "code": 1013}
    assert "Run: manage.py check" in caplog.text
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}


def test_without_channels_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "channels.consumer", None)
    monkeypatch.delitem(sys.modules, "tasks_celery.channels.consumers")
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'tasks-celery\[channels\]'"):
        importlib.import_module("tasks_celery.channels.consumers")


# --- what works -----------------------------------------------------------------------------------------------


async def test_each_user_hears_their_own_and_on_every_page(dial: Dialling) -> None:
    ada, ada_too, grace = [await join(dial(User(pk=key))) for key in (7, 7, 8)]
    await tell("for ada")
    await tell("for grace", user="8")
    assert [await heard(ada), await heard(ada_too), await heard(grace)] == ["for ada", "for ada", "for grace"]
    for socket in (ada, ada_too, grace):
        assert await socket.receive_nothing(timeout=0.03)


async def test_tabs_of_one_user_know_each_other_and_nobody_else(dial: Dialling) -> None:
    tags = []
    for key in (7, 7, 8):
        socket = dial(User(pk=key))
        assert (await socket.connect(timeout=5))[0]
        tags.append((await said(socket))["user"])
    assert tags[0] == tags[1] != tags[2]
    assert GROUP not in tags[0]


async def test_events_that_left_together_arrive_one_by_one_in_order_each_with_its_position(dial: Dialling) -> None:
    socket = await join(dial(User(pk=7)))
    await tell(*range(50))
    messages = [await said(socket) for _ in range(50)]
    assert [each["data"]["id"] for each in messages] == [str(number) for number in range(50)]
    assert [each["seq"] - messages[0]["seq"] for each in messages] == list(range(50))
    assert messages[-1]["epoch"] == find_log().tops([GROUP])[0][0]  # type: ignore[index]


async def test_who_was_away_is_told_what_came_meanwhile_then_that_it_is_ready_then_what_comes(dial: Dialling) -> None:
    position = find_log().read([Cursor(GROUP)])[0].top
    for number in range(450):  # more than a slice, and than may wait
        write(number)
    socket = dial(User(pk=7), f"?since={position}")
    assert (await socket.connect(timeout=5))[0]
    assert [await heard(socket) for _ in range(450)] == [str(number) for number in range(450)]
    ready = await said(socket)
    assert position is not None
    assert (ready["type"], ready["epoch"], ready["seq"]) == ("task.ready", position.epoch, position.seq + 450)
    await still_hears(socket)


async def test_a_page_may_ask_to_go_on_from_elsewhere(dial: Dialling) -> None:
    position = write("known").position
    assert position is not None
    write("missed")
    socket = await join(dial(User(pk=7)))
    await socket.send_json_to({"since": position._asdict()})
    assert await heard(socket) == "missed"
    assert (await said(socket))["type"] == "task.ready"
    await still_hears(socket)


async def test_a_page_that_acknowledges_is_no_more_than_a_window_ahead(dial: Dialling) -> None:
    position = find_log().read([Cursor(GROUP)])[0].top
    assert position is not None
    for number in range(500):
        write(number)
    socket = dial(User(pk=7), f"?acks=1&since={position}")
    assert (await socket.connect(timeout=5))[0]
    taken = [await heard(socket) for _ in range(200)]
    assert await socket.receive_nothing(timeout=0.03)
    await socket.send_json_to({"seen": {"epoch": position.epoch, "seq": position.seq + 150}})
    taken += [await heard(socket) for _ in range(150)]
    assert await socket.receive_nothing(timeout=0.03)
    for seq in (position.seq + 350, position.seq + 10, position.seq + 9_999):
        await socket.send_json_to({"seen": {"epoch": position.epoch, "seq": seq}})
    taken += [await heard(socket) for _ in range(150)]
    assert taken == [str(number) for number in range(500)]
    assert (await said(socket))["type"] == "task.ready"


async def test_a_push_that_was_lost_is_made_good_by_the_next(dial: Dialling) -> None:
    socket = await join(dial(User(pk=7)))
    write("lost")
    write("lost too")
    await tell("next")
    assert [await heard(socket) for _ in range(3)] == ["lost", "lost too", "next"]


async def test_pushes_that_are_doubled_or_change_places_arrive_once_and_in_order(dial: Dialling) -> None:
    socket = await join(dial(User(pk=7)))
    first, second, third = write(1), write(2), write(3)
    await push(second)
    await push(third, first)
    await push(first, second, third)
    assert [await heard(socket) for _ in range(3)] == ["1", "2", "3"]
    await still_hears(socket)


async def test_a_token_lets_a_page_without_a_session_in(dial: Dialling) -> None:
    socket = dial(None, "?auth=message")
    assert (await socket.connect(timeout=5))[0]
    await socket.send_to(text_data="something else first")
    await socket.send_json_to({"token": make_token(User(pk=7))})
    assert (await said(socket))["type"] == "task.ready"
    await still_hears(socket)


@pytest.mark.parametrize("nasty", ["close", "websocket.disconnect", "accept"])
async def test_a_payload_with_a_type_calls_nothing(nasty: str, dial: Dialling) -> None:
    socket = await join(dial(User(pk=7)))
    envelope = Envelope(event="report.ready", data={"id": "1", "type": nasty, "payload": {"type": nasty}})
    written = write("1")
    text = written.text.replace(envelope_of(written.text).body, envelope.body)
    await push(written._replace(text=text))
    message = await said(socket)
    assert (message["type"], message["data"]["payload"]) == ("task.event", {"type": nasty})
    await still_hears(socket)


async def test_who_hangs_up_leaves_the_group(dial: Dialling) -> None:
    socket, other = await join(dial(User(pk=7))), await join(dial(User(pk=7)))
    assert list(groups()) == [GROUP]
    await socket.disconnect()
    assert list(groups()) == [GROUP]
    await other.disconnect()
    assert groups() == {}


async def test_sockets_share_one_channel_and_an_idle_one_costs_no_task(dial: Dialling) -> None:
    first = await join(dial(User(pk=7)))
    before = len(asyncio.all_tasks())
    for key in (7, 8, 9):
        await join(dial(User(pk=key)))
    assert len({channel for members in groups().values() for channel in members}) == 1
    assert len(asyncio.all_tasks()) - before == 3  # the test client's own, one for each application
    await first.disconnect()


async def test_a_server_that_shuts_down_says_so(dial: Dialling) -> None:
    socket = await join(dial(User(pk=7)))
    socket.future.cancel()
    assert await socket.receive_output(timeout=5) == {"type": "websocket.close", "code": 1012}
    await socket.wait(timeout=5)
    assert groups() == {}


@pytest.mark.parametrize(("code", "taken"), [(1012, 4012), (1013, 4013)])
async def test_a_server_that_takes_no_such_code_is_given_its_private_twin(code: int, taken: int) -> None:
    sent: list[int] = []

    async def send(message: dict[str, Any]) -> None:
        if message["code"] < 3000:
            raise Exception("invalid close code")  # noqa: TRY002 - autobahn's
        sent.append(message["code"])

    consumer = TaskEventsConsumer()
    consumer.base_send = send
    await consumer.close(code)
    assert sent == [taken]


async def test_a_session_that_ends_closes_its_sockets_at_once_and_no_other(dial: Dialling) -> None:
    from tasks_celery.channels.access import Access, session_tag

    class OfASession(TaskEventsConsumer):
        def access(self) -> Access:
            return Access(user=ADA, session=self.scope["user"], has_row=False)

    ended, other = await join(dial("ended", "", OfASession)), await join(dial("other", "", OfASession))
    message = {"type": CONTROL, "stream": GROUP, "session": session_tag("ended")}
    await channel_layers["default"].group_send(GROUP, message)
    assert await ended.receive_output(timeout=5) == {"type": "websocket.close", "code": 4403}
    await tell("secret")
    assert await heard(other) == "secret"
    assert await ended.receive_nothing(timeout=0.03)


async def test_a_page_that_fails_as_it_is_sent_to_is_forgotten(dial: Dialling) -> None:
    class Broken(TaskEventsConsumer):
        async def _send(self, item: Any) -> None:
            raise OSError("gone")

    socket = dial(User(pk=7), "", Broken)
    assert (await socket.connect(timeout=5))[0]
    good = await join(dial(User(pk=7)))
    await still_hears(good)
    await socket.disconnect()
    await still_hears(good)


async def test_with_debug_the_page_is_told_every_name_there_is(dial: Dialling, settings: Any) -> None:
    settings.DEBUG = True
    socket = dial(User(pk=7))
    assert (await socket.connect(timeout=5))[0]
    names = (await said(socket))["events"]
    assert names == sorted(names)
    assert {"job.done", "job.failed"} <= set(names)


async def test_an_event_does_not_wait_for_the_thread_of_the_database(dial: Dialling) -> None:
    socket = await join(dial(User(pk=7)))
    query_is_over = threading.Event()
    query = asyncio.ensure_future(sync_to_async(query_is_over.wait, thread_sensitive=True)(20))
    try:
        await tell("meanwhile")
        assert await heard(socket) == "meanwhile"
        assert not query.done()
    finally:
        query_is_over.set()
        await query


async def test_a_task_that_ends_is_heard_by_who_asked(dial: Dialling, settings: Any) -> None:
    settings.TASKS = {"default": {"BACKEND": f"{API_MODULE}.backends.immediate.ImmediateBackend"}}
    ada, grace = [await join(dial(User(pk=key))) for key in (7, 8)]
    with context.restored(context.Context(user="7")):
        result = await jobs.tell_both.aenqueue()
    message = await said(ada)
    assert (message["event"], message["data"]["id"]) == ("job.done", result.id)
    assert await grace.receive_nothing(timeout=0.05)
