"""What JSON can hold, and what becomes of the rest."""

from __future__ import annotations

from typing import Any

import pytest

from tasks_celery.values import jsonable
from tests.stores.cases import WHEN


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ((1, b"x"), [1, "x"]),
        (WHEN, str(WHEN)),
        ([WHEN, {1: WHEN}], [str(WHEN), {"1": str(WHEN)}]),
        ({"a": (object, 1)}, {"a": [str(object), 1]}),
        (b"\xff", str(b"\xff")),
        (None, None),
    ],
    ids=ascii,
)
def test_what_json_cannot_hold_is_kept_as_text(value: Any, text: Any) -> None:
    assert jsonable(value) == text
