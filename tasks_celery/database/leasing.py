"""Both. Leases as rows: whose they are, and until when by this machine's clock.

Machines whose clocks differ by more than a lease lasts would take each other for gone.
"""

from __future__ import annotations

import time

from django.db.models import Q, QuerySet

from tasks_celery.database.models import TaskLease


def leases(alias: str) -> QuerySet[TaskLease]:
    """Return all leases, those included that have lapsed."""
    return TaskLease._default_manager.using(alias)


def held(alias: str) -> QuerySet[TaskLease]:
    """Return the leases that have not lapsed."""
    return leases(alias).filter(until__gt=time.time())


def hold(alias: str, name: str, holder: str, *, seconds: float) -> bool:
    """Take or renew a lease; False where somebody else holds it."""
    return _renew(alias, name, holder, seconds) or _take(alias, name, holder, seconds)


def release(alias: str, name: str, holder: str) -> None:
    """Give a lease back, if it is this holder's."""
    leases(alias).filter(pk=name, holder=holder).delete()


def _renew(alias: str, name: str, holder: str, seconds: float) -> bool:
    now = time.time()
    ours = leases(alias).filter(Q(holder=holder) | Q(until__lte=now), pk=name)
    return bool(ours.update(holder=holder, until=now + seconds))


def _take(alias: str, name: str, holder: str, seconds: float) -> bool:
    # Conflicts are ignored: each sweeper that has to stand back would else leave an error in PostgreSQL's log.
    new = TaskLease(name=name, holder=holder, until=time.time() + seconds)
    leases(alias).bulk_create([new], ignore_conflicts=True)
    return _renew(alias, name, holder, seconds)
