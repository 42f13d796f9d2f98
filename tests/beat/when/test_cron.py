"""What a column of a crontab may say: nothing that Celery or the form of the admin would refuse, or read another way."""

from __future__ import annotations

import re
from typing import Any

import pytest
from celery.schedules import crontab_parser
from django.core.exceptions import ValidationError
from django_celery_beat import validators
from django_celery_beat.models import CrontabSchedule

from tasks_celery.beat.when.cron import FIELDS, columns, texts
from tasks_celery.exceptions import ScheduleError

#: What the form of django-celery-beat's admin holds a column to.
THEIRS = {name: getattr(validators, f"{name}_validator") for name in FIELDS}
SIZES = {"minute": (60, 0), "hour": (24, 0), "day_of_month": (31, 1), "month_of_year": (12, 1), "day_of_week": (7, 0)}


def celerys(name: str, text: str) -> set[int]:
    return crontab_parser(*SIZES[name]).parse(text)


def both_take(name: str, text: str) -> bool:
    try:
        THEIRS[name](text)
        celerys(name, text)
    except (ValidationError, crontab_parser.ParseException, ValueError):
        return False
    return True


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("expression", ["", " ", "@daily", "*/5", "0 3 * *", "0 0 3 * * *", "0 3 * * * root"])
def test_another_number_of_columns_than_five_is_refused(expression: str) -> None:
    with pytest.raises(ScheduleError, match="give five columns, minute hour day_of_month") as caught:
        columns(expression)
    assert repr(expression) in str(caught.value)
    assert f"not {len(expression.split())}." in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("minute", "60"),
        ("minute", "1-60"),
        ("minute", "99999999999999999999"),
        ("hour", "24"),
        ("day_of_month", "0"),
        ("day_of_month", "32"),
        ("month_of_year", "0"),
        ("month_of_year", "13"),
        ("day_of_week", "8"),
    ],
)
def test_a_number_outside_of_a_column_is_refused_with_its_bounds(name: str, text: str) -> None:
    field = FIELDS[name]
    with pytest.raises(ScheduleError, match=f"not within {field.low} to {field.high}") as caught:
        field.numbers(text)
    assert f"crontab({name}={text!r})" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("minute", "jan"),  # Celery takes the names of months and weekdays in each column
        ("month_of_year", "mon"),
        ("day_of_week", "jan"),
        ("month_of_year", "january"),  # the form of the admin does not take it
        ("day_of_week", "monday"),
        ("minute", "five"),
        ("minute", "1_0"),  # Python's int takes it
        ("day_of_month", "l"),
        ("hour", "h"),
    ],
)
def test_another_word_than_the_names_of_a_column_is_refused(name: str, text: str) -> None:
    with pytest.raises(ScheduleError, match=f"{text!r} is none of {FIELDS[name].low} to {FIELDS[name].high}") as caught:
        FIELDS[name].numbers(text)
    assert all(known in str(caught.value) for known in FIELDS[name].names)


@pytest.mark.parametrize(
    "text",
    ["", ",", "1,", ",1", "1,,2", "-5", "+5", "1-", "*-5", "1-5-7", "1-5/2/3", "*/5-3", "*/", "/5", "*/-5", "1.5", "1 2", " 1",
     "1\n", "**", "5#2", "٣", "*/٣", "1-*", "?", "@hourly"],
)  # fmt: skip
def test_what_is_no_part_of_a_crontab_is_refused(text: str) -> None:
    with pytest.raises(ScheduleError, match="nor a list of them") as caught:
        FIELDS["minute"].numbers(text)
    assert f"crontab(minute={text!r})" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"), [("minute", "*/0"), ("minute", "*/60"), ("hour", "0-5/24"), ("day_of_week", "*/7")]
)
def test_a_step_that_is_none_is_refused(name: str, text: str) -> None:
    with pytest.raises(ScheduleError, match=f"not within 1 to {FIELDS[name].high}"):
        FIELDS[name].numbers(text)


