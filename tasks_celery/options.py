"""Both. What ``TASKS[alias]["OPTIONS"]`` says, parsed once into one typed value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import inf
from typing import Any

from tasks_celery.exceptions import OptionsError

STORE_SCHEMES = ("redis", "rediss", "unix", "redis+socket", "socket", "memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of one ``TASKS`` alias.

    `app` is the dotted path of the Celery app, None to find the project's own. `results` is the URL
    of the store of task results, None to find one in the Celery configuration. `timeout` is how many
    seconds the store may take to connect or to answer. `key_prefix` comes before each of its keys.
    """

    app: str | None = None
    results: str | None = None
    timeout: float = 5.0
    key_prefix: str = "tasks_celery:"


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
    timeout = options.timeout
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < inf:
        raise _wrong(alias, "timeout", options.timeout, "a number of seconds above 0")
    if options.results and options.results.partition(":")[0] not in STORE_SCHEMES:
        schemes = ", ".join(f"{scheme}://" for scheme in STORE_SCHEMES)
        raise _wrong(alias, "results", options.results.partition(":")[0], f"a URL that starts with one of {schemes}")


def _wrong(alias: str, name: str, value: object, wanted: str) -> OptionsError:
    return OptionsError(f"TASKS[{alias!r}]['OPTIONS'][{name.upper()!r}] is {value!r}; it has to be {wanted}.")
