"""Both. What may be sent to a channel: a dict with a `type`, as JSON can hold it. Pure.

A channel layer takes more, and the consumer that cannot handle it dies where nobody looks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

from tasks_celery.message import refuse_marked

#: As in `channels.layers.BaseChannelLayer`, but for names with an exclamation mark: those belong to one process.
_NAME = re.compile(r"[a-zA-Z\d\-_.]{1,99}")


def refuse_channel(channel: object) -> None:
    """Raise TypeError for what is no name of a channel that a worker can listen on."""
    if isinstance(channel, str) and "!" in channel:
        raise TypeError(
            f"The channel {channel!r} belongs to one process, as its exclamation mark says: no worker can listen on it. "
            "Send to it through the channel layer."
        )
    if not isinstance(channel, str) or not _NAME.fullmatch(channel):
        raise TypeError(
            f"The name of a channel is {channel!r}; it has to be a text of less than 100 ASCII letters, digits, hyphens, "
            "underscores and periods."
        )


def refuse_event(message: object) -> None:
    """Raise TypeError or ValueError for what no consumer can handle, or no task can carry."""
    refuse_unfit(message)
    refuse_untyped(message)


def refuse_unfit(message: object) -> None:
    """Raise TypeError or ValueError for what is no dict, or what JSON cannot hold as it is, naming where."""
    if not isinstance(message, dict):
        raise TypeError(f"An event is a dict with a 'type', not {_kind(message)}.")
    for where, wrong in _unfit(message, "event"):
        raise TypeError(
            f"{where} is {wrong}, and JSON, in which tasks travel, has none. Send a text or a number: the key of a row, the "
            "name of a file, or bytes in Base64."
        )
    refuse_marked(message)


def refuse_untyped(message: object) -> None:
    """Raise ValueError for an event whose `type` names no handler: none, no text, or one that begins with an underscore."""
    kind = message.get("type") if isinstance(message, Mapping) else None
    if kind is None or kind == "":
        raise ValueError("The event has no 'type', which names the method of the consumer that handles it.")
    if not isinstance(kind, str):
        raise ValueError(  # noqa: TRY004  as for one without
            f"The 'type' of the event is {kind!r}; it has to be the name of a handler, such as 'generate'."
        )
    if kind[0] in "_.":  # a period is an underscore in the name of the method
        raise ValueError(
            f"The 'type' of the event is {kind!r}: Channels calls no method that begins with an underscore."
        )


def _unfit(value: Any, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                yield f"The key {key!r} of {where}", _kind(key)
            yield from _unfit(item, f"{where}[{key!r}]")
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _unfit(item, f"{where}[{number}]")
    elif isinstance(value, float) and not isfinite(value):
        yield where, str(value)
    elif not isinstance(value, str | int | float | None):
        yield where, _kind(value)


def _kind(value: object) -> str:
    return f"of the type {type(value).__name__}"
