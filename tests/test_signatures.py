"""What a task's function takes, as who enqueues it gives it."""

from __future__ import annotations

from typing import Any

import pytest

from tasks_celery.signatures import misfit, signature_of


def report(year: int, month: int = 1, *, title: str) -> None: ...


def told(context: Any, year: int) -> None: ...


@pytest.mark.parametrize(
    ("args", "kwargs", "why"),
    [
        ([], {"title": "x"}, "missing a required argument: 'year'"),
        ([1], {}, "missing a required argument: 'title'"),
        ([1, 2, 3], {"title": "x"}, "too many positional arguments"),
        ([1], {"title": "x", "day": 3}, "got an unexpected keyword argument 'day'"),
        ([1], {"title": "x", "year": 3}, "multiple values for argument 'year'"),
    ],
)
def test_what_does_not_fit_is_told_with_the_signature(args: list[Any], kwargs: dict[str, Any], why: str) -> None:
    text = misfit(report, False, args, kwargs)
    assert text is not None
    assert why in text
    assert "it takes (year: int, month: int = 1, *, title: str)" in text


def test_what_fits_is_no_misfit() -> None:
    assert misfit(report, False, [1], {"title": "x"}) is None
    assert misfit(report, False, [1, 2], {"title": "x"}) is None


def test_the_context_is_not_for_who_enqueues() -> None:
    assert list(signature_of(told, True).parameters) == ["year"]
    assert misfit(told, True, [2026], {}) is None
    assert misfit(told, True, [None, 2026], {}) is not None
    assert misfit(told, False, [None, 2026], {}) is None
