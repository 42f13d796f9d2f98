"""Worker process. Finds the Django Tasks that no tasks module shows.

Celery imports the ``tasks`` module of each installed app. A Django Task may stand anywhere (views, services,
models): the web process has imported it, the worker perhaps not. So the sources of the installed apps are
looked through for modules that import the decorator, and those are imported too.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from django.apps import apps

from tasks_celery.compat import AnyTask, InvalidTask, Task, task_backends
from tasks_celery.plain import adopted_name
from tasks_celery.task import name_of
from tasks_celery.twin import Twin, register, registered

logger = logging.getLogger("tasks_celery")

_IMPORTS_TASK = re.compile(
    rb"^\s*(?:from\s+(?:django\.tasks|django_tasks|tasks_celery)(?:\.\w+)*\s+import\b|import\s+(?:django\.tasks|django_tasks|tasks_celery)\b"
    rb"|from\s+django\s+import\s+(?:.*,\s*)?tasks\b)",
    re.MULTILINE,
)
_SKIPPED_FOLDERS = {"migrations", "tests", "test", "node_modules", "static", "templates"}
_SKIPPED_FILES = re.compile(r"(test_.*|.*_test|tests?|conftest|__main__)")
_SKIPPED_APPS = {
    "django",
    "django_celery_beat",
    "django_celery_results",
    "channels",
    "daphne",
    "tasks_celery",
    "django_tasks",
}


#: Why a module could not be imported here, by its name: what its tasks fail with.
_broken: dict[str, Exception] = {}


def why_missing(path: str) -> Exception | None:
    """Return why the module of the task at `path` could not be imported here; None where that was not tried."""
    return _broken.get(path.rpartition(".")[0])


def discover() -> None:
    """Import the modules that define tasks, and give every Django Task found its twin."""
    for name in modules_with_tasks():
        try:
            import_module(name)
        except Exception as error:
            # One broken module must not keep the worker from running all others.
            _broken[name] = error
            logger.exception("The module %s defines tasks and cannot be imported: they will not run here", name)
    for task in list(_imported_tasks()):
        _adopt(task)


def modules_with_tasks() -> Iterator[str]:
    """Yield the names of the modules of installed apps whose source imports the task decorator."""
    for config in apps.get_app_configs():
        if config.name.partition(".")[0] not in _SKIPPED_APPS:
            folder = Path(config.path)
            for path in sorted(folder.rglob("*.py")):
                parts = path.relative_to(folder).with_suffix("").parts
                if _may_define_tasks(parts) and path.is_file() and _IMPORTS_TASK.search(path.read_bytes()):
                    yield ".".join((config.name, *(part for part in parts if part != "__init__")))


def _may_define_tasks(parts: tuple[str, ...]) -> bool:
    importable = all(part.isidentifier() for part in parts)
    return importable and not _SKIPPED_FOLDERS.intersection(parts[:-1]) and not _SKIPPED_FILES.fullmatch(parts[-1])


def _imported_tasks() -> Iterator[AnyTask]:
    for module in list(sys.modules.values()):
        for value in list(getattr(module, "__dict__", {}).values()):
            # Not isinstance, which would wake lazy objects that other modules keep.
            if issubclass(type(value), Task):
                yield value


def _adopt(task: AnyTask) -> None:
    """Register a task of another backend too: `.using(backend=…)` may send it here."""
    if name_of(task) in registered() or adopted_name(task):
        return
    for alias in task_backends.settings:
        if getattr(task_backends[alias], "twin_class", None) is Twin:
            try:
                register(replace(task, backend=alias))
            except InvalidTask as error:
                logger.debug("The task %s cannot run on the backend %r: %s", task.module_path, alias, error)
            else:
                return
