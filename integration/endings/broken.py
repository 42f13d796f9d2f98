"""Both. A module of tasks that the web process can import and the worker cannot."""

from __future__ import annotations

import os

from tasks_celery import task

if "ENDINGS_DRIVER" not in os.environ:
    raise ImportError("This module cannot be imported here.")


@task
def never() -> None:
    raise AssertionError("ran although the worker cannot import it")
