from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from channels.layers import channel_layers

from tasks_celery.channels.listening.reception import WAIT_IN_REDIS, LayerError, Reception

HOSTS = ["redis://127.0.0.1:1/0"]


def core(**more: Any) -> dict[str, Any]:
    return {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": HOSTS, **more}}}


async def hear(message: object) -> None:
    pytest.fail(f"Nothing was sent, but this came: {message}")


def a_reception(alias: str = "default") -> Any:
    return Reception(alias, is_wanted=lambda stream: False, hear=hear, missed=lambda: None)


@pytest.fixture(autouse=True)
def layers(settings: Any) -> Iterator[None]:
    yield
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}


@pytest.mark.parametrize(
    ("configured", "said"),
    [
        ({}, r"CHANNEL_LAYERS has no 'default'.*Run: manage\.py check"),
        ({"default": {"BACKEND": "no.such.Layer"}}, "Cannot import BACKEND"),
        (core(capacity="many", no_such_option=1), "no_such_option"),
    ],
)
async def test_a_layer_that_cannot_be_opened_is_an_error_of_ours(configured: Any, said: str, settings: Any) -> None:
    settings.CHANNEL_LAYERS = configured
    with pytest.raises(LayerError, match=said):
        await a_reception().start()


async def test_a_layer_that_does_not_answer_is_an_error_of_ours(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {
        "default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": HOSTS}}
    }
    with pytest.raises(LayerError, match="does not answer"):
        await a_reception().start()


async def test_its_layer_is_its_own_and_waits_less_than_redis_py_does(settings: Any) -> None:
    settings.CHANNEL_LAYERS = core()
    shared = channel_layers["default"]
    reception = a_reception()
    layer = reception._open_layer()
    assert layer is not shared
    assert layer is reception._open_layer(), "once, for as long as the configuration is the same"
    assert (layer.brpop_timeout, shared.brpop_timeout) == (WAIT_IN_REDIS, 5)
    settings.CHANNEL_LAYERS = core()
    assert reception._open_layer() is not layer


async def test_the_layer_in_memory_is_the_one_that_all_share() -> None:
    assert a_reception()._open_layer() is channel_layers["default"]
