from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer, get_channel_layer

from tasks_celery.channels.workers import running
from tasks_celery.channels.workers.running import handle
from tests.channels.workers import consumers
from tests.channels.workers.consumers import application, done

# Channels closes old connections around each handler, and one of another test may be open.
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_done() -> Iterator[None]:
    done.clear()
    yield
    done.clear()


def event(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, **more}


@pytest.mark.parametrize("channel", ["thumbnails", "letters"])
async def test_what_the_handler_raises_is_raised(channel: str) -> None:
    with pytest.raises(LookupError, match="no such"):
        await handle(application, channel, event("fail"))


async def test_a_channel_that_nobody_consumes_is_an_error() -> None:
    with pytest.raises(ValueError, match="No application configured for channel name 'unknown'"):
        await handle(application, "unknown", event("generate"))


async def test_a_project_without_consumers_of_channels_is_an_error() -> None:
    with pytest.raises(ValueError, match="No application configured for scope type 'channel'"):
        await handle(consumers.no_channels, "thumbnails", event("generate"))


@pytest.mark.parametrize("channel", ["thumbnails", "letters"])
async def test_a_type_without_a_handler_is_an_error(channel: str) -> None:
    with pytest.raises(ValueError, match="No handler for message type unheard"):
        await handle(application, channel, event("unheard"))


async def test_an_application_that_takes_no_event_is_an_error() -> None:
    with pytest.raises(ValueError, match="'deaf' ended without taking the event"):
        await handle(application, "deaf", event("generate"))


async def test_an_answer_that_json_cannot_hold_is_an_error_where_it_is_sent() -> None:
    with pytest.raises(TypeError, match=r"event\['bytes'\] is of the type bytes"):
        await handle(application, "thumbnails", event("answer_bytes"))


@pytest.mark.parametrize("channel", ["thumbnails", "letters"])
async def test_the_consumer_gets_the_event_in_the_scope_of_its_channel(channel: str) -> None:
    assert await handle(application, channel, event("generate", id=7)) == []
    ((scope, message, _),) = done
    assert scope == {"type": "channel", "channel": channel}
    assert message == {"type": "generate", "id": 7}


async def test_a_period_in_the_type_is_an_underscore_in_the_name_of_the_handler() -> None:
    await handle(application, "thumbnails", event("generate.dotted"))
    assert done == ["dotted"]


@pytest.mark.parametrize("channel", ["thumbnails", "letters"])
async def test_what_the_consumer_sends_is_returned(channel: str) -> None:
    sent = await handle(application, channel, event("answer", id=7))
    assert sent[0] == {"said": 7}


async def test_a_consumer_that_stops_has_handled_its_event() -> None:
    assert await handle(application, "thumbnails", event("stop")) == []


async def test_the_layer_can_be_used_by_the_handler() -> None:
    layer = get_channel_layer()
    name = await layer.new_channel()
    await layer.group_add("room", name)
    await handle(application, "letters", event("tell_group", group="room", id=7))
    assert await asyncio.wait_for(layer.receive(name), 5) == {"type": "told", "id": 7}


@pytest.mark.parametrize(("wrapped", "channel"), [(application, "wrapped"), (consumers.wrapped, "letters")])
async def test_middleware_around_one_consumer_or_all_of_them_cleans_up(wrapped: Any, channel: str) -> None:
    await handle(wrapped, channel, event("generate"))
    assert [done[0], done[1][0]["tenant"], done[2]] == ["before", "north", "after"]


async def test_an_application_that_waits_for_a_second_event_has_handled_the_first() -> None:
    assert await asyncio.wait_for(handle(application, "raw", event("generate")), 5) == []
    assert done == [event("generate")]


async def test_an_application_that_waits_whatever_it_is_told_is_cancelled() -> None:
    assert await asyncio.wait_for(handle(application, "stubborn", event("generate")), 5) == []
    assert done == [event("generate")]


async def test_nothing_of_an_application_runs_on_after_its_event() -> None:
    before = asyncio.all_tasks()
    for channel in ("letters", "thumbnails", "raw", "stubborn"):
        await handle(application, channel, event("generate"))
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_a_task_that_is_cancelled_takes_its_handler_along() -> None:
    handling = asyncio.ensure_future(handle(application, "letters", event("wait_for_ever")))
    await asyncio.sleep(0.02)
    handling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await handling
    assert done == ["cancelled"]


async def test_an_application_that_will_not_be_cancelled_is_reported_and_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    let_go = asyncio.Event()

    async def unmoved(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        while not let_go.is_set():
            try:
                await receive()
            except asyncio.CancelledError:
                await let_go.wait()

    monkeypatch.setattr(running, "END_WITHIN", 0.02)
    await handle(unmoved, "letters", event("generate"))
    assert "was cancelled and runs on all the same" in caplog.text
    let_go.set()
    await asyncio.sleep(0)


async def test_what_an_application_raises_as_it_is_cancelled_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    async def messy(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        try:
            await receive()
        finally:
            raise LookupError("in the cleaning up")

    assert await handle(messy, "letters", event("generate")) == []
    assert "had handled its event, and failed then" in caplog.text
    assert "in the cleaning up" in caplog.text


class AwayLayer(InMemoryChannelLayer):
    async def receive(self, channel: str) -> Any:
        raise ConnectionError("The layer is away.")


async def test_a_layer_that_is_away_fails_no_event_whose_handler_does_not_need_it(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": f"{__name__}.AwayLayer"}}
    assert await handle(application, "letters", event("generate")) == []
    assert "The layer is away." in caplog.text
    with pytest.raises(ConnectionError) as raised:  # in Channels, while it cleans up after the handler
        await handle(application, "letters", event("fail"))
    assert isinstance(raised.value.__context__, LookupError)


async def test_a_project_without_a_layer_runs_its_consumers_too(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {}
    assert await handle(application, "letters", event("generate")) == []


def test_where_the_layer_bears_one_loop_the_threads_of_a_process_take_turns(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer"}}
    assert most_at_once() == 1


async def test_an_event_within_an_event_does_not_wait_for_its_own_turn(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer"}}

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await handle(application, "raw", event("inner"))

    await asyncio.wait_for(handle(outer, "letters", event("generate")), 5)
    assert done == [event("inner")]
    assert not running._turns.locked()


def test_where_it_bears_several_they_do_not(settings: Any) -> None:
    assert most_at_once() == 2


def most_at_once() -> int:
    both = threading.Barrier(2)
    counts = {"now": 0, "most": 0}

    async def counting(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        counts["now"] += 1
        counts["most"] = max(counts["most"], counts["now"])
        await asyncio.sleep(0.04)
        counts["now"] -= 1

    def run() -> None:
        both.wait()
        asyncio.run(handle(counting, "letters", event("generate")))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    return counts["most"]
