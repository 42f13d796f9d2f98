"""What the letters project schedules: in a migration, and, where LETTERS_EVERY says how often, in the code."""

from __future__ import annotations

import os
from pathlib import Path

from tasks_celery import task
from tasks_celery.beat import every, schedule


@task
def collect(box: str) -> None:
    with Path(os.environ["LETTERS_FOLDER"], box).open("a") as file:
        file.write("collected\n")


@task
def count() -> None: ...


if "LETTERS_EVERY" in os.environ:
    schedule(every(minutes=int(os.environ["LETTERS_EVERY"])), name="From the code")(count)
