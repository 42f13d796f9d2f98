"""Both. What ``manage.py check`` says of options that a backend of Django's own leaves out. See `checks`."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.checks import CheckMessage, Warning

from tasks_celery.compat import task_backends
from tasks_celery.plain import left_out
from tasks_celery.task import CeleryTask


def options_are_left_out() -> Iterator[CheckMessage]:
    """Find the tasks of each alias that ask for what only `CeleryBackend` does, among those that have been imported."""
    for alias in task_backends.settings:
        backend = task_backends[alias]
        missed = {path: names for (of, path), names in sorted(left_out().items()) if of == alias}
        if missed and not issubclass(backend.task_class, CeleryTask):
            tasks = "; ".join(f"{path}: {', '.join(names)}" for path, names in missed.items())
            yield Warning(
                f"TASKS[{alias!r}] is {type(backend).__module__}.{type(backend).__qualname__}, which leaves out options of "
                f"its tasks ({tasks}).",
                hint="Use 'tasks_celery.CeleryBackend' where they matter. Where tasks are just tried out, silence this: "
                "SILENCED_SYSTEM_CHECKS = ['tasks_celery.W005'].",
                id="tasks_celery.W005",
            )
