"""Both. What ``manage.py check`` says of the way from a task to a page: one function per message, with its fix.

A check connects nowhere and never raises: what it cannot read, such as a layer that cannot be imported, it leaves to
Channels to complain about.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core import checks
from django.core.checks import CheckMessage

from tasks_celery.channels.checks import events, layers, middleware, workers
from tasks_celery.channels.checks.reading import Messages


def register() -> None:
    """Register the checks with Django."""
    checks.register(check_channels)


def check_channels(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Return what is wrong with TASK_EVENTS, the channel layers and the middleware."""
    each: tuple[Callable[[], Messages], ...] = (
        events.options_are_wrong,
        events.functions_are_missing,
        layers.layer_is_missing,
        layers.layer_stays_in_one_process,
        layers.core_layer_loses_idle_sockets,
        layers.core_layer_has_few_connections,
        layers.pubsub_layer_is_shared,
        events.nothing_brings_events,
        events.nothing_keeps_events,
        events.log_stays_in_one_process,
        events.tables_are_missing,
        events.database_is_unknown,
        events.green_pool_has_no_threads,
        middleware.middleware_is_missing,
        middleware.middleware_comes_too_early,
        workers.channels_ask_for_what_cannot_be,
    )
    return [message for check in each for message in check()]
