from __future__ import annotations

import asyncio
import os
import signal
from io import StringIO
from typing import Any

import pytest
from channels.layers import BaseChannelLayer, channel_layers
from django.core.management import CommandError, call_command

from tasks_celery.channels.workers import listening


class OneEvent(BaseChannelLayer):
    """A layer of several processes, with one event in it; who asks for a second is told to end."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.given_back: list[Any] = []

    async def receive(self, channel: str) -> Any:
        self.asked += 1
        if self.asked == 1:
            return {"type": "generate", "on": channel}
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(10)
        return None


class ToAll(OneEvent):
    """As channels_redis.pubsub has it: it keeps nothing."""


ToAll.__module__ = "channels_redis.pubsub"


@pytest.fixture
def _a_layer(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}, "events": {}}
    channel_layers.set("events", OneEvent())


def run(*words: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("channels_to_tasks", *words, stdout=out, stderr=err, no_color=True)
    return out.getvalue(), err.getvalue()


def test_it_wants_a_channel() -> None:
    with pytest.raises(CommandError, match="channels"):
        run()


@pytest.mark.usefixtures("_a_layer")
def test_a_layer_that_is_not_configured_is_refused() -> None:
    with pytest.raises(CommandError, match="CHANNEL_LAYERS has no 'nowhere'"):
        run("thumbnails", "--layer", "nowhere")


@pytest.mark.usefixtures("_a_layer")
def test_the_layer_in_memory_is_refused_with_what_to_do() -> None:
    with pytest.raises(CommandError, match=r"in-memory layer, whose events reach no other process.*Send with"):
        run("thumbnails")


@pytest.mark.usefixtures("_a_layer")
@pytest.mark.parametrize("channel", ["a b", "specific.x!y", "x" * 100])
def test_a_name_that_is_no_workers_channel_is_refused_before_anything_is_taken(channel: str) -> None:
    with pytest.raises(CommandError, match="cannot become tasks"):
        run("thumbnails", channel, "--layer", "events")
    assert channel_layers["events"].asked == 0


@pytest.mark.usefixtures("_a_layer")
@pytest.mark.parametrize("said", [{"QUEUE_NAME": "nowhere"}, {"QUEUE": "reports"}])
def test_a_channel_whose_tasks_cannot_be_is_refused_before_anything_is_taken(
    settings: Any, said: dict[str, Any]
) -> None:
    settings.TASK_EVENTS = {"CHANNELS": {"thumb*": said}}
    with pytest.raises(CommandError, match="cannot become tasks"):
        run("thumbnails", "--layer", "events")
    assert channel_layers["events"].asked == 0


@pytest.mark.usefixtures("_a_layer")
def test_it_makes_tasks_until_it_is_told_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = keeping(monkeypatch)
    said, warned = run("thumbnails", "--layer", "events")
    assert kept == [("thumbnails", {"type": "generate", "on": "thumbnails"})]
    assert said == "Listening on thumbnails.\nMade tasks of 1 events.\n"
    assert warned == ""


@pytest.mark.usefixtures("_a_layer")
def test_a_layer_that_gives_each_event_to_everybody_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    keeping(monkeypatch)
    channel_layers.set("events", ToAll())
    _, warned = run("thumbnails", "thumbnails", "--layer", "events")
    assert "run this once, and no runworker beside it" in warned


@pytest.mark.usefixtures("_a_layer")
def test_lost_events_are_an_error_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(channel: str, message: Any, *, result_id: str) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        raise ConnectionError("The broker is away.")

    keeping(monkeypatch, away)
    with pytest.raises(CommandError, match="1 events are lost"):  # this layer has no send
        run("thumbnails", "--layer", "events")


def keeping(monkeypatch: pytest.MonkeyPatch, keep: Any = None) -> list[Any]:
    kept: list[Any] = []

    def at_once(function: Any) -> Any:
        async def call(channel: str, message: Any, *, result_id: str) -> None:
            if keep:
                keep(channel, message, result_id=result_id)
            kept.append((channel, message))

        return call

    monkeypatch.setattr(listening, "database_sync_to_async", at_once)
    return kept
