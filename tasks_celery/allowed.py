"""Both. What the options of a task may be, and what is said of a value that they may not. Pure, but for DATABASES."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from math import isfinite
from typing import TYPE_CHECKING, Any

from asgiref.sync import iscoroutinefunction
from celery.utils.time import rate
from django.conf import settings
from django.utils import timezone
from kombu import compression

from tasks_celery.unique import Unique

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclass(frozen=True, slots=True)
class _Rule:
    """What an option may be: `kind` tells values of the right kind, `fits` those of them that can be used."""

    wanted: str
    kind: Callable[[Any], bool]
    fits: Callable[[Any], bool] = lambda value: True


def refuse(where: str, options: DataclassInstance) -> None:
    """Raise TypeError for an option of the wrong kind, ValueError for one that cannot be used, saying what may be."""
    for option in fields(options):
        value, rule = getattr(options, option.name), _RULES.get((where, option.name)) or _RULES["task", option.name]
        if value == option.default and type(value) is type(option.default):
            continue
        message = f"{where}({option.name}={value!r}): it has to be {rule.wanted}."
        if not rule.kind(value):
            raise TypeError(message)
        if not rule.fits(value):
            raise ValueError(message)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_positive(value: float) -> bool:
    return isfinite(value) and value > 0


def _is_not_negative(value: float) -> bool:
    return isfinite(value) and value >= 0


def _is_selection(value: object) -> bool:
    return isinstance(value, tuple) and all(
        issubclass(each, BaseException) if isinstance(each, type) else callable(each) and not iscoroutinefunction(each)
        for each in value
    )


def _can_wait(value: Any) -> bool:
    return callable(value) or _is_not_negative(value)


def _is_rate(value: Any) -> bool:
    try:
        return _is_not_negative(rate(value))
    except (KeyError, ValueError):  # what Celery's parser raises for a unit and a number that it cannot read
        return False


def _compresses(value: str) -> bool:
    try:
        return bool(compression.get_encoder(value))
    except KeyError:
        return False


def _are_names(value: tuple[str, ...]) -> bool:
    return all(value) and len(set(value)) == len(value)


def _is_alias(value: bool | str) -> bool:
    return isinstance(value, bool) or value in settings.DATABASES


def _is_moment_or_positive(value: float | datetime) -> bool:
    return not timezone.is_naive(value) if isinstance(value, datetime) else _is_positive(value)


_SECONDS = _Rule("a number of seconds above 0", _is_number, _is_positive)
_FLAG = _Rule("True or False", _is_flag)
_UNIQUE = _Rule("True, False, or a Unique(…)", lambda value: isinstance(value, bool | Unique))
_SELECTION = _Rule(
    "a tuple of exception classes, and of functions that take an exception and return whether it is meant",
    _is_selection,
)
_DATABASE = _Rule(
    "True, False, or the alias of one of DATABASES", lambda value: isinstance(value, bool | str), _is_alias
)
_RULES: Mapping[tuple[str, str], _Rule] = {
    ("task", "name"): _Rule("a text", _is_text, bool),
    ("task", "autoretry_for"): _SELECTION,
    ("task", "dont_autoretry_for"): _SELECTION,
    ("task", "max_retries"): _Rule(
        "a whole number from 0 on, or None for retries without end",
        lambda value: value is None or _is_whole(value),
        lambda value: value is None or value >= 0,
    ),
    ("task", "default_retry_delay"): _Rule("a number of seconds from 0 on", _is_number, _is_not_negative),
    ("task", "retry_backoff"): _Rule(
        "True, False, a number of seconds, or a function of the exception and the number of retries",
        lambda value: isinstance(value, int | float) or (callable(value) and not iscoroutinefunction(value)),
        _can_wait,
    ),
    ("task", "retry_backoff_max"): _SECONDS,
    ("task", "retry_jitter"): _FLAG,
    ("task", "rate_limit"): _Rule(
        "a number of runs per second, or a text such as '10/s', '10/m' or '10/h'",
        lambda value: _is_number(value) or _is_text(value),
        _is_rate,
    ),
    ("task", "time_limit"): _SECONDS,
    ("task", "soft_time_limit"): _SECONDS,
    ("task", "expires"): _Rule("a number of seconds above 0, or a timedelta", _is_number, _is_positive),
    ("task", "acks_late"): _FLAG,
    ("task", "reject_on_worker_lost"): _FLAG,
    ("task", "ignore_result"): _FLAG,
    ("task", "compression"): _Rule(
        f"one of {', '.join(sorted(compression.encoders()))}, or its short name, as 'gzip' is",
        _is_text,
        _compresses,
    ),
    ("task", "aliases"): _Rule(
        "a tuple of other names, each only once",
        lambda value: isinstance(value, tuple) and all(map(_is_text, value)),
        _are_names,
    ),
    ("task", "enqueue_on_commit"): _DATABASE,
    ("task", "atomic"): _DATABASE,
    ("task", "unique"): _UNIQUE,
    ("using", "expires"): _Rule(
        "a number of seconds above 0, a timedelta, or a datetime (an aware one where USE_TZ is on)",
        lambda value: _is_number(value) or isinstance(value, datetime),
        _is_moment_or_positive,
    ),
}
