"""Both. The lease of a worker: what its main process renews while it lives, and each attempt it runs goes by.

A name of its own for each start of a worker, so that a new worker of an old name does not answer for
the tasks of the old one. Told to the processes of its pool through the environment, which a forked child and a
spawned one both inherit.
"""

from __future__ import annotations

import os
from uuid import uuid4

_VARIABLE = "TASKS_CELERY_LEASE"


def begin_lease() -> str:
    """Return a new lease, which the attempts of this process and of its children run under from now on."""
    os.environ[_VARIABLE] = lease = f"worker:{uuid4().hex}"
    return lease


def current_lease() -> str:
    """Return the lease that attempts of this process run under; empty outside a worker."""
    return os.environ.get(_VARIABLE, "")


def end_lease() -> None:
    """Let the attempts of this process run under no lease again."""
    os.environ.pop(_VARIABLE, None)
