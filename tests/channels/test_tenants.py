from __future__ import annotations

from typing import Any

import pytest

from tasks_celery.channels.tenants import tenant_of


def named(source: Any) -> Any:
    return source["tenant"]


@pytest.mark.parametrize("path", ["no.such.function", f"{__name__}.nothing"])
def test_a_function_that_is_not_there_is_an_error(settings: Any, path: str) -> None:
    settings.TASK_EVENTS = {"TENANT": path}
    with pytest.raises(ImportError):
        tenant_of({})


def test_what_the_function_raises_is_not_taken_for_no_tenant(settings: Any) -> None:
    settings.TASK_EVENTS = {"TENANT": f"{__name__}.named"}
    with pytest.raises(KeyError):
        tenant_of({})


def test_without_a_function_there_are_no_tenants(settings: Any) -> None:
    settings.TASK_EVENTS = {}
    assert tenant_of({"tenant": "a"}) is None


def test_a_tenant_is_text_or_none(settings: Any) -> None:
    settings.TASK_EVENTS = {"TENANT": f"{__name__}.named"}
    assert tenant_of({"tenant": "a"}) == "a"
    assert tenant_of({"tenant": 7}) == "7"
    assert tenant_of({"tenant": None}) is None
