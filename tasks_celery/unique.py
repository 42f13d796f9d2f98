"""Web process. One task of a kind at a time: what makes two of them the same, and for how long the second is kept out.

Pure: the key is made here and kept by the stores. What the second is answered is in `conflict`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from inspect import Parameter, iscoroutinefunction
from math import inf
from typing import Any, Literal, get_args

from tasks_celery.exceptions import EnqueueError
from tasks_celery.moments import as_project
from tasks_celery.signatures import signature_of
from tasks_celery.stores.base import Until
from tasks_celery.values import as_json

OnConflict = Literal["return", "raise"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unique:
    """How a task is unique: a second one is not enqueued while the first one's key is kept.

    `key` makes the key of a call from its arguments: it is called as the task would be, without a context, and returns what
    JSON can hold; None takes the arguments themselves. It is kept `until` the first task starts, until it has finished (however
    it ends), or just for the time; `seconds` is that time, and in the other two cases the longest that the key is kept.
    Enqueueing a second one returns the result of the first, or raises AlreadyEnqueued.

    Raise TypeError or ValueError for what makes no sense.
    """

    key: Callable[..., Any] | None = None
    until: Until = "finish"
    seconds: float | None = None
    on_conflict: OnConflict = "return"

    def __post_init__(self) -> None:
        if self.key is not None and (not callable(self.key) or iscoroutinefunction(self.key)):
            raise TypeError(
                f"Unique(key={self.key!r}): it has to be a function of the task's arguments, and no coroutine."
            )
        _refuse_unknown("until", self.until, get_args(Until))
        _refuse_unknown("on_conflict", self.on_conflict, get_args(OnConflict))
        if self.seconds is not None and not _is_duration(self.seconds):
            raise ValueError(f"Unique(seconds={self.seconds!r}): it has to be a number of seconds above 0, or None.")
        if self.until == "time" and self.seconds is None:
            raise ValueError("Unique(until='time') needs the time: say how long with seconds=….")


def _refuse_unknown(name: str, value: object, known: Sequence[str]) -> None:
    if value not in known:
        raise ValueError(f"Unique({name}={value!r}): it has to be one of {', '.join(map(repr, known))}.")


def _is_duration(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < inf


#: What ``unique=True`` means.
BY_ARGUMENTS = Unique()


def unique_of(task: object) -> Unique | None:
    """Return how a task is unique, None for one that is not."""
    asked = getattr(getattr(task, "options", None), "unique", False)
    return BY_ARGUMENTS if asked is True else asked or None


def fields_of(task: Any, *, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a record says of its being unique: its fields that begin so, none for a task that is not.

    `name` is the name on the wire; the arguments are as JSON has them. Raise EnqueueError for a key function that raises or that
    returns what is no key.
    """
    unique = unique_of(task)
    if unique is None:
        return {}
    return {
        "unique": key_of(
            unique, name=name, function=task.func, takes_context=task.takes_context, args=args, kwargs=kwargs
        ),
        "unique_until": unique.until,
        "unique_expires": expires_of(unique),
    }


def expires_of(unique: Unique) -> datetime | None:
    """Return until when a key is kept at the longest that is taken now."""
    # Reckoned in UTC: a naive local time may skip an hour meanwhile, or have one twice.
    return as_project(datetime.now(UTC) + timedelta(seconds=unique.seconds)) if unique.seconds else None


def key_of(
    unique: Unique,
    *,
    name: str,
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    takes_context: bool = False,
) -> str:
    """Return the key of a call: 64 characters that tell nothing of the arguments, the same in every process.

    It does not matter whether an argument is given by its place or by its name, in which order, or left out where it is the
    function's default.
    """
    if unique.key is None:
        told: Any = ["arguments", _call(function, takes_context, args, kwargs)]
    else:
        told = ["key", _told_by(unique.key, name, args, kwargs)]
    text = json.dumps([name, *told], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _told_by(key: Callable[..., Any], name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    try:
        # Of copies: what is sent is the caller's arguments, whatever the function does to its own.
        told = as_json(key(*deepcopy(args), **deepcopy(dict(kwargs))))
    except Exception as error:  # the project's function, which may raise what it likes
        raise EnqueueError(
            f"The task {name} was not enqueued: the key function of its Unique raised {type(error).__name__}: {error}. "
            "It is called with the arguments of the task, and returns what JSON can hold."
        ) from error
    if told is None:
        raise EnqueueError(
            f"The task {name} was not enqueued: the key function of its Unique returned None, which would make all "
            "calls the same. Return a key, or any constant if that is what you want."
        )
    return told


def _call(function: Callable[..., Any], takes_context: bool, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Return a call's arguments by their names, without those that are the defaults; as they are where they do not fit."""
    known = signature_of(function, takes_context)
    try:
        bound = known.bind(*args, **kwargs).arguments
    except TypeError:  # it is enqueued all the same, and fails in the worker
        return [list(args), dict(kwargs)]
    return {name: value for name, value in bound.items() if not _is_default(known.parameters[name], value)}


def _is_default(parameter: Parameter, value: Any) -> bool:
    # By type too: 1, 1.0 and True are equal.
    return type(value) is type(parameter.default) and value == parameter.default
