from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from tasks_celery.channels.workers.event import refuse_channel, refuse_event, refuse_unfit, refuse_untyped


@pytest.mark.parametrize("name", [None, 7, b"thumbnails", "", "a b", "ä", "a/b", "a" * 100, "a\n"])
def test_what_is_no_name_of_a_channel_is_refused(name: Any) -> None:
    with pytest.raises(TypeError, match="The name of a channel is"):
        refuse_channel(name)


@pytest.mark.parametrize("name", ["specific.abc!def", "thumbnails!"])
def test_a_channel_of_one_process_is_refused_with_the_way_to_it(name: str) -> None:
    with pytest.raises(TypeError, match=r"belongs to one process.*through the channel layer"):
        refuse_channel(name)


@pytest.mark.parametrize("name", ["thumbnails-generate", "a", "a" * 99, "Mail.send_2"])
def test_a_name_that_the_layer_takes_is_good(name: str) -> None:
    refuse_channel(name)


@pytest.mark.parametrize("message", [None, "generate", ["generate"], [("type", "generate")], b"{}"])
def test_what_is_no_dict_is_refused(message: Any) -> None:
    with pytest.raises(TypeError, match="An event is a dict with a 'type'"):
        refuse_event(message)


@pytest.mark.parametrize("message", [{}, {"id": 7}, {"type": None}, {"type": ""}])
def test_an_event_without_a_type_is_refused(message: Any) -> None:
    with pytest.raises(ValueError, match="has no 'type'"):
        refuse_event(message)


@pytest.mark.parametrize("kind", [7, ["generate"], True])
def test_a_type_that_is_no_text_is_refused(kind: Any) -> None:
    with pytest.raises(ValueError, match="it has to be the name of a handler"):
        refuse_event({"type": kind})


@pytest.mark.parametrize("kind", ["_private", ".private", "__call__"])
def test_a_type_that_channels_would_not_call_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="begins with an underscore"):
        refuse_untyped({"type": kind})


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (b"\x89PNG", "bytes"),
        (b"text", "bytes"),
        (date(2026, 5, 1), "date"),
        (Decimal(1), "Decimal"),
        (UUID(int=7), "UUID"),
        ({1, 2}, "set"),
        (object(), "object"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
    ],
)
def test_what_json_cannot_hold_is_refused_by_its_place_and_kind_and_not_told(value: Any, kind: str) -> None:
    with pytest.raises(TypeError) as refused:
        refuse_event({"type": "generate", "pictures": [{"data": value}]})
    assert str(refused.value).startswith("event['pictures'][0]['data'] is ")
    assert kind in str(refused.value)
    assert "PNG" not in str(refused.value)


def test_a_key_that_json_would_turn_into_a_text_is_refused() -> None:
    with pytest.raises(TypeError, match=r"The key 7 of event\['sizes'\] is of the type int"):
        refuse_unfit({"type": "generate", "sizes": {7: "small"}})


def test_what_celerys_json_reads_as_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="__type__"):
        refuse_event({"type": "generate", "when": {"__type__": "datetime", "__value__": "2026-05-01"}})


@pytest.mark.parametrize("kind", ["generate", "thumbnails.generate", "a_b", "Ä"])
def test_an_event_as_channels_has_it_is_good(kind: str) -> None:
    refuse_event({"type": kind, "id": 7, "sizes": [1, 2.5, (3, None)], "deep": {"a": {"b": True}}})
