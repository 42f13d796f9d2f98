from __future__ import annotations

import json
from collections import UserDict
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from django.db import models
from django.utils.translation import gettext_lazy

from tasks_celery.channels.events import (
    READY,
    RESET,
    Envelope,
    Heard,
    clean_payload,
    describe,
    event_text,
    group_message,
    heard_in,
    position_of,
    state_text,
)
from tasks_celery.channels.log import Position
from tests.channels import jobs
from tests.channels.helpers import result_of
from tests.shop.tasks import renamed


class Size(models.IntegerChoices):
    LARGE = 3


def nested(depth: int) -> dict[str, Any]:
    outer: dict[str, Any] = {}
    for _ in range(depth):
        outer = {"in": outer}
    return outer


def endless() -> dict[str, Any]:
    outer: dict[str, Any] = {}
    outer["in"] = outer
    return outer


@pytest.mark.parametrize("payload", ["text", 7, ["a", "list"], True, b"bytes", datetime(2026, 5, 1)])  # noqa: DTZ001
def test_a_payload_that_is_no_dict_is_refused(payload: Any) -> None:
    with pytest.raises(TypeError, match=f"not {type(payload).__name__}"):
        clean_payload(payload)


@pytest.mark.parametrize(
    "value",
    [datetime(2026, 5, 1), Decimal(1), {1, 2}, object(), gettext_lazy("yes"), b"\xff", {(1, 2): 3}],  # noqa: DTZ001
)
def test_what_json_has_no_type_for_is_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        clean_payload({"value": value})


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, float("nan"), float("inf")])
def test_a_number_that_cannot_travel_is_refused(number: float) -> None:
    with pytest.raises(ValueError):
        clean_payload({"number": number})


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        clean_payload({"text": "\ud800"})


def test_a_dict_that_holds_itself_is_refused() -> None:
    with pytest.raises(RecursionError):
        clean_payload(endless())


def test_a_payload_becomes_what_a_page_will_read() -> None:
    payload = UserDict({"size": Size.LARGE, 7: (1, b"two"), "deep": nested(5), "largest": 2**64 - 1, "word": "größe"})
    cleaned = clean_payload(payload)
    assert cleaned == {"size": 3, "7": [1, "two"], "deep": nested(5), "largest": 2**64 - 1, "word": "größe"}
    assert type(cleaned["size"]) is int


def test_no_payload_is_no_payload() -> None:
    assert clean_payload(None) is None
    assert clean_payload({}) == {}


def test_an_event_tells_how_the_task_ended_and_nothing_of_what_was_in_it() -> None:
    envelope = describe(result_of(jobs.tell_both, args=["my password"]), event="job.done")
    told = json.loads(event_text(envelope.body, None))
    assert told == {
        "type": "task.event",
        "seq": None,
        "epoch": None,
        "event": "job.done",
        "data": {
            "id": "0b1c",
            "name": "tests.channels.jobs.tell_both",
            "status": "SUCCESSFUL",
            "enqueued_at": "2026-05-01T12:00:00+00:00",
            "started_at": "2026-05-01T12:00:01+00:00",
            "finished_at": "2026-05-01T12:00:02+00:00",
            "payload": None,
        },
    }
    assert type(envelope.data["status"]) is str
    assert envelope.key == "0b1c"


def test_a_task_that_never_started_has_no_start() -> None:
    never = result_of(jobs.tell_both, failed=True, started_at=None, finished_at=None)
    data = describe(never, event="job.failed").data
    assert (data["status"], data["started_at"], data["finished_at"]) == ("FAILED", None, None)


def test_a_task_with_a_name_of_its_own_is_told_by_it() -> None:
    assert describe(result_of(renamed), event="job.done").data["name"] == "shop.renamed"


def test_the_text_is_json_with_the_position_in_it_and_the_size_is_its_bytes() -> None:
    envelope = Envelope(event="report.ready", data={"id": "1", "payload": {"word": "größe"}})
    text = event_text(envelope.body, Position('e"1', 4))
    assert json.loads(text) == {
        "type": "task.event",
        "seq": 4,
        "epoch": 'e"1',
        "event": "report.ready",
        "data": {"id": "1", "payload": {"word": "größe"}},
    }
    assert envelope.size() == len(envelope.body.encode()) > len(envelope.body)


def test_a_state_says_where_events_go_on() -> None:
    assert json.loads(state_text(READY, Position("e1", 4), user="tag")) == {
        "type": "task.ready",
        "seq": 4,
        "epoch": "e1",
        "user": "tag",
    }
    assert json.loads(state_text(RESET, None)) == {"type": "task.reset", "seq": None, "epoch": None}


def test_the_message_in_the_layer_has_a_constant_type_and_all_else_below_one_key() -> None:
    nasty = Envelope(event="report.ready", data={"type": "websocket.close", "payload": {"type": "close"}})
    events = [Heard(Position("e1", 7), event_text(nasty.body, Position("e1", 7))), Heard(None, "{}")]
    message = group_message("stream", events)
    assert set(message) == {"type", "stream", "envelopes"}
    assert (message["type"], message["stream"]) == ("task.event", "stream")
    assert heard_in(message) == events


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"envelopes": None},
        {"envelopes": "text"},
        {"envelopes": [None, 7, "text", {}, {"text": None}, {"text": {"type": "close"}}]},
        {"envelopes": [{"text": "{}"}, {"text": "{}", "seq": 4}, {"text": "{}", "seq": "4", "epoch": "e1"}]},
        {"event": {"text": "of another release"}},
    ],
)
def test_a_message_of_another_release_is_read_as_empty(message: dict[str, Any]) -> None:
    assert heard_in(message) == []


@pytest.mark.parametrize(
    "said",
    [
        None,
        "",
        "e1",
        "e1:",
        ":4",
        "e1:-4",
        "e1:4:4",
        "e1:4.0",
        "e1: 4",
        "e1:99999999999999999",
        "e1:9007199254740992",
        "x" * 65 + ":4",
        7,
        ["e1", 4],
        {"epoch": "e1"},
        {"epoch": "e1", "seq": "4"},
        {"epoch": "e1", "seq": True},
        {"epoch": "e1", "seq": -1},
        {"epoch": "e1", "seq": 2**53},
        {"epoch": "x" * 65, "seq": 4},
        {"epoch": None, "seq": None},
    ],
)
def test_what_is_no_position_is_none(said: object) -> None:
    assert position_of(said) is None


@pytest.mark.parametrize("said", ["e1:4", {"epoch": "e1", "seq": 4}, {"epoch": "e1", "seq": 4, "more": 1}])
def test_a_position_is_read_as_a_page_says_it(said: object) -> None:
    assert position_of(said) == Position("e1", 4)
