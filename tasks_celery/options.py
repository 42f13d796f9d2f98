"""Both. What ``TASKS[alias]["OPTIONS"]`` says, parsed once into one typed value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import inf
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS

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

    `move_every` is how often, in seconds, each worker and beat looks for tasks that are due (`run_after`); None for never,
    where other processes do. `delayed_delivery` leaves `run_after` to RabbitMQ where Celery can: for quorum queues
    and topic exchanges. `enqueue_on_commit` sends as the transaction commits that a task is enqueued in:
    True for the default database, or the alias of another.
    """

    app: str | None = None
    results: str | None = None
    timeout: float = 5.0
    key_prefix: str = "tasks_celery:"
    lease: float = 30.0
    grace: float = 60.0
    sweep_every: float | None = 15.0
    move_every: float | None = 0.5
    delayed_delivery: bool = False
    enqueue_on_commit: bool | str = False


def parse_options(alias: str, raw: Mapping[str, Any], *, beside: Mapping[str, Any] | None = None) -> Options:
    """Return the options of `alias`; keys are upper-case in settings, as Django's are.

    `beside` is what stands beside OPTIONS: ENQUEUE_ON_COMMIT may, where django-tasks had it.
    Raise OptionsError for a key that is not known or a value of the wrong kind, naming it.
    """
    raw = _with_those_beside(alias, raw, beside or {})
    options = Options(**values_in(raw, Options, setting=f"TASKS[{alias!r}]['OPTIONS']"))
    _refuse_wrong_kinds(alias, options)
    return options


def _with_those_beside(alias: str, raw: Mapping[str, Any], beside: Mapping[str, Any]) -> Mapping[str, Any]:
    found = {name: beside[name] for name in ("ENQUEUE_ON_COMMIT",) if name in beside}
    for name in set(found) & set(raw):
        raise OptionsError(f"TASKS[{alias!r}] has {name} twice: in OPTIONS and beside it. Leave one of them out.")
    return {**raw, **found}


def _refuse_wrong_kinds(alias: str, options: Options) -> None:
    for name in ("app", "results"):
        value = getattr(options, name)
        if value is not None and not (isinstance(value, str) and value):
            raise _wrong(alias, name, value, "a text, or to be left out")
    if not isinstance(options.key_prefix, str):
        raise _wrong(alias, "key_prefix", options.key_prefix, "a text")
    for name in ("timeout", "lease", "grace"):
        if not is_duration(getattr(options, name)):
            raise _wrong(alias, name, getattr(options, name), "a number of seconds above 0")
    for name in ("sweep_every", "move_every"):
        value = getattr(options, name)
        if value is not None and not is_duration(value):
            raise _wrong(alias, name, value, "a number of seconds above 0, or None for never")
    if not isinstance(options.delayed_delivery, bool):
        raise _wrong(alias, "delayed_delivery", options.delayed_delivery, "True or False")
    if not isinstance(options.enqueue_on_commit, bool) and options.enqueue_on_commit not in database_aliases():
        known = ", ".join(map(repr, database_aliases()))
        raise _wrong(
            alias, "enqueue_on_commit", options.enqueue_on_commit, f"True, False, or one of DATABASES: {known}"
        )
    if options.results and options.results.partition(":")[0] not in STORE_SCHEMES:
        schemes = ", ".join(f"{scheme}://" for scheme in STORE_SCHEMES)
        raise _wrong(alias, "results", options.results.partition(":")[0], f"a URL that starts with one of {schemes}")


def database_aliases() -> list[str]:
    """Return the aliases of DATABASES; Django has a default one where the project names none."""
    return sorted({DEFAULT_DB_ALIAS, *settings.DATABASES})


def values_in(raw: Mapping[str, Any], kind: type[Any], *, setting: str) -> dict[str, Any]:
    """Return what a dict of the settings says for the fields of a dataclass; its keys are their names in capitals.

    Raise OptionsError for a key that is none of them, naming the setting.
    """
    known = {field.name.upper(): field.name for field in fields(kind)}
    if unknown := sorted(set(raw) - set(known), key=str):
        raise OptionsError(
            f"{setting} has unknown keys: {', '.join(map(repr, unknown))}. Known keys: {', '.join(sorted(known))}."
        )
    return {known[key]: value for key, value in raw.items()}


def is_duration(value: object) -> bool:
    """Return whether a value is a number of seconds above 0."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < inf


def _wrong(alias: str, name: str, value: object, wanted: str) -> OptionsError:
    return OptionsError(f"TASKS[{alias!r}]['OPTIONS'][{name.upper()!r}] is {value!r}; it has to be {wanted}.")
