"""When an entry of beat's is due, said as `tasks_celery.beat` says it. Pure."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from tasks_celery.beat.when import cron
from tasks_celery.exceptions import ScheduleError
from tasks_celery.migrate.source import Names, Place
from tasks_celery.migrate.source.plain import NOT_PLAIN
from tasks_celery.migrate.things.task_options import literal

#: In the order of Celery's own parameters.
_FIELDS = ("minute", "hour", "day_of_week", "day_of_month", "month_of_year")
_PERIODS = ("weeks", "days", "hours", "minutes", "seconds")


def when_of(names: Names, value: ast.expr, place: Place) -> tuple[str, str] | None:
    """Return what of `tasks_celery.beat` says the same, and its arguments as text; None where nothing does for certain."""
    number = literal(value)
    if isinstance(number, int | float) and not isinstance(number, bool):
        return ("every", f"seconds={ast.unparse(value)}") if number > 0 else None
    if not isinstance(value, ast.Call) or any(each.arg is None for each in value.keywords):
        return None
    called = names.origin(value.func, place)
    words = {str(each.arg): each.value for each in value.keywords}
    if called == "celery.schedules.crontab":
        return _crontab(value, words)
    if called == "datetime.timedelta":
        return _every(value, words)
    if called in ("celery.schedules.schedule", "celery.schedules.solar"):
        return _other(names, value, words, place)
    return None


def _crontab(call: ast.Call, words: Mapping[str, ast.expr]) -> tuple[str, str] | None:
    given = {**dict(zip(_FIELDS, call.args, strict=False)), **words}
    if len(call.args) > len(_FIELDS) or not given.keys() <= set(_FIELDS):
        return None
    said: dict[str, Any] = {name: literal(each) for name, each in given.items()}
    try:
        cron.texts(dict.fromkeys(_FIELDS, "*") | said)
    except (ScheduleError, TypeError):
        return None
    return "crontab", _written(given)


def _every(call: ast.Call, words: Mapping[str, ast.expr]) -> tuple[str, str] | None:
    given = {**dict(zip(("days", "seconds"), call.args, strict=False)), **words}
    numbers = [literal(each) for each in given.values()]
    if len(call.args) > 2 or not given or not given.keys() <= set(_PERIODS):
        return None
    if not all(isinstance(each, int | float) and each >= 0 for each in numbers) or not any(numbers):
        return None
    return "every", _written(given)


def _other(names: Names, call: ast.Call, words: Mapping[str, ast.expr], place: Place) -> tuple[str, str] | None:
    if names.origin(call.func, place) == "celery.schedules.solar":
        said = [literal(each) for each in call.args]
        known = len(said) == 3 and not words and NOT_PLAIN not in said
        return ("solar", ", ".join(map(ast.unparse, call.args))) if known else None
    given = [*call.args, *([words["run_every"]] if "run_every" in words else [])]
    return when_of(names, given[0], place) if len(given) == len(call.args) + len(words) == 1 else None


def _written(given: Mapping[str, ast.expr]) -> str:
    return ", ".join(f"{name}={ast.unparse(each)}" for name, each in given.items()).replace("'", '"')