@pytest.mark.parametrize(
    ("name", "text", "cure"),
    [
        ("minute", "5/2", "5-59/2"),
        ("minute", "10-5", "10-59,0-5"),
        ("month_of_year", "nov-feb", "11-12,1-2"),
        ("day_of_week", "fri-sun", "5-6,0"),
        ("day_of_week", "fri-mon", "5-6,0-1"),
        ("day_of_week", "7", "0"),
        ("day_of_week", "5-7", "5-6,0"),
        ("day_of_week", "fri-7", "5-6,0"),
        ("day_of_week", "mon-5", "1-5"),
    ],
)
def test_what_only_one_of_the_two_takes_is_refused_with_a_cure_that_both_take(name: str, text: str, cure: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        FIELDS[name].numbers(text)
    assert f"write {cure!r}" in str(caught.value)
    assert not both_take(name, text)
    assert both_take(name, cure)
    assert FIELDS[name].numbers(cure) == celerys(name, cure)


@pytest.mark.parametrize("name", FIELDS)
def test_a_text_longer_than_its_column_is_refused(name: str) -> None:
    longest = CrontabSchedule._meta.get_field(name).max_length
    assert FIELDS[name].numbers(",".join(["1"] * (longest // 2))) == {1}
    with pytest.raises(ScheduleError, match=f"longer than the {longest} characters"):
        FIELDS[name].numbers(",".join(["1"] * (longest // 2 + 1)))


@pytest.mark.parametrize(
    "value", [None, True, 1.5, [], set(), [1, "2"], [True], ["1", "2"], [None], object(), {"a": 1}]
)
def test_what_is_neither_text_nor_numbers_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"crontab\(hour=.*whole number"):
        texts({**columns("* * * * *"), "hour": value})


@pytest.mark.parametrize(
    ("days", "months"), [("30", "2"), ("31", "2"), ("31", "4,6,9,11"), ("30-31", "feb"), ("31", "2-3/2,apr")]
)
def test_a_day_that_never_comes_is_refused(days: str, months: str) -> None:
    with pytest.raises(ScheduleError, match="never ticks") as caught:
        texts(columns(f"0 0 {days} {months} *"))
    assert f"day_of_month={days!r}, month_of_year={months!r}" in str(caught.value)


# --- what works ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("days", "months"), [("29", "2"), ("31", "2-3"), ("30", "2,4"), ("28-31", "feb")])
def test_a_day_that_some_month_has_is_taken(days: str, months: str) -> None:
    assert texts(columns(f"0 0 {days} {months} *"))["day_of_month"] == days


def test_the_columns_are_in_the_classic_order() -> None:
    assert columns(" 1  2\t3 4 5 ") == {
        "minute": "1",
        "hour": "2",
        "day_of_month": "3",
        "month_of_year": "4",
        "day_of_week": "5",
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [(5, "5"), ([6, 0, 6], "0,6"), ({5, 1}, "1,5"), (range(3), "0,1,2"), ("MON", "mon"), ("05", "05")],
)
def test_numbers_and_capitals_become_the_text_of_a_row(value: Any, text: str) -> None:
    assert texts({**columns("* * * * *"), "day_of_week": value})["day_of_week"] == text


def all_texts(name: str) -> list[str]:
    field = FIELDS[name]
    words = [*map(str, range(field.low - 1, field.high + 2)), *field.names, *map(str.upper, field.names[:2])]
    edges = [*words[:3], *words[-4:], *field.names[2:5]]
    ranges = [f"{first}-{last}" for first in edges for last in edges]
    steps = [
        f"{before}/{step}" for before in ("*", *ranges[::5], "3") for step in (0, 1, 2, field.high, field.high + 1)
    ]
    return [*words, *ranges, *steps, *(f"{one},{other}" for one in steps[:20] for other in edges), "*", "*,1"]


@pytest.mark.parametrize("name", FIELDS)
def test_what_is_taken_means_to_celery_what_it_says_and_the_form_of_the_admin_takes_it(name: str) -> None:
    taken = {}
    for text in map(str.lower, all_texts(name)):
        try:
            taken[text] = FIELDS[name].numbers(text)
        except ScheduleError:
            continue
    assert len(taken) > 50
    for text, numbers in taken.items():
        THEIRS[name](text)
        assert numbers == celerys(name, text), text


@pytest.mark.parametrize("name", FIELDS)
def test_what_both_take_is_taken_but_for_a_range_of_number_and_name_and_a_step_of_seven_days(name: str) -> None:
    but_for = re.compile(r"\d-[a-z]|/7")
    for text in map(str.lower, all_texts(name)):
        if both_take(name, text) and not but_for.search(text):
            assert FIELDS[name].numbers(text), text
