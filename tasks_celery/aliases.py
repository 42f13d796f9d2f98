"""Both. Which backend a record is dealt with by: that of the alias it was enqueued on, while there is one."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from operator import attrgetter
from typing import cast

from tasks_celery.compat import task_backends
from tasks_celery.stores import Record
from tasks_celery.twin import TwinBackend


def backend_of(alias: str, *, otherwise: TwinBackend) -> TwinBackend:
    """Return the backend of an alias; `otherwise` where TASKS no longer has it, or has another kind of backend there."""
    known = alias in task_backends.settings and hasattr(task_backends[alias], "twin_class")
    return cast("TwinBackend", task_backends[alias]) if known else otherwise


def by_backend(records: Iterable[Record], *, otherwise: TwinBackend) -> list[tuple[TwinBackend, list[Record]]]:
    """Return the records of each backend, in the order that they have."""
    by_alias = groupby(sorted(records, key=attrgetter("alias")), key=attrgetter("alias"))
    return [(backend_of(alias, otherwise=otherwise), list(theirs)) for alias, theirs in by_alias]
