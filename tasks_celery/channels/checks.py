"""Both. What ``manage.py check`` says of the way from a task to a page: one function per message, with its fix.

A check connects nowhere and never raises: what it cannot read, such as a layer that cannot be imported, it leaves to
Channels to complain about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.core import checks
from django.core.checks import CheckMessage, Error, Warning
from django.utils.module_loading import import_string

from tasks_celery.backend import CeleryBackend
from tasks_celery.channels.middleware import AudienceMiddleware
from tasks_celery.channels.notify import known_rules
from tasks_celery.compat import InvalidTaskBackend, task_backends
from tasks_celery.exceptions import TasksCeleryError

CORE = "channels_redis.core"
PUBSUB = "channels_redis.pubsub"
IN_MEMORY = "InMemoryChannelLayer"
#: Seconds for which the core layer blocks in one read.
BLOCKS_FOR = 5

Messages = Iterator[CheckMessage]


def register() -> None:
    """Register the checks with Django."""
    checks.register(check_channels)


def check_channels(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Return what is wrong with the channel layers and the middleware."""
    each: tuple[Callable[[], Messages], ...] = (
        layer_is_missing,
        layer_stays_in_one_process,
        core_layer_loses_idle_sockets,
        core_layer_has_few_connections,
        pubsub_layer_is_shared,
        middleware_is_missing,
        middleware_comes_too_early,
    )
    return [message for check in each for message in check()]


def layer_is_missing() -> Messages:
    if "default" in _layers():
        return
    yield Error(
        "CHANNEL_LAYERS has no 'default', so events of tasks reach no browser.",
        hint="Set CHANNEL_LAYERS = {'default': {'BACKEND': 'channels_redis.core.RedisChannelLayer', 'CONFIG': "
        "{'hosts': [{'address': 'redis://localhost:6379/0', 'socket_timeout': None, 'max_connections': 5000}]}}}.",
        id="tasks_celery.E101",
    )


def layer_stays_in_one_process() -> Messages:
    if not _is_in_memory(_layers().get("default")) or not _has_separate_worker():
        return
    yield Error(
        "CHANNEL_LAYERS['default'] is the in-memory layer, and Celery's worker is another process: what it sends "
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
    for alias, layer in _layers().items():
        if _is_from(PUBSUB, layer) and _config_of(layer).get("prefix", "asgi") == "asgi":
            yield Warning(
                f"CHANNEL_LAYERS[{alias!r}] has the default prefix. Redis publishes to all its database numbers, so "
                f"every project on this server with the same prefix shares the layer's channels.",
                hint=f"Set CHANNEL_LAYERS[{alias!r}]['CONFIG']['prefix'] to a name of the project's own.",
                id="tasks_celery.W102",
            )


def middleware_is_missing() -> Messages:
    rules = known_rules()
    all_name_their_audience = rules and all(rule.to is not None for rule in rules)
    if all_name_their_audience or _position_of(AudienceMiddleware) is not None:
        return
    yield Warning(
        "MIDDLEWARE does not have AudienceMiddleware, so nobody is remembered as the one who asked for a task, "
        "and a @notify without `to` tells nobody.",
        hint="Add 'tasks_celery.channels.middleware.AudienceMiddleware' to MIDDLEWARE, after AuthenticationMiddleware.",
        id="tasks_celery.W103",
    )


def middleware_comes_too_early() -> Messages:
    ours, auth = _position_of(AudienceMiddleware), _position_of(AuthenticationMiddleware)
    if ours is None or auth is None or ours > auth:
        return
    yield Error(
        "MIDDLEWARE has AudienceMiddleware before AuthenticationMiddleware, and signing somebody in comes after "
        "what needs it.",
        hint="Move 'tasks_celery.channels.middleware.AudienceMiddleware' below AuthenticationMiddleware.",
        id="tasks_celery.E104",
    )


# --- reading the settings, whatever is in them --------------------------------------------------------------------


def _layers() -> dict[str, Any]:
    layers = getattr(settings, "CHANNEL_LAYERS", None)
    return dict(layers) if isinstance(layers, Mapping) else {}


def _config_of(layer: Any) -> Mapping[str, Any]:
    config = layer.get("CONFIG") if isinstance(layer, Mapping) else None
    return config if isinstance(config, Mapping) else {}


def _is_from(module: str, layer: Any) -> bool:
    """Whether the layer's class, or one that it is based on, is from `module`."""
    return any(base.__module__ == module for base in _bases(layer))


def _is_in_memory(layer: Any) -> bool:
    return any(base.__module__ == "channels.layers" and base.__name__ == IN_MEMORY for base in _bases(layer))


def _bases(layer: Any) -> tuple[type, ...]:
    found = _imported(layer.get("BACKEND") if isinstance(layer, Mapping) else None)
    return found.__mro__ if isinstance(found, type) else ()


def _imported(path: object) -> object:
    try:
        return import_string(path) if isinstance(path, str) else path
    except Exception:  # noqa: BLE001 - a module of the project, which Django will complain about when it needs it
        return None


def _hosts_of_core_layers() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield where each host of each core layer stands in the settings, and the options of its connections."""
    for alias, layer in _layers().items():
        if _is_from(CORE, layer):
            for number, host in enumerate(_hosts_of(layer)):
                yield f"CHANNEL_LAYERS[{alias!r}]['CONFIG']['hosts'][{number}]", _options_of(host)


def _hosts_of(layer: Any) -> list[Any]:
    hosts = _config_of(layer).get("hosts")
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


def _has_separate_worker() -> bool:
    return any(_runs_elsewhere(alias) for alias in task_backends.settings)


def _runs_elsewhere(alias: str) -> bool:
    try:
        backend = task_backends[alias]
        if not isinstance(backend, CeleryBackend):
            return False
        conf = backend.app.conf
        # A broker in memory has its worker in this process, too.
        return not conf.task_always_eager and not (conf.broker_write_url or "").startswith("memory:")
    except (InvalidTaskBackend, TasksCeleryError, ImportError, LookupError, ValueError, AttributeError):
        return False  # the core's own checks say what is wrong with it


def _position_of(middleware: type) -> int | None:
    for position, path in enumerate(getattr(settings, "MIDDLEWARE", None) or []):
        found = _imported(path)
        if isinstance(found, type) and issubclass(found, middleware):
            return position
    return None
