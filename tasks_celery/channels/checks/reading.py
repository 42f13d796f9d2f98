"""Both. Reading the settings for the checks, whatever is in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage
from django.utils.module_loading import import_string

from tasks_celery.backend import CeleryBackend
from tasks_celery.channels.log import log_url
from tasks_celery.channels.options import EventOptions, event_options
from tasks_celery.compat import InvalidTaskBackend, task_backends
from tasks_celery.exceptions import OptionsError, TasksCeleryError

IN_MEMORY = "InMemoryChannelLayer"

Messages = Iterator[CheckMessage]


def known_options() -> EventOptions | None:
    """Return what TASK_EVENTS says; None where that is wrong, which a check of its own says."""
    try:
        return event_options()
    except OptionsError:
        return None


def url_of_log() -> str:
    """Return where events are kept; nothing where that cannot be told."""
    try:
        return log_url(event_options())
    except Exception:  # noqa: BLE001 - options and backends of the project, which have checks of their own
        return ""


def layers() -> dict[str, Any]:
    layers = getattr(settings, "CHANNEL_LAYERS", None)
    return dict(layers) if isinstance(layers, Mapping) else {}


def config_of(layer: Any) -> Mapping[str, Any]:
    config = layer.get("CONFIG") if isinstance(layer, Mapping) else None
    return config if isinstance(config, Mapping) else {}


def is_from(module: str, layer: Any) -> bool:
    """Whether the layer's class, or one that it is based on, is from `module`."""
    return any(base.__module__ == module for base in bases(layer))


def is_in_memory(layer: Any) -> bool:
    return any(base.__module__ == "channels.layers" and base.__name__ == IN_MEMORY for base in bases(layer))


def bases(layer: Any) -> tuple[type, ...]:
    found = imported(layer.get("BACKEND") if isinstance(layer, Mapping) else None)
    return found.__mro__ if isinstance(found, type) else ()


def imported(path: object) -> object:
    try:
        return import_string(path) if isinstance(path, str) else path
    except Exception:  # noqa: BLE001 - a module of the project, which Django will complain about when it needs it
        return None


def celery_configurations() -> Iterator[Any]:
    """Yield the configuration of the Celery app behind each alias of TASKS that has one."""
    for alias in task_backends.settings:
        try:
            backend = task_backends[alias]
            if isinstance(backend, CeleryBackend):
                yield backend.app.conf
        except (InvalidTaskBackend, TasksCeleryError, ImportError, LookupError, ValueError, AttributeError):
            continue  # the core's own checks say what is wrong with it


def has_separate_worker() -> bool:
    """Whether tasks run in another process than the one that asks for them."""
    return any(_runs_elsewhere(conf) for conf in celery_configurations())


def _runs_elsewhere(conf: Any) -> bool:
    # A broker in memory has its worker in this process, too.
    return not conf.task_always_eager and not (conf.broker_write_url or "").startswith("memory:")
