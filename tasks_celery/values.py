"""Both. What JSON can hold: arguments and return values as every reader will have them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tasks_celery.compat import normalize_json


def as_json(value: Any) -> Any:
    """Return `value` as every reader will have it: normalised by Django, and keys that are numbers made texts.

    Raise TypeError or ValueError for what JSON cannot hold.
    """
    return json.loads(json.dumps(normalize_json(value)))


def jsonable(value: Any) -> Any:
    """Return `value` as JSON can hold it; what Django refuses (dates, say, of plain Celery calls) as its text."""
    try:
        return normalize_json(value)
    except (TypeError, ValueError):
        if isinstance(value, Mapping):
            return {str(key): jsonable(item) for key, item in value.items()}
        return [jsonable(item) for item in value] if isinstance(value, list | tuple) else str(value)
