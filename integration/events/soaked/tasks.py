"""Worker process. Work of no use, whose end is told to whomever it was done for."""

from __future__ import annotations

import time

from tasks_celery import task
from tasks_celery.channels import notify


@notify("work.done", to=lambda result: result.args[0])
@task
def work(user: str, seconds: float) -> None:
    """Take so long: several processes then end the tasks of one user in another order than they were asked for."""
    time.sleep(seconds)
