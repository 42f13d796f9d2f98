from __future__ import annotations

import asyncio
import sys
import threading
import time
from typing import Any

import pytest
import redis.exceptions
from channels.layers import InMemoryChannelLayer, channel_layers

from tasks_celery.channels import layer as layer_module
from tasks_celery.channels.layer import LocalLayer, consumes_here, is_in_memory, open_layer, passing_errors

REDIS = {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": ["redis://localhost:1/0"]}}


@pytest.fixture(autouse=True)
def _no_loop_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_module, "_consumers_loop", None)


def test_without_channels_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "channels.layers", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'tasks-celery\[channels\]'"):
        open_layer("default")


def test_a_layer_that_is_not_configured_is_named(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {}
    with pytest.raises(LookupError, match="CHANNEL_LAYERS has no 'default'"):
        open_layer("default")


def test_without_redis_the_systems_own_errors_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis.exceptions", None)
    assert passing_errors() == (OSError,)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError,
        BrokenPipeError,
        TimeoutError,
        redis.exceptions.ConnectionError,
        redis.exceptions.TimeoutError,
    ],
)
def test_lost_connections_pass(error: type[Exception]) -> None:
    assert issubclass(error, passing_errors())


def test_the_layer_is_nobody_elses(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {"default": REDIS}
    layers = [open_layer("default"), open_layer("default"), channel_layers["default"]]
    assert len({id(layer) for layer in layers}) == 3


def test_the_layer_in_memory_is_everybodys_also_after_another_took_its_place() -> None:
    layer = open_layer("default")
    assert isinstance(layer, LocalLayer)

    async def is_heard() -> Any:
        shared = channel_layers["default"]
        await shared.group_add("group", "channel")
        await layer.group_send("group", {"type": "task.event"})
        return await shared.receive("channel")

    before = channel_layers["default"]
    try:
        for _ in range(2):
            channel_layers.set("default", InMemoryChannelLayer())
            assert asyncio.run(is_heard()) == {"type": "task.event"}
    finally:
        channel_layers.set("default", before)


async def test_a_message_from_another_thread_wakes_the_consumers_loop() -> None:
    shared = channel_layers["default"]
    await shared.group_add("group", "channel")
    consumes_here(shared)
    waiting = asyncio.create_task(shared.receive("channel"))
    await asyncio.sleep(0)
    # The loop sleeps by now. Whatever else would wake it, such as an executor, must not run here.
    message = open_layer("default").group_send("group", {"type": "task.event"})
    threading.Timer(0.1, asyncio.run, [message]).start()
    before = time.monotonic()
    await asyncio.wait([waiting], timeout=5)
    assert time.monotonic() - before < 4
    assert waiting.result() == {"type": "task.event"}
    await shared.flush()


def test_a_loop_that_is_over_is_not_waited_for() -> None:
    async def consume() -> None:
        consumes_here(channel_layers["default"])

    loop = asyncio.new_event_loop()
    loop.run_until_complete(consume())
    asyncio.run(open_layer("default").group_send("group", {"type": "task.event"}))
    loop.close()


async def test_the_loop_of_another_kind_of_layer_does_not_matter(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {"default": REDIS}
    consumes_here(channel_layers["default"])
    assert layer_module._consumers_loop is None


def test_which_layers_reach_no_other_process_is_known_and_a_broken_one_is_not_asked_further(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {
        "default": {"BACKEND": "channels.layers.InMemoryChannelLayer"},
        "redis": REDIS,
        "broken": {"BACKEND": "no.such.Layer"},
    }
    assert {alias: is_in_memory(alias) for alias in ("default", "redis", "broken", "missing")} == {
        "default": True,
        "redis": False,
        "broken": False,
        "missing": False,
    }
