"""Both. What a page is told: the envelope, and the Channels message that carries envelopes to the consumers.

An event says which task ended and how, not with what arguments or return value: those are the server's
until ``notify(payload=…)`` says what a page may see.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from tasks_celery.compat import TaskResult, normalize_json
from tasks_celery.task import name_of

#: The type of every event, on the wire and in the channel layer. Constant: Channels calls the consumer's
#: method of that name, so a type that a payload could set would call any of them.
EVENT: Final = "task.event"
#: The type of the first message on a socket: from here on, events arrive.
READY: Final = "task.ready"
#: Bytes. A page needs a hint, not the result; and PostgreSQL's NOTIFY carries no more.
LARGEST: Final = 8_000

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """One event as a page receives it.

    `seq` counts one user's events without a gap, within one `epoch` of the event log; both are None
    where no log is kept.
    """

    event: str
    data: Json
    seq: int | None = None
    epoch: str | None = None

    def as_dict(self) -> Json:
        """Return the message that a page hears."""
        return {"type": EVENT, "seq": self.seq, "epoch": self.epoch, "event": self.event, "data": self.data}

    def as_text(self) -> str:
        """Return the same as JSON."""
        return json.dumps(self.as_dict(), ensure_ascii=False, separators=(",", ":"), allow_nan=False)

    def size(self) -> int:
        """Return how many bytes a page receives."""
        return len(self.as_text().encode())


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


def group_message(envelopes: Sequence[Envelope]) -> Json:
    """Return the Channels message that carries `envelopes` to every consumer of a group.

    Each is already JSON: a layer's own serializer cannot refuse or change what is in it, and it is encoded
    once, not once for each socket. Number and epoch stand beside it, so that a consumer need not read it.
    """
    return {
        "type": EVENT,
        "envelopes": [{"seq": each.seq, "epoch": each.epoch, "text": each.as_text()} for each in envelopes],
    }


def texts_in(message: Mapping[str, Any]) -> list[str]:
    """Return the JSON of every envelope in a Channels message; what another release put there is left out."""
    carried = message.get("envelopes")
    if not isinstance(carried, list):
        return []
    texts = [each.get("text") for each in carried if isinstance(each, dict)]
    return [text for text in texts if isinstance(text, str)]


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _int_of_64_bits(digits: str) -> int:
    number = int(digits)
    if not -(2**63) <= number < 2**64:
        raise ValueError(f"The whole number {digits} has more than 64 bits; send it as text.")
    return number
