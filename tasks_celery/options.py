"""Both. What ``TASKS[alias]["OPTIONS"]`` says, parsed once into one typed value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import inf
from typing import Any

from tasks_celery.exceptions import OptionsError

#: Where Celery's own URLs lead that records can rest beside its results or messages.
CELERY_SCHEMES = ("redis", "rediss", "unix", "redis+socket", "socket", "memory")
STORE_SCHEMES = (*CELERY_SCHEMES, "database")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of one ``TASKS`` alias.

    `app` is the dotted path of the Celery app, None to find the project's own. `results` is the URL
    of the store of task results, None to find one in the Celery configuration. `timeout` is within how many
    seconds `enqueue` and `get_result` end, whatever the broker and the store do. `key_prefix` comes before each
    key of the store.

    The sweeper's are seconds too. A worker that has not renewed its `lease` for so long is taken for dead. A task that
    should have reached a worker is given `grace` before its message is taken for lost. Each worker and beat
    looks for such tasks `sweep_every` so often; None leaves it to ``manage.py sweep_tasks``.
    """

    app: str | None = None
    results: str | None = None
    timeout: float = 5.0
    key_prefix: str = "tasks_celery:"
    lease: float = 30.0
    grace: float = 60.0
    sweep_every: float | None = 15.0


def parse_options(alias: str, raw: Mapping[str, Any]) -> Options:
    """Return the options of `alias`; keys are upper-case in settings, as Django's are.

    Raise OptionsError for a key that is not known or a value of the wrong kind, naming it.
    """
    known = {field.name.upper(): field.name for field in fields(Options)}
    unknown = sorted(set(raw) - set(known), key=str)
    if unknown:
        raise OptionsError(
            f"TASKS[{alias!r}]['OPTIONS'] has unknown keys: {', '.join(map(repr, unknown))}. "
            f"Known keys: {', '.join(sorted(known))}."
        )
    options = Options(**{known[key]: value for key, value in raw.items()})
    _refuse_wrong_kinds(alias, options)
    return options


def _refuse_wrong_kinds(alias: str, options: Options) -> None:
    for name in ("app", "results"):
        value = getattr(options, name)
        if value is not None and not (isinstance(value, str) and value):
            raise _wrong(alias, name, value, "a text, or to be left out")
    if not isinstance(options.key_prefix, str):
        raise _wrong(alias, "key_prefix", options.key_prefix, "a text")
    for name in ("timeout", "lease", "grace"):
        if not _is_duration(getattr(options, name)):
            raise _wrong(alias, name, getattr(options, name), "a number of seconds above 0")
    if options.sweep_every is not None and not _is_duration(options.sweep_every):
        raise _wrong(alias, "sweep_every", options.sweep_every, "a number of seconds above 0, or None for never")
    if options.results and options.results.partition(":")[0] not in STORE_SCHEMES:
        schemes = ", ".join(f"{scheme}://" for scheme in STORE_SCHEMES)
        raise _wrong(alias, "results", options.results.partition(":")[0], f"a URL that starts with one of {schemes}")


def _is_duration(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < inf


def _wrong(alias: str, name: str, value: object, wanted: str) -> OptionsError:
    return OptionsError(f"TASKS[{alias!r}]['OPTIONS'][{name.upper()!r}] is {value!r}; it has to be {wanted}.")
