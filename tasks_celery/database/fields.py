"""Both. JSON as a text, because what goes in has to come back."""

from __future__ import annotations

import json
from typing import Any

from django.db import models


class JSONTextField(models.TextField):  # type: ignore[type-arg]  # generic in the stubs alone
    """Keeps any JSON value exactly: key order, long integers, floats, ``"\\0"`` and halves of surrogate pairs.

    PostgreSQL's jsonb refuses the last two, forgets the order of keys and turns 1e16 into an integer. To look into a
    value by SQL, cast it: ``Cast("kwargs", models.JSONField())``.
    """

    def get_prep_value(self, value: Any) -> Any:
        return value if hasattr(value, "resolve_expression") else json.dumps(value)

    def from_db_value(self, value: str | None, *args: Any) -> Any:
        return None if value is None else json.loads(value)

    def to_python(self, value: Any) -> Any:
        return value

    def value_to_string(self, obj: models.Model) -> Any:
        """Return what a fixture holds: the value itself, as `models.JSONField` does."""
        return self.value_from_object(obj)
