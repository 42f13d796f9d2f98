from __future__ import annotations

import uuid
from typing import Any

import pytest

from tasks_celery.channels.groups import group_name


@pytest.mark.parametrize("user", ["7", str(uuid.uuid4()), "a\nb", "x" * 500, "größe", "1|2", ""])
def test_any_key_gives_a_name_that_channels_takes(user: str) -> None:
    layers = pytest.importorskip("channels.layers")
    name = group_name(user)
    assert layers.BaseChannelLayer().require_valid_group_name(name)
    assert len(name) == len("tc.") + 32


def test_the_name_is_the_same_in_every_process_and_shows_nothing_of_the_key() -> None:
    assert group_name("ada@example.org") == group_name("ada@example.org")
    assert "ada" not in group_name("ada@example.org")


def test_another_user_project_or_user_model_has_another_name(settings: Any) -> None:
    names = {group_name("7"), group_name("8")}
    settings.SECRET_KEY = "another project"
    names.add(group_name("7"))
    settings.AUTH_USER_MODEL = "shop.Customer"
    names.add(group_name("7"))
    assert len(names) == 4


def test_each_tenant_has_names_of_its_own_and_no_trick_makes_two_the_same() -> None:
    pairs = [("7", None), ("7", "a"), ("7", "b"), ("8", "a"), ("7", ""), ('7", "a', None), ("7,a", None), ("a", "7")]
    assert len({group_name(user, tenant) for user, tenant in pairs}) == len(pairs)
