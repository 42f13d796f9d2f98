"""What is given for a schedule, thing by thing: refused with the value and the cure, or as a row keeps it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.utils.functional import SimpleLazyObject
from django_celery_beat.models import PeriodicTask

from tasks_celery.beat.declare import given
from tasks_celery.exceptions import ScheduleError

# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [None, 7, b"Digest", ["Digest"]])
def test_a_name_that_is_no_text_is_refused(name: Any) -> None:
    with pytest.raises(TypeError, match=r"name is .*; it has to be a text"):
        given.a_name("name", name)


@pytest.mark.parametrize(
    "name", ["", " ", " Digest", "Digest ", "Di\ngest", "Digest\n", "Di\0gest", "Di\tgest", "\ud800"]
)
def test_a_name_that_a_form_or_a_database_would_change_is_refused(name: str) -> None:
    with pytest.raises(ScheduleError, match="one line, without blanks at its ends") as caught:
        given.a_name("name", name)
    assert f"name is {name!r}" in str(caught.value)


def test_a_name_longer_than_its_column_is_refused() -> None:
    longest = PeriodicTask._meta.get_field("name").max_length
    assert given.a_name("name", "x" * longest) == "x" * longest
    with pytest.raises(ScheduleError, match="201 characters long; 200 is the most"):
        given.a_name("name", "x" * (longest + 1))


@pytest.mark.parametrize("priority", ["5", 5.0, True, [5]])
def test_a_priority_that_is_no_whole_number_is_refused(priority: Any) -> None:
    with pytest.raises(TypeError, match=r"priority is .* a whole number"):
        given.a_priority(priority)


@pytest.mark.parametrize("priority", [-101, 101, 10**9])
def test_a_priority_that_django_has_not_is_refused(priority: int) -> None:
    with pytest.raises(ScheduleError, match=f"priority is {priority}; Django's go from -100 to 100"):
        given.a_priority(priority)


@pytest.mark.parametrize("expires", ["60", True, date(2026, 12, 24), Decimal(60), [60]])
def test_an_expiry_that_is_no_time_is_refused(expires: Any) -> None:
    with pytest.raises(TypeError, match=r"expires is .*; give seconds or a timedelta .*or a datetime"):
        given.an_expiry(expires)


@pytest.mark.parametrize(
    "expires",
    [0, -1, 0.0, timedelta(0), timedelta(seconds=-1), 2**31, 10**400, float("nan"), float("inf"), timedelta.max],
)
def test_an_expiry_that_no_row_holds_is_refused(expires: Any) -> None:
    with pytest.raises(ScheduleError, match=r"expires is .* above 0 and up to 2147483647"):
        given.an_expiry(expires)


@pytest.mark.parametrize("flag", [None, 0, 1, "yes"])
def test_a_flag_that_is_neither_true_nor_false_is_refused(flag: Any) -> None:
    with pytest.raises(TypeError, match=f"one_off is {flag!r}; it has to be True or False"):
        given.a_flag("one_off", flag)


def test_a_description_that_no_database_keeps_is_refused() -> None:
    with pytest.raises(TypeError, match="description is None; it has to be a text"):
        given.a_description(None)
    with pytest.raises(ScheduleError, match="NUL"):
        given.a_description("a\0b")


@pytest.mark.parametrize("user", [7, True, ["ada"], Group(name="staff"), "", AnonymousUser()])
def test_who_has_no_username_is_refused(user: Any) -> None:
    with pytest.raises((TypeError, ScheduleError), match=r"notify_user \(a user, or a username\) is"):
        given.a_username(user)


@pytest.mark.parametrize("group", [7, True, ["staff"], User(username="ada"), "", Group()])
def test_what_has_no_name_of_a_group_is_refused(group: Any) -> None:
    with pytest.raises((TypeError, ScheduleError), match=r"notify_group \(a Django group, or its name\) is"):
        given.a_group_name(group)


@pytest.mark.parametrize("args", [None, "ab", b"ab", {"a": 1}, {1}, 7, iter([1])])
def test_arguments_that_are_no_list_are_refused(args: Any) -> None:
    with pytest.raises(TypeError, match=r"args is .* a list or a tuple"):
        given.arguments(args, {})


@pytest.mark.parametrize("kwargs", [[("a", 1)], "a", 7, {"a"}])
def test_keyword_arguments_that_are_no_dict_are_refused(kwargs: Any) -> None:
    with pytest.raises(TypeError, match=r"kwargs is .* a dict"):
        given.arguments((), kwargs)


def test_keyword_arguments_whose_key_is_no_text_are_refused() -> None:
    with pytest.raises(TypeError, match="kwargs has the key 7"):
        given.arguments((), {"a": 1, 7: 2})


@pytest.mark.parametrize(
    "value", [object(), {1}, datetime(2026, 1, 1, tzinfo=UTC), Decimal(1), User(pk=7), {"a": [object()]}, 1j]
)
def test_arguments_that_json_cannot_hold_are_refused_with_them(value: Any) -> None:
    for args, kwargs in (([value], {}), ([], {"amount": value})):
        with pytest.raises(ScheduleError, match=r"cannot be sent: .* its primary key") as caught:
            given.arguments(args, kwargs)
        assert repr(value) in str(caught.value)


def test_arguments_that_celerys_json_takes_for_another_value_are_refused() -> None:
    with pytest.raises(ScheduleError, match="'__type__' and '__value__'"):
        given.arguments([[{"__type__": "date", "__value__": "2026-01-01"}]], {})


def test_arguments_that_hold_themselves_are_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ScheduleError, match="hold themselves"):
        given.arguments([endless], {})


# --- what works ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Digest", "reports: daily, 3 o'clock", "Größe 日報", "x" * 200])
def test_a_name_of_one_line_is_taken(name: str) -> None:
    assert given.a_name("name", name) == name


@pytest.mark.parametrize("priority", [None, -100, 0, 100])
def test_a_priority_of_djangos_is_taken(priority: int | None) -> None:
    assert given.a_priority(priority) == priority


@pytest.mark.parametrize(
    ("expires", "kept"),
    [
        (None, None),
        (60, 60),
        (0.001, 1),
        (59.5, 60),
        (timedelta(minutes=1), 60),
        (timedelta(milliseconds=1001), 2),
        (2**31 - 1, 2**31 - 1),
        (datetime(2026, 12, 24, tzinfo=UTC), datetime(2026, 12, 24, tzinfo=UTC)),
    ],
)
def test_an_expiry_is_whole_seconds_or_a_moment(expires: Any, kept: Any) -> None:
    found = given.an_expiry(expires)
    assert found == kept
    assert type(found) is type(kept)


def test_a_naive_end_is_in_the_projects_zone(settings: Any) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    assert given.an_expiry(datetime(2026, 12, 24, 18)) == datetime(2026, 12, 24, 17, tzinfo=UTC)  # noqa: DTZ001


@pytest.mark.parametrize("user", ["ada", User(username="ada"), SimpleLazyObject(lambda: User(username="ada"))])
def test_a_user_is_kept_by_the_username(user: Any) -> None:
    assert given.a_username(user) == "ada"
    assert given.a_username(None) is None


def test_a_group_is_kept_by_its_name() -> None:
    assert given.a_group_name(Group(name="staff")) == given.a_group_name("staff") == "staff"
    assert given.a_group_name(None) is None


def test_arguments_are_kept_as_json_will_give_them_back() -> None:
    args, kwargs = given.arguments((1, (2, 3)), MappingProxyType({"a": {7: None}, "b": b"text"}))
    assert args == [1, [2, 3]]
    assert kwargs == {"a": {"7": None}, "b": "text"}
    assert given.arguments((), None) == ([], {})


def test_what_is_kept_is_no_longer_what_was_given() -> None:
    items: list[int] = [1]
    args, _ = given.arguments([items], {})
    items.append(2)
    assert args == [[1]]
