"""Both. What a page is told: the envelope, its texts, and the Channels messages that carry them to the web processes.

An event says which task ended and how, not with what arguments or return value: those are the server's
until ``notify(payload=…)`` says what a page may see.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from tasks_celery.channels.log.base import Position
from tasks_celery.compat import TaskResult, normalize_json
from tasks_celery.task import name_of

#: The type of every event, on the wire and in the channel layer. Constant: Channels calls the consumer's
#: method of that name, so a type that a payload could set would call any of them.
EVENT: Final = "task.event"
#: The type of the message that says: from here on, events arrive.
READY: Final = "task.ready"
#: The type of the message that says: events are missing, fetch your state afresh.
RESET: Final = "task.reset"
#: The type of what processes tell each other in the channel layer, and no page.
CONTROL: Final = "task.control"
LONGEST_EPOCH: Final = 64
_POSITION = re.compile(r"([^:]{1,64}):([0-9]{1,16})")
#: Bytes. A page needs a hint, not the result; and PostgreSQL's NOTIFY carries no more.
LARGEST: Final = 8_000

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """One event: its name and what it says. `body` is both as JSON, from the first key to the closing brace."""

    event: str
    data: Json
    body: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Encode once what goes to each listener, into the log and over the wire."""
        text = _compact({"event": self.event, "data": self.data})
        object.__setattr__(self, "body", text.removeprefix("{"))

    @property
    def key(self) -> str:
        """What tells the event from all others of a user: the id of the task, which ends once."""
        return str(self.data.get("id", ""))

    def size(self) -> int:
        """Return how many bytes a page receives, but for the position."""
        return len(self.body.encode())


class Heard(NamedTuple):
    """An event as the layer brings it: its text for the page, and its position, None where no log is kept."""

    position: Position | None
    text: str


def event_text(body: str, position: Position | None) -> str:
    """Return the JSON of an event that a page hears."""
    epoch, seq = (json.dumps(position.epoch), position.seq) if position else ("null", "null")
    return f'{{"type":"{EVENT}","seq":{seq},"epoch":{epoch},{body}'


def state_text(kind: str, position: Position | None, **more: Any) -> str:
    """Return the JSON of a message READY or RESET, with the position from which on events follow."""
    epoch, seq = position or (None, None)
    return _compact({"type": kind, "seq": seq, "epoch": epoch, **more})


def describe(result: TaskResult[Any, Any], *, event: str, payload: Json | None = None) -> Envelope:
    """Return `event` about this result, without number and epoch."""
    return Envelope(
        event=event,
        data={
            "id": result.id,
            "name": name_of(result.task),
            "status": str(result.status.value),
            "enqueued_at": _iso(result.enqueued_at),
            "started_at": _iso(result.started_at),
            "finished_at": _iso(result.finished_at),
            "payload": payload,
        },
    )


def clean_payload(value: object) -> Json | None:
    """Return `value` as a page will read it: made of JSON's own types, keys as text.

    Raise TypeError for what is no dict or holds what JSON has no type for, ValueError for numbers and
    texts that JSON cannot carry, RecursionError for a dict that holds itself.
    """
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise TypeError(f"A payload is a dict or None, not {type(value).__name__}: {value!r:.200}")
    text = json.dumps(normalize_json(value), ensure_ascii=False, allow_nan=False)
    text.encode()  # half a surrogate pair, which no socket can send, fails here
    cleaned: Json = json.loads(text, parse_int=_int_of_64_bits)
    return cleaned


def group_message(stream: str, events: Sequence[Heard]) -> Json:
    """Return the Channels message that brings events of one stream to every process that has listeners of it.

    Each is already JSON: a layer's own serializer cannot refuse or change what is in it, and it is encoded
    once, not once for each socket. Number and epoch stand beside it, so that nobody need read it.
    """
    return {
        "type": EVENT,
        "stream": stream,
        "envelopes": [
            {"seq": position and position.seq, "epoch": position and position.epoch, "text": text}
            for position, text in events
        ],
    }


def heard_in(message: Mapping[str, Any]) -> list[Heard]:
    """Return the events in a Channels message; what another release put there is left out."""
    carried = message.get("envelopes")
    return [each for each in map(_heard, carried) if each] if isinstance(carried, list) else []


def _heard(carried: object) -> Heard | None:
    match carried:
        case {"text": str(text), "epoch": str(epoch), "seq": int(seq)}:
            return Heard(Position(epoch, seq), text)
        case {"text": str(text), "epoch": None, "seq": None}:
            return Heard(None, text)
        case _:
            return None


def position_of(value: object) -> Position | None:
    """Return the position that a page names, as ``{"epoch": …, "seq": …}`` or ``"epoch:seq"``; None for what is none."""
    match value:
        case {"epoch": str(epoch), "seq": int(seq)} if not isinstance(seq, bool):
            pass
        case str() if (found := _POSITION.fullmatch(value)) is not None:
            epoch, seq = found[1], int(found[2])
        case _:
            return None
    return Position(epoch, seq) if len(epoch) <= LONGEST_EPOCH and 0 <= seq < 2**53 else None


def _compact(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _int_of_64_bits(digits: str) -> int:
    number = int(digits)
    if not -(2**63) <= number < 2**64:
        raise ValueError(f"The whole number {digits} has more than 64 bits; send it as text.")
    return number
