from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer

from tasks_celery.channels.workers import listening
from tasks_celery.channels.workers.listening import Listener
from tasks_celery.exceptions import EnqueueError

SOON = 0.001


class Keeper:
    """Keeps events, after it has refused the first few calls."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls: list[tuple[str, Any, str]] = []
        self.kept: list[tuple[str, Any]] = []

    def __call__(self, channel: str, message: Any, *, result_id: str) -> None:
        self.calls.append((channel, message, result_id))
        if self.errors:
            raise self.errors.pop(0)
        self.kept.append((channel, message))


class Flaky(InMemoryChannelLayer):
    """A layer that is away for a while."""

    def __init__(self, *errors: Exception | None) -> None:
        super().__init__()
        self.errors = list(errors)

    async def receive(self, channel: str) -> Any:
        if self.errors and (error := self.errors.pop(0)):
            raise error
        return await super().receive(channel)


@pytest.fixture(autouse=True)
def _no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep without a thread, and without a look at the connections to the database."""

    def at_once(function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(listening, "database_sync_to_async", at_once)


async def listened(layer: Any, keeper: Any, *channels: str, until: Callable[[Listener], bool]) -> Listener:
    """Listen until it is so; return who listened, stopped."""
    listener = Listener(layer, keep=keeper, first_pause=SOON)
    listens = asyncio.ensure_future(listener.listen(channels))
    async with asyncio.timeout(5):
        while not until(listener):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(SOON)
        listener.stop()
        await listens
    return listener


def event(number: int) -> dict[str, Any]:
    return {"type": "generate", "id": number}


async def test_each_event_is_kept_in_the_order_of_its_channel() -> None:
    layer, keeper = InMemoryChannelLayer(), Keeper()
    for number in range(20):
        await layer.send("thumbnails", event(number))
        await layer.send("letters", event(number))
        await layer.send("others", event(number))
    listener = await listened(layer, keeper, "thumbnails", "letters", until=lambda listener: listener.kept == 40)
    for channel in ("thumbnails", "letters"):
        assert [message for to, message in keeper.kept if to == channel] == [event(number) for number in range(20)]
    assert listener.lost == 0
    assert (await layer.receive("others")) == event(0)


async def test_an_event_that_the_broker_does_not_take_is_tried_again_under_one_id(
    caplog: pytest.LogCaptureFixture,
) -> None:
    layer, keeper = InMemoryChannelLayer(), Keeper(EnqueueError("away"), RuntimeError("what?"), EnqueueError("away"))
    await layer.send("thumbnails", event(1))
    await layer.send("thumbnails", event(2))
    await listened(layer, keeper, "thumbnails", until=lambda listener: listener.kept == 2)
    assert keeper.kept == [("thumbnails", event(1)), ("thumbnails", event(2))]
    ids = [result_id for _, _, result_id in keeper.calls]
    assert len(set(ids[:4])) == 1
    assert ids[4] != ids[0]
    assert caplog.text.count("has not become a task yet") == 3


async def test_the_pauses_grow_and_do_not_grow_for_ever() -> None:
    pauses = Listener(None)._pauses()
    assert [next(pauses) for _ in range(8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


async def test_a_layer_that_is_away_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    layer, keeper = Flaky(ConnectionError("away"), OSError("away")), Keeper()
    await layer.send("thumbnails", event(1))
    await listened(layer, keeper, "thumbnails", until=lambda listener: listener.kept == 1)
    assert caplog.text.count("did not give the events of 'thumbnails'") == 2


async def test_after_an_outage_the_pauses_begin_anew(caplog: pytest.LogCaptureFixture) -> None:
    away = ConnectionError("away")
    layer, keeper = Flaky(away, away, None, away), Keeper()
    await layer.send("thumbnails", event(1))
    await layer.send("thumbnails", event(2))
    await listened(layer, keeper, "thumbnails", until=lambda listener: listener.kept == 2)
    assert [record.getMessage().split()[-2] for record in caplog.records] == ["0.001", "0.002", "0.001"]


async def test_an_event_in_hand_is_finished_with_before_the_end() -> None:
    layer = InMemoryChannelLayer()
    listener = Listener(layer, first_pause=SOON)
    kept = []

    async def slowly(channel: str, message: Any, *, result_id: str) -> None:
        listener.stop()
        await asyncio.sleep(SOON)
        kept.append(message)

    listener._keep = slowly
    await layer.send("thumbnails", event(1))
    await layer.send("thumbnails", event(2))
    await asyncio.wait_for(listener.listen(["thumbnails"]), 5)
    assert kept == [event(1)]
    assert await layer.receive("thumbnails") == event(2)


async def test_an_event_that_no_task_can_be_made_of_at_the_end_is_given_back(caplog: pytest.LogCaptureFixture) -> None:
    layer, keeper = InMemoryChannelLayer(), Keeper(*[EnqueueError("away") for _ in range(1_000)])
    await layer.send("thumbnails", event(1))
    listener = await listened(layer, keeper, "thumbnails", until=lambda listener: len(keeper.calls) > 1)
    assert (listener.kept, listener.lost) == (0, 0)
    assert await layer.receive("thumbnails") == event(1)
    assert "was given back to the layer" in caplog.text


async def test_one_that_the_layer_does_not_take_back_is_counted_as_lost(caplog: pytest.LogCaptureFixture) -> None:
    class Closed(InMemoryChannelLayer):
        is_closed = False

        async def send(self, channel: str, message: Any) -> None:
            if self.is_closed:
                raise ConnectionError("away")
            await super().send(channel, message)

    layer, keeper = Closed(), Keeper(*[EnqueueError("away") for _ in range(1_000)])
    await layer.send("thumbnails", event(1) | {"token": "secret"})
    layer.is_closed = True
    listener = await listened(layer, keeper, "thumbnails", until=lambda listener: len(keeper.calls) > 1)
    assert (listener.kept, listener.lost) == (0, 1)
    assert "is lost" in caplog.text
    assert "secret" not in caplog.text


async def test_an_event_that_comes_as_it_is_stopped_is_kept() -> None:
    class Late(InMemoryChannelLayer):
        async def receive(self, channel: str) -> Any:
            try:
                return await super().receive(channel)
            except asyncio.CancelledError:
                return event(7)  # it was out of the layer already

    keeper = Keeper()
    waited = []
    listener = await listened(Late(), keeper, "thumbnails", until=lambda listener: len(waited) > 2 or waited.append(1))
    assert (listener.kept, keeper.kept) == (1, [("thumbnails", event(7))])


async def test_what_the_layer_still_does_about_an_event_is_waited_for() -> None:
    class Cleaning(InMemoryChannelLayer):
        waited_for = 0

        async def wait_received(self) -> None:
            self.waited_for += 1

    layer = Cleaning()
    await layer.send("thumbnails", event(1))
    await listened(layer, Keeper(), "thumbnails", until=lambda listener: listener.kept == 1)
    assert layer.waited_for == 1


async def test_stopped_before_it_began_it_takes_nothing() -> None:
    layer, keeper = InMemoryChannelLayer(), Keeper()
    await layer.send("thumbnails", event(1))
    listener = Listener(layer, keep=keeper)
    listener.stop()
    await asyncio.wait_for(listener.listen(["thumbnails"]), 5)
    assert keeper.calls == []
