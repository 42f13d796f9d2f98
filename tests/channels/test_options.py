from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tasks_celery.channels.options import EventOptions, channel_options, event_options, parse_event_options
from tasks_celery.exceptions import OptionsError


@pytest.mark.parametrize("raw", [None, "redis://localhost", ["LOG"], 7])
def test_what_is_no_dict_is_refused(raw: Any) -> None:
    with pytest.raises(OptionsError, match=r"TASK_EVENTS is .* has to be a dict"):
        parse_event_options(raw)


def test_an_unknown_key_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(OptionsError, match=r"unknown keys: 'keep', 'KEEEP'|'KEEEP', 'keep'") as refused:
        parse_event_options({"KEEEP": 7, "keep": 7})
    assert "Known keys: CHANNELS, CHECK_EVERY, DEADLINE, KEEP, KEEP_FOR" in str(refused.value)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("LOG", [7, "", "localhost:6379", "http://localhost", "mysql://x", b"redis://"]),
        ("KEEP", [0, -1, 1.5, "1000", True, None]),
        ("KEEP_FOR", [0, -1, "7 days", None, True, float("inf"), float("nan"), timedelta(0)]),
        ("KEY_PREFIX", [None, 7, b"x"]),
        ("LAYER", ["", 7, False]),
        ("DEADLINE", [0, None, "2", float("inf")]),
        ("CHECK_EVERY", [0, None, True]),
        ("POLL_EVERY", [0, -0.5, "1"]),
        ("TENANT", ["", 7, len]),
        ("OLD_GROUP", ["", "user", "user_{}", 7]),
        ("OLD_MESSAGE", ["", len]),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_by_name(key: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(OptionsError, match=rf"TASK_EVENTS\['{key}'\] is .* has to be"):
            parse_event_options({key: value})


@pytest.mark.parametrize("value", [None, "thumbnails", ["thumbnails"], {7: {}}, {"thumbnails": "reports"}, {"*": None}])
def test_what_is_said_of_channels_is_a_dict_of_dicts_by_name(value: Any) -> None:
    with pytest.raises(OptionsError, match=r"TASK_EVENTS\['CHANNELS'\] is .* has to be"):
        parse_event_options({"CHANNELS": value})


def test_a_key_of_a_channel_that_is_not_known_is_refused_with_those_that_are() -> None:
    with pytest.raises(
        OptionsError, match=r"TASK_EVENTS\['CHANNELS'\]\['thumbnails'\] has unknown keys: 'QUEUE'.*QUEUE_NAME"
    ):
        parse_event_options({"CHANNELS": {"thumbnails": {"QUEUE": "reports"}}})


def test_a_channel_that_is_not_named_asks_for_nothing(settings: Any) -> None:
    settings.TASK_EVENTS = {"CHANNELS": {"thumbnails": {"QUEUE_NAME": "reports"}, "Letters*": {"PRIORITY": 0}}}
    assert channel_options("letters-out").asked_for() == {}
    assert channel_options("thumbnails").asked_for() == {"queue_name": "reports"}
    assert channel_options("Letters-out").asked_for() == {"priority": 0}


def test_a_password_in_a_url_that_is_refused_is_not_told() -> None:
    with pytest.raises(OptionsError) as refused:
        parse_event_options({"LOG": "http://:secret@localhost"})
    assert "secret" not in str(refused.value)


def test_without_the_setting_all_is_as_by_default(settings: Any) -> None:
    if hasattr(settings, "TASK_EVENTS"):
        del settings.TASK_EVENTS
    assert event_options() == EventOptions() == parse_event_options({})
    assert (EventOptions().keep, EventOptions().keep_for) == (1_000, 7 * 24 * 3600)


def test_each_key_is_taken_as_it_is() -> None:
    said = {
        "LOG": "database://events",
        "KEEP": 5,
        "KEEP_FOR": 60.5,
        "KEY_PREFIX": "",
        "LAYER": None,
        "DEADLINE": 1,
        "CHECK_EVERY": 10,
        "POLL_EVERY": 0.5,
        "TENANT": "shop.events.tenant",
        "OLD_GROUP": "user_{user}",
        "OLD_MESSAGE": "shop.events.old",
        "CHANNELS": {},
    }
    options = parse_event_options(said)
    assert {key: getattr(options, key.lower()) for key in said} == said
    assert len(said) == len(EventOptions.__slots__)


def test_an_age_may_be_a_timedelta() -> None:
    assert parse_event_options({"KEEP_FOR": timedelta(hours=1)}).keep_for == 3600.0


def test_a_setting_that_changes_is_read_anew_and_one_that_does_not_is_parsed_once(settings: Any) -> None:
    settings.TASK_EVENTS = {"KEEP": 5}
    assert event_options().keep == 5
    assert event_options() is event_options()
    settings.TASK_EVENTS = {"KEEP": 6}
    assert event_options().keep == 6


def test_options_with_channels_are_a_key_for_what_is_made_by_them() -> None:
    options = parse_event_options({"CHANNELS": {"thumbnails": {"QUEUE_NAME": "thumbnails"}}})
    assert hash(options) == hash(parse_event_options({}))
    assert options != parse_event_options({})
