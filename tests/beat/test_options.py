from __future__ import annotations

from typing import Any

import pytest

from tasks_celery.beat.options import ScheduleSettings, parse_schedule_settings, schedule_settings
from tasks_celery.exceptions import OptionsError


@pytest.mark.parametrize("raw", [None, "SYNC_AFTER_MIGRATE", ["KEEP"], 7])
def test_what_is_no_dict_is_refused(raw: Any) -> None:
    with pytest.raises(OptionsError, match=r"TASK_SCHEDULES is .* has to be a dict, such as"):
        parse_schedule_settings(raw)


def test_an_unknown_key_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(OptionsError) as refused:
        parse_schedule_settings({"KEEEP": 7, 3: 3, "KEEP": 7, "grace": 1})
    assert str(refused.value) == (
        "TASK_SCHEDULES has unknown keys: 3, 'KEEEP', 'grace'. Known keys: GRACE, KEEP, RETAKE, SYNC_AFTER_MIGRATE."
    )


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("SYNC_AFTER_MIGRATE", [1, 0, None, "yes"]),
        ("GRACE", [0, -1, "30", None, True, float("inf"), float("nan")]),
        ("RETAKE", [0, -0.5, "10", None, False, float("inf"), float("nan")]),
        ("KEEP", [0, -1, 1.5, "20", None, True]),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_by_name(key: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(OptionsError, match=rf"TASK_SCHEDULES\['{key}'\] is .*; it has to be"):
            parse_schedule_settings({key: value})


@pytest.mark.parametrize(
    ("key", "values"),
    [("SYNC_AFTER_MIGRATE", [True, False]), ("GRACE", [0.5, 3600]), ("RETAKE", [0.1, 60]), ("KEEP", [1, 1000])],
)
def test_a_value_of_the_right_kind_is_kept_as_it_is(key: str, values: list[Any]) -> None:
    for value in values:
        assert getattr(parse_schedule_settings({key: value}), key.lower()) == value


def test_without_the_setting_all_is_as_by_default(settings: Any) -> None:
    if hasattr(settings, "TASK_SCHEDULES"):
        del settings.TASK_SCHEDULES
    assert schedule_settings() == ScheduleSettings() == parse_schedule_settings({})


def test_the_setting_is_read_each_time(settings: Any) -> None:
    for keep in (3, 4):
        settings.TASK_SCHEDULES = {"KEEP": keep}
        assert schedule_settings().keep == keep
