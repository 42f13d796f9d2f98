"""Both. Checks of the channel layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from django.core.checks import Error, Warning

from tasks_celery.channels.checks.reading import (
    Messages,
    config_of,
    has_separate_worker,
    is_from,
    is_in_memory,
    known_options,
    layers,
)

CORE = "channels_redis.core"
PUBSUB = "channels_redis.pubsub"
#: Seconds for which the core layer blocks in one read.
BLOCKS_FOR = 5


def layer_is_missing() -> Messages:
    alias = _alias()
    if alias is None or alias in layers():
        return
    if alias != "default":
        yield Error(
            f"TASK_EVENTS['LAYER'] is {alias!r}, which CHANNEL_LAYERS does not have, so events of tasks reach no browser.",
            hint=f"Add {alias!r} to CHANNEL_LAYERS, or name one of its aliases: {', '.join(map(repr, layers())) or 'none yet'}.",
            id="tasks_celery.E109",
        )
        return
    yield Error(
        "CHANNEL_LAYERS has no 'default', so events of tasks reach no browser.",
        hint="Set CHANNEL_LAYERS = {'default': {'BACKEND': 'channels_redis.core.RedisChannelLayer', 'CONFIG': "
        "{'hosts': [{'address': 'redis://localhost:6379/0', 'socket_timeout': None, 'max_connections': 5000}]}}}; or, "
        "for a project without Redis, TASK_EVENTS = {'LAYER': None}: pages are then served from the log of events alone.",
        id="tasks_celery.E101",
    )


def layer_stays_in_one_process() -> Messages:
    alias = _alias()
    if alias is None or not is_in_memory(layers().get(alias)) or not has_separate_worker():
        return
    yield Error(
        f"CHANNEL_LAYERS[{alias!r}] is the in-memory layer, and Celery's worker is another process: what it sends "
        "reaches no browser.",
        hint="Use channels_redis.core.RedisChannelLayer; the in-memory layer is for tests.",
        id="tasks_celery.E102",
    )


def core_layer_loses_idle_sockets() -> Messages:
    for where, options in _hosts_of_core_layers():
        if _redis_version() >= 8 and not _waits_long_enough(options):
            yield Error(
                f"{where} has no 'socket_timeout' above {BLOCKS_FOR} seconds. redis-py 8 stops reading after 5, as "
                f"long as the layer waits for a message, so every 5 seconds a WebSocket is closed.",
                hint=f"Set {where} = {{'address': …, 'socket_timeout': None, 'max_connections': 5000}}.",
                id="tasks_celery.E103",
            )


def core_layer_has_few_connections() -> Messages:
    for where, options in _hosts_of_core_layers():
        if _redis_version() >= 8 and "max_connections" not in options:
            yield Warning(
                f"{where} has no 'max_connections'. redis-py 8 allows 100, and a WebSocket that connects while all "
                f"are in use is refused.",
                hint=f"Set {where} = {{'address': …, 'socket_timeout': None, 'max_connections': 5000}}.",
                id="tasks_celery.W101",
            )


def pubsub_layer_is_shared() -> Messages:
    for alias, layer in layers().items():
        if is_from(PUBSUB, layer) and config_of(layer).get("prefix", "asgi") == "asgi":
            yield Warning(
                f"CHANNEL_LAYERS[{alias!r}] has the default prefix. Redis publishes to all its database numbers, so "
                f"every project on this server with the same prefix shares the layer's channels.",
                hint=f"Set CHANNEL_LAYERS[{alias!r}]['CONFIG']['prefix'] to a name of the project's own.",
                id="tasks_celery.W102",
            )


def _alias() -> str | None:
    """Return the alias of the layer that brings events; None where there is none, or TASK_EVENTS cannot be read."""
    known = known_options()
    return known.layer if known else None


def _hosts_of_core_layers() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield where each host of each core layer stands in the settings, and the options of its connections."""
    for alias, layer in layers().items():
        if is_from(CORE, layer):
            for number, host in enumerate(_hosts_of(layer)):
                yield f"CHANNEL_LAYERS[{alias!r}]['CONFIG']['hosts'][{number}]", _options_of(host)


def _hosts_of(layer: Any) -> list[Any]:
    hosts = config_of(layer).get("hosts")
    if isinstance(hosts, list | tuple) and hosts:
        return list(hosts)
    # None at all is channels_redis' own localhost; a single text is a mistake that it reports itself.
    return ["redis://localhost:6379"] if not hosts else [hosts]


def _options_of(host: Any) -> dict[str, Any]:
    """Return the options of a host that is a URL, a pair of host and port, or a dict of options."""
    options = dict(host) if isinstance(host, Mapping) else {}
    address = options.get("address", host)
    if isinstance(address, str):
        # What a URL says wins, as in redis-py.
        options |= dict(parse_qsl(_query_of(address)))
    return options


def _query_of(address: str) -> str:
    try:
        return urlsplit(address).query
    except ValueError:
        return ""


def _waits_long_enough(options: Mapping[str, Any]) -> bool:
    if "socket_timeout" not in options:
        return False
    seconds = options["socket_timeout"]
    try:
        return seconds is None or float(seconds) > BLOCKS_FOR
    except (TypeError, ValueError):
        return False


def _redis_version() -> int:
    try:
        return int(version("redis").partition(".")[0])
    except (PackageNotFoundError, ValueError):
        return 0
