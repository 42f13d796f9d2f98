"""Both. The channel layer, as the publisher uses it.

The publisher has a layer of its own: the shared one's connections belong to the event loops of others, which
may close them under it. Only the in-memory layer must be the shared one, as the messages are in it.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from channels.layers import ChannelLayerManager

NEEDS_CHANNELS = (
    "tasks_celery.channels needs Django Channels, which is not installed. "
    "Install it with: pip install 'tasks-celery[channels]'"
)


class Layer(Protocol):
    """What the publisher needs of a channel layer."""

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """Send `message` to every channel in `group`."""


class LocalLayer:
    """The in-memory layer, sent to from a thread that is not its consumers'.

    Its queues belong to the loop of the consumers, and are not safe from outside. So the message is sent
    on that loop, once a consumer has said which it is.
    """

    def __init__(self, alias: str) -> None:
        self._alias = alias

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        # Looked up each time: tests put another layer in its place.
        layer = _manager()[self._alias]
        loop = _running_consumers_loop()
        if loop is None:
            await layer.group_send(group, message)
        else:
            sending = asyncio.run_coroutine_threadsafe(layer.group_send(group, message), loop)
            await asyncio.wrap_future(sending)


#: The loop whose consumers read the in-memory layer, the last one that said so.
_consumers_loop: weakref.ref[asyncio.AbstractEventLoop] | None = None


def consumes_here(layer: object) -> None:
    """Say that the running loop is the one whose consumers read `layer`; it matters to the in-memory one only."""
    global _consumers_loop  # noqa: PLW0603
    if _is_local(layer):
        _consumers_loop = weakref.ref(asyncio.get_running_loop())


def open_layer(alias: str) -> Layer:
    """Return a new layer as ``CHANNEL_LAYERS[alias]`` has it, nobody else's; it connects on first use.

    Raise what Channels raises for a configuration that it cannot use, and ModuleNotFoundError, with the
    cure, where Channels is not installed.
    """
    manager = _manager()
    if alias not in manager:
        raise LookupError(f"CHANNEL_LAYERS has no {alias!r}, so events go nowhere. Run: manage.py check")
    if _is_local(manager[alias]):
        return LocalLayer(alias)
    layer: Layer = manager.make_backend(alias)
    return layer


def passing_errors() -> tuple[type[Exception], ...]:
    """Return the errors after which a second try is worth it: the connection went, the server may not have."""
    try:
        from redis.exceptions import ConnectionError as LostConnection
        from redis.exceptions import TimeoutError as LateAnswer
    except ModuleNotFoundError:
        return (OSError,)
    return (OSError, LostConnection, LateAnswer)


def is_in_memory(alias: str) -> bool:
    """Return whether ``CHANNEL_LAYERS[alias]`` is the in-memory layer, which reaches no other process."""
    try:
        manager = _manager()
        return alias in manager and _is_local(manager[alias])
    except Exception:  # noqa: BLE001 - a layer of the project's, which Channels will complain about when it is needed
        return False


def _is_local(layer: object) -> bool:
    from channels.layers import InMemoryChannelLayer

    return isinstance(layer, InMemoryChannelLayer)


def _running_consumers_loop() -> asyncio.AbstractEventLoop | None:
    loop = _consumers_loop() if _consumers_loop else None
    return loop if loop is not None and loop.is_running() else None


def _manager() -> ChannelLayerManager:
    try:
        from channels.layers import channel_layers
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(NEEDS_CHANNELS) from error
    return channel_layers
