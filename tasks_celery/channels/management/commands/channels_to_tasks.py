"""``manage.py channels_to_tasks``: runworker, but for what it does with an event: it becomes a task."""

from __future__ import annotations

import asyncio
import signal
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tasks_celery.channels.layer import NEEDS_CHANNELS, is_in_memory
from tasks_celery.compat import InvalidTask
from tasks_celery.exceptions import TasksCeleryError


class Command(BaseCommand):
    """Listens on channels as runworker does, and makes each event a task."""

    help = (
        "Listen on channels in place of runworker, and make each event a durable task, in which a Celery worker runs the "
        "project's consumer. For senders that still use the channel layer; those that send with "
        "tasks_celery.channels.workers need no such process."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("channels", nargs="+", help="the channels to listen on")
        parser.add_argument("--layer", default="default", help="the alias in CHANNEL_LAYERS (by default 'default')")

    def handle(self, *args: Any, channels: list[str], layer: str, **options: Any) -> None:
        found = _layer(layer)
        for channel in channels:
            _refuse(channel)
        if _gives_to_all(found):
            self.stderr.write(
                self.style.WARNING(
                    f"CHANNEL_LAYERS[{layer!r}] gives each event to every process that listens, and to none where none does: "
                    "run this once, and no runworker beside it."
                )
            )
        kept, lost = asyncio.run(self._listen(found, sorted(set(channels))))
        self.stdout.write(f"Made tasks of {kept} events.")
        if lost:
            raise CommandError(
                f"{lost} events are lost: neither the broker nor the channel layer took them. See the log."
            )

    async def _listen(self, layer: Any, channels: list[str]) -> tuple[int, int]:
        from tasks_celery.channels.workers.listening import Listener

        listener = Listener(layer)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, listener.stop)
        self.stdout.write(f"Listening on {', '.join(channels)}.")
        await listener.listen(channels)
        return listener.kept, listener.lost


def _layer(alias: str) -> Any:
    try:
        from channels.layers import get_channel_layer
    except ModuleNotFoundError as error:
        raise CommandError(NEEDS_CHANNELS) from error
    layer = get_channel_layer(alias)
    if layer is None:
        raise CommandError(f"CHANNEL_LAYERS has no {alias!r}.")
    if is_in_memory(alias):
        raise CommandError(
            f"CHANNEL_LAYERS[{alias!r}] is the in-memory layer, whose events reach no other process, so there is nothing to "
            "listen to here. Send with tasks_celery.channels.workers instead, or use channels_redis.core.RedisChannelLayer."
        )
    return layer


def _refuse(channel: str) -> None:
    from tasks_celery.channels.workers.event import refuse_channel
    from tasks_celery.channels.workers.tasks import task_for

    try:
        refuse_channel(channel)
        task_for(channel)
    except (TypeError, ValueError, InvalidTask, TasksCeleryError) as error:
        raise CommandError(f"The events of the channel {channel!r} cannot become tasks: {error}") from error


def _gives_to_all(layer: object) -> bool:
    return any(base.__module__ == "channels_redis.pubsub" for base in type(layer).__mro__)
