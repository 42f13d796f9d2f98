"""The fast suite. TASKS_CELERY_WITHOUT names packages that it pretends are not installed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest

WITHOUT = [name for name in os.environ.get("TASKS_CELERY_WITHOUT", "").split(",") if name]

# Before Django reads INSTALLED_APPS: None in sys.modules makes an import fail as if nothing were there.
for _name in WITHOUT:
    sys.modules[_name] = None  # type: ignore[assignment]

collect_ignore = ["channels", "example"] if "channels" in WITHOUT else []


@pytest.fixture
def signals_seen() -> Iterator[list[tuple[str, Any]]]:
    """What the task signals said, in order: their names and the result as it then was."""
    from tasks_celery import compat

    seen: list[tuple[str, Any]] = []
    receivers = {}
    for name in ("task_enqueued", "task_started", "task_finished"):

        def receiver(sender: type, task_result: Any, name: str = name, **kwargs: Any) -> None:
            seen.append((name, task_result))

        receivers[name] = receiver
        getattr(compat, name).connect(receiver, weak=False)
    yield seen
    for name, receiver in receivers.items():
        getattr(compat, name).disconnect(receiver)
