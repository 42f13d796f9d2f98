"""Web process. What stands where Channels' `get_channel_layer` stood, for code that sends to workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks_celery.channels.layer import NEEDS_CHANNELS
from tasks_celery.channels.workers.sending import send


class DurableLayer:
    """A channel layer whose `send` to a worker enqueues a task; all else is the layer's own."""

    def __init__(self, layer: Any) -> None:
        self._layer = layer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._layer, name)

    async def send(self, channel: str, message: Mapping[str, Any]) -> None:
        """Send to a channel of one process (``…!…``) through the layer, to any other by a task, as `send` does."""
        if isinstance(channel, str) and "!" in channel:
            await self._layer.send(channel, message)
        else:
            await send(channel, message)


def get_channel_layer(alias: str = "default") -> DurableLayer | None:
    """Return the channel layer of that alias, whose sends to workers are tasks; None where it is not configured."""
    try:
        from channels import layers
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(NEEDS_CHANNELS) from error
    layer = layers.get_channel_layer(alias)
    return None if layer is None else DurableLayer(layer)
