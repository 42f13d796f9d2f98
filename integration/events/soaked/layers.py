"""Both. The channel layers, which promise to bring a message at most once, and here keep to that: one in ten is lost without a word."""

from __future__ import annotations

import random
from typing import Any

from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer

LOST = 0.1


class CoreLayer(RedisChannelLayer):  # type: ignore[misc]
    """The core layer, at most once."""

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        if random.random() >= LOST:
            await super().group_send(group, message)


class PubSubLayer(RedisPubSubChannelLayer):  # type: ignore[misc]
    """The pub/sub layer, at most once."""

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        if random.random() >= LOST:
            await super().group_send(group, message)
