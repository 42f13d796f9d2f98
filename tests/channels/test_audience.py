from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import ValidationError

from tasks_celery.channels.audience import listeners, refuse_wrong_audience


@pytest.mark.parametrize("to", [1.5, True, b"7", {"user": 7}, object(), [object()], User])
def test_what_is_no_user_is_refused(to: Any) -> None:
    with pytest.raises(TypeError, match="primary key"):
        listeners(to, asker="3")


def test_a_key_of_the_wrong_kind_is_refused() -> None:
    with pytest.raises(ValidationError):
        listeners("not a number", asker="3")


@pytest.mark.parametrize("to", [AnonymousUser(), [AnonymousUser(), None], User(), []])
def test_nobody_is_nobody_and_never_who_asked(to: Any) -> None:
    assert listeners(to, asker="3") == []


def test_by_default_it_is_who_asked() -> None:
    assert listeners(None, asker="3") == ["3"]
    assert listeners(None, asker=None) == []


@pytest.mark.parametrize("to", [7, "7", "07", User(pk=7), [7], (7, "7", User(pk=7)), {7}, iter([7])])
def test_a_key_its_text_and_its_user_are_one_listener(to: Any) -> None:
    assert listeners(to, asker="3") == ["7"]


def test_several_listeners_keep_their_order() -> None:
    assert listeners([9, User(pk=7), None, 8], asker="3") == ["9", "7", "8"]


def test_each_spelling_of_a_uuid_is_the_same_key(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import models

    monkeypatch.setattr(User._meta, "pk", models.UUIDField(primary_key=True))
    key = uuid.UUID("0b1c0b1c-0b1c-4b1c-8b1c-0b1c0b1c0b1c")
    assert listeners([key, key.hex, str(key), str(key).upper()], asker=None) == [str(key)]


@pytest.mark.parametrize("to", [None, 7, "7", uuid.uuid4(), [7, "8"], (7,), {7}, User(pk=7), lambda result: 7])
def test_what_can_name_somebody_passes_at_import(to: Any) -> None:
    refuse_wrong_audience(to)
