"""Where tasks of a worker in this process wait until a test lets them go on."""

from __future__ import annotations

from threading import Event

at_the_gate = Event()
opened = Event()
seen_once = Event()


def close() -> None:
    """Make the next task wait."""
    for event in (at_the_gate, opened, seen_once):
        event.clear()
