"""Both. What ``TASK_EVENTS`` says, parsed once into one typed value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any

from django.conf import settings

from tasks_celery.exceptions import OptionsError
from tasks_celery.options import is_duration, values_in

LOG_SCHEMES = ("redis", "rediss", "unix", "redis+socket", "socket", "database", "memory", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelOptions:
    """What the tasks of a channel ask for, as `using` takes it; None leaves a thing to the task."""

    backend: str | None = None
    queue_name: str | None = None
    priority: int | None = None
    expires: float | timedelta | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    ignore_result: bool | None = None

    def asked_for(self) -> dict[str, Any]:
        """Return what is asked for, as arguments of `using`."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class EventOptions:
    """How events are kept and brought to the pages.

    `log` is the URL of where they are kept: ``redis://…``, ``database://`` or ``database://alias``, ``none://`` for nowhere;
    None for where the records of tasks are. Of each user's events the last `keep` stay, and none for longer
    than `keep_for` seconds (a timedelta in the settings will do). `key_prefix` comes before each key in Redis.

    `layer` is the alias in CHANNEL_LAYERS, None for pages that are served from the log alone, which is looked at every
    `poll_every` seconds then. `deadline` is for how many seconds one event may make a task wait. Every `check_every`
    seconds, give or take a third, a socket's position and session are looked at.

    `tenant` is the dotted path of a function that tells, for a request or an ASGI scope, in which tenant it is.
    `old_group` is the name of the group, with ``{user}`` in it, that hears of every event too while a project moves over;
    `old_message` the dotted path of a function that makes the message of an event for it. `channels` is what the tasks
    ask for that events for workers become, by the channel's name or a pattern of names; the first that fits counts.
    """

    log: str | None = None
    keep: int = 1_000
    keep_for: float = 7 * 24 * 3600.0
    key_prefix: str = "tasks_celery:"
    layer: str | None = "default"
    deadline: float = 2.0
    check_every: float = 30.0
    poll_every: float = 1.5
    tenant: str | None = None
    old_group: str | None = None
    old_message: str | None = None
    channels: Mapping[str, ChannelOptions] = field(default_factory=dict, hash=False)  # logs are kept by their options


def event_options() -> EventOptions:
    """Return what ``TASK_EVENTS`` says; raise OptionsError for what it may not say."""
    global _known  # noqa: PLW0603
    raw = getattr(settings, "TASK_EVENTS", _NOTHING)
    known = _known
    if known is None or known[0] is not raw:
        known = _known = raw, parse_event_options(raw)
    return known[1]


def channel_options(channel: str) -> ChannelOptions:
    """Return what ``TASK_EVENTS["CHANNELS"]`` says of a channel; raise OptionsError as `event_options` does."""
    known = event_options().channels
    return next((known[pattern] for pattern in known if fnmatchcase(channel, pattern)), ChannelOptions())


_NOTHING: Mapping[str, Any] = {}
#: What was parsed last: it is asked for with every event.
_known: tuple[object, EventOptions] | None = None


def parse_event_options(raw: Any) -> EventOptions:
    """Return the options that a dict says; keys are upper-case, as Django's are.

    Raise OptionsError for a key that is not known or a value of the wrong kind, naming it.
    """
    if not isinstance(raw, Mapping):
        raise OptionsError(f"TASK_EVENTS is {raw!r}; it has to be a dict, such as {{'KEEP': 1000}}.")
    values = values_in(raw, EventOptions, setting="TASK_EVENTS")
    if isinstance(values.get("keep_for"), timedelta):
        values["keep_for"] = values["keep_for"].total_seconds()
    values["channels"] = _channels_in(values.get("channels", {}))
    options = EventOptions(**values)
    _refuse_wrong_kinds(options)
    return options


def _channels_in(raw: object) -> dict[str, ChannelOptions]:
    if not isinstance(raw, Mapping):
        raise _wrong("channels", raw, "a dict of dicts, such as {'thumbnails-*': {'QUEUE_NAME': 'thumbnails'}}")
    return {pattern: _channel_in(pattern, asked) for pattern, asked in raw.items()}


def _channel_in(pattern: object, asked: object) -> ChannelOptions:
    if not isinstance(pattern, str) or not isinstance(asked, Mapping):
        raise _wrong(
            "channels", {pattern: asked}, "a name, or a pattern of names, and a dict: {'QUEUE_NAME': 'thumbnails'}"
        )
    return ChannelOptions(**values_in(asked, ChannelOptions, setting=f"TASK_EVENTS['CHANNELS'][{pattern!r}]"))


def _refuse_wrong_kinds(options: EventOptions) -> None:
    for name in ("log", "layer", "tenant", "old_group", "old_message"):
        value = getattr(options, name)
        if value is not None and not (isinstance(value, str) and value):
            raise _wrong(name, value, "a text, or None")
    if not isinstance(options.key_prefix, str):
        raise _wrong("key_prefix", options.key_prefix, "a text")
    if not isinstance(options.keep, int) or isinstance(options.keep, bool) or options.keep < 1:
        raise _wrong("keep", options.keep, "a whole number of events, 1 or more")
    for name in ("keep_for", "deadline", "check_every", "poll_every"):
        if not is_duration(getattr(options, name)):
            raise _wrong(name, getattr(options, name), "a number of seconds above 0")
    if options.log and options.log.partition(":")[0] not in LOG_SCHEMES:
        schemes = ", ".join(f"{scheme}://" for scheme in LOG_SCHEMES)
        raise _wrong("log", options.log.partition(":")[0], f"a URL that starts with one of {schemes}")
    if options.old_group and "{user}" not in options.old_group:
        raise _wrong("old_group", options.old_group, "the name of a group with {user} in it, such as 'user_{user}'")


def _wrong(name: str, value: object, wanted: str) -> OptionsError:
    return OptionsError(f"TASK_EVENTS[{name.upper()!r}] is {value!r}; it has to be {wanted}.")
