"""Both. Lets a beat kill itself at its so-manieth message: where COUNTING_DIES says so, before the message leaves or after."""

from __future__ import annotations

import os
import signal
from itertools import count
from typing import Any

from django.apps import AppConfig


class CountingConfig(AppConfig):
    name = "integration.beat.counting"

    def ready(self) -> None:
        from celery import signals

        moment, _, number = os.environ.get("COUNTING_DIES", "").partition(" ")
        if moment:
            _die_at(int(number), {"before": signals.before_task_publish, "after": signals.after_task_publish}[moment])


def _die_at(number: int, sent: Any) -> None:
    messages = count(1)

    def die(**kwargs: Any) -> None:
        if next(messages) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sent.connect(die, weak=False)
