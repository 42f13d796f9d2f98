from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ValidationError
from django.utils.functional import SimpleLazyObject

from tasks_celery.channels import audience
from tasks_celery.channels.audience import (
    listeners,
    members_of,
    refuse_wrong_audience,
    refuse_wrong_tenant,
    tenant_for,
)
from tasks_celery.context import Context, asking
from tests.channels import jobs
from tests.channels.helpers import result_of

#: What is in a table, has a primary key, and is nobody.
THINGS = [Permission(pk=7), ContentType(pk=7)]


@pytest.mark.parametrize("to", [1.5, True, b"7", {"user": 7}, object(), [object()], User, *THINGS, [7, THINGS[0]]])
def test_what_is_no_user_is_refused(to: Any) -> None:
    with pytest.raises(TypeError, match="primary key"):
        listeners(to, asker="3")


@pytest.mark.parametrize("to", [*THINGS, [User(pk=7), THINGS[0]], Permission.objects.all(), Permission, Group])
def test_what_is_no_user_is_refused_at_import(to: Any) -> None:
    with pytest.raises(TypeError, match="primary key"):
        refuse_wrong_audience(to)


@pytest.mark.django_db
def test_rows_of_another_model_are_refused() -> None:
    assert ContentType.objects.exists()
    with pytest.raises(TypeError, match="primary key"):
        listeners(ContentType.objects.all(), asker="3")


def test_a_key_of_the_wrong_kind_is_refused() -> None:
    with pytest.raises(ValidationError):
        listeners("not a number", asker="3")


@pytest.mark.parametrize("to", [AnonymousUser(), [AnonymousUser(), None], User(), []])
def test_nobody_is_nobody_and_never_who_asked(to: Any) -> None:
    assert listeners(to, asker="3") == []


def test_by_default_it_is_who_asked() -> None:
    assert listeners(None, asker="3") == ["3"]
    assert listeners(None, asker=None) == []


@pytest.mark.parametrize(
    "to", [7, "7", "07", User(pk=7), SimpleLazyObject(lambda: User(pk=7)), [7], (7, "7", User(pk=7)), {7}, iter([7])]
)
def test_a_key_its_text_and_its_user_are_one_listener(to: Any) -> None:
    assert listeners(to, asker="3") == ["7"]


def test_several_listeners_keep_their_order() -> None:
    assert listeners([9, User(pk=7), None, 8], asker="3") == ["9", "7", "8"]


def test_each_spelling_of_a_uuid_is_the_same_key(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import models

    monkeypatch.setattr(User._meta, "pk", models.UUIDField(primary_key=True))
    key = uuid.UUID("0b1c0b1c-0b1c-4b1c-8b1c-0b1c0b1c0b1c")
    assert listeners([key, key.hex, str(key), str(key).upper()], asker=None) == [str(key)]


#: Nobody is asked at import.
THEM = [Group(name="editors"), User.objects.filter(is_staff=True)]


@pytest.mark.parametrize(
    "to", [None, 7, "7", uuid.uuid4(), [7, "8"], (7,), {7}, User(pk=7), lambda result: 7, *THEM, [THEM[0], 7]]
)
def test_what_can_name_somebody_passes_at_import(to: Any) -> None:
    refuse_wrong_audience(to)


# --- groups, querysets ---------------------------------------------------------------------------------------------


@pytest.fixture
def staff(db: None) -> list[str]:
    """Ada and Bob edit; Cem did, and is not active any more; Dan does something else. Return the keys of the first two."""
    editors = Group.objects.create(name="editors")
    Group.objects.create(name="empty")
    ada, bob, cem, dan = (User.objects.create_user(name, is_staff=True) for name in ("ada", "bob", "cem", "dan"))
    editors.user_set.add(ada, bob, cem)
    User.objects.filter(pk=cem.pk).update(is_active=False)
    User.objects.filter(pk=dan.pk).update(is_staff=False)
    return [str(ada.pk), str(bob.pk)]


def test_a_group_that_is_not_there_is_an_error_that_names_it(db: None) -> None:
    with pytest.raises(LookupError, match="'nobody'"):
        members_of("nobody")(None)


def test_a_group_is_its_active_members_not_the_user_with_its_key(staff: list[str]) -> None:
    editors, empty = Group.objects.get(name="editors"), Group.objects.get(name="empty")
    assert sorted(listeners(editors, asker="3")) == staff
    assert listeners(empty, asker="3") == []
    assert sorted(listeners([editors, staff[0], editors, 99], asker="3")) == sorted([*staff, "99"])


def test_a_schedule_that_names_nobody_else_tells_its_user_and_its_group(staff: list[str]) -> None:
    assert sorted(listeners(None, asker=None, group="editors")) == staff
    assert listeners(None, asker=staff[1], group="editors") == [staff[1], staff[0]]
    assert listeners("99", asker=None, group="editors") == ["99"]
    with pytest.raises(LookupError, match="'nobody'"):
        listeners(None, asker="3", group="nobody")


def test_members_are_those_of_the_moment(staff: list[str]) -> None:
    to = members_of("editors")
    refuse_wrong_audience(to)
    assert sorted(to(None)) == staff
    User.objects.get(pk=staff[0]).groups.clear()
    assert sorted(to(None)) == staff[1:]


def test_a_user_model_whose_users_are_all_active_has_groups_too(
    staff: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audience, "_has_field", lambda name: False)
    assert len(listeners(Group.objects.get(name="editors"), asker=None)) == 3


def test_a_queryset_of_users_is_asked_anew_each_time(staff: list[str]) -> None:
    to = User.objects.filter(is_staff=True, is_active=True)
    refuse_wrong_audience(to)
    assert sorted(listeners(to, asker="3")) == staff
    User.objects.filter(pk=staff[0]).update(is_staff=False)
    assert sorted(listeners(to, asker="3")) == staff[1:]


def test_only_the_keys_of_a_queryset_are_fetched(staff: list[str], django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1) as seen:
        listeners(User.objects.all(), asker="3")
    assert "password" not in seen.captured_queries[0]["sql"]


# --- tenants ----------------------------------------------------------------------------------------------------------


async def later(result: Any) -> str:
    return "a"


@pytest.mark.parametrize("tenant", ["", 7, str, later, ["a"]])
def test_what_is_no_tenant_is_refused(tenant: Any) -> None:
    with pytest.raises(TypeError, match="tenant"):
        refuse_wrong_tenant(tenant)


def test_the_tenant_is_that_of_who_asked_unless_the_rule_says_another() -> None:
    result = result_of(jobs.tell_both)
    assert tenant_for(None, result) is None
    with asking(lambda: Context(user="7", tenant="a")):
        assert tenant_for(None, result) == "a"
        assert tenant_for("b", result) == "b"
        assert tenant_for(lambda result: result.id, result) == result.id
        assert tenant_for(lambda result: 7, result) == "7"  # type: ignore[arg-type, return-value]
        assert tenant_for(lambda result: None, result) is None
    for tenant in (None, "b", lambda result: "b"):
        refuse_wrong_tenant(tenant)
