"""Worker's main process and beat. What goes on beside the tasks: the worker's lease is renewed, mover and sweeper look.

In threads, for a lease must be renewed while a solo worker runs a task or a broker is away; that one is the operating
system's also under gevent, where a greenlet may compute for longer than a lease lasts. A thread for each: a broker that
does not answer holds up mover and sweeper, and not the lease; and what is due waits for no sweeper.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, cast

from celery import signals
from django.db import connections

from tasks_celery.compat import task_backends
from tasks_celery.discovery import discover
from tasks_celery.exceptions import StoreError
from tasks_celery.leases import begin_lease, end_lease
from tasks_celery.mover import Mover
from tasks_celery.options import Options
from tasks_celery.realthread import Repeated
from tasks_celery.results import Results, find_store
from tasks_celery.stores import Store
from tasks_celery.stores.nowhere import Nowhere
from tasks_celery.sweeper import Sweeper
from tasks_celery.twin import TwinBackend

logger = logging.getLogger("tasks_celery")

#: How often a lease is renewed before it would lapse.
RENEWALS = 3

#: How many seconds the mover leaves a store alone that did not answer, at least.
MISFORTUNE = 1.0


class Heartbeat:
    """The threads of one process for one store."""

    def __init__(self, backend: TwinBackend) -> None:
        self._backend = backend
        self._lease = ""
        self._threads: list[Repeated] = []
        self._is_away = False
        self._is_unmoved = False

    def begin_lease(self, lease: str) -> None:
        """Take the lease that the attempts of this worker run under: before its processes are forked."""
        self._lease = lease
        self._renew(self._store(""))

    def begin(self) -> None:
        """Start the threads: after the first processes were forked."""
        if self._lease:
            self._begin_to_renew(self._store("lease"))
        # Where a project keeps no records, nothing can be lost or due.
        if isinstance(self._store(""), Nowhere):
            return
        if self._settings.sweep_every is not None:
            self._begin_to_sweep(self._store("sweeper"), self._settings.sweep_every)
        if self._settings.move_every is not None:
            self._begin_to_move(self._store("mover"), self._settings.move_every)

    def _begin_to_renew(self, store: Store) -> None:
        every = self._settings.lease / RENEWALS
        self._threads.append(Repeated(lambda: self._renew(store), every=every, name="tasks_celery.lease"))

    def _begin_to_sweep(self, store: Store, every: float) -> None:
        sweeper = Sweeper(self._backend, Results(app=self._backend.app, store=store))
        self._threads.append(
            Repeated(lambda: self._sweep(sweeper, every), every=every, name="tasks_celery.sweeper", real=False)
        )

    def _begin_to_move(self, store: Store, every: float) -> None:
        mover = Mover(self._backend, store)
        self._threads.append(
            Repeated(lambda: self._move(mover, every), every=every, name="tasks_celery.mover", real=False)
        )

    def stop(self) -> None:
        """Give the lease back: what this worker has not ended, another may begin at once."""
        for thread in self._threads:
            thread.stop()
        if self._lease:
            try:
                self._store("").release(self._lease, self._lease)
            except StoreError:
                logger.warning("The lease of this worker could not be given back, and lapses", exc_info=True)

    def _store(self, owner: str) -> Store:
        return find_store(self._backend.app, self._settings, owner=owner)

    @property
    def _settings(self) -> Options:
        return self._backend.settings

    def _renew(self, store: Store) -> None:
        try:
            store.hold(self._lease, self._lease, seconds=self._settings.lease)
        except StoreError as error:
            if not self._is_away:
                logger.warning("The lease of this worker cannot be renewed, and is tried again: %s", error)
            self._is_away = True
        else:
            self._is_away = False
        finally:
            connections.close_all()

    def _sweep(self, sweeper: Sweeper, every: float) -> None:
        try:
            sweeper.look_if_alone(seconds=max(3 * every, self._settings.lease))
        except StoreError as error:
            logger.warning("The sweeper could not look, and will again: %s", error)
        except Exception:
            logger.exception("The sweeper stopped in the middle, and will look again")
        finally:
            connections.close_all()

    def _move(self, mover: Mover, every: float) -> float:
        try:
            wait = mover.look_when_due(every=every)
        except StoreError as error:
            if not self._is_unmoved:
                logger.warning("The mover cannot look for tasks that are due, and tries again: %s", error)
            self._is_unmoved = True
        except Exception:
            logger.exception("The mover stopped in the middle, and will look again")
        else:
            self._is_unmoved = False
            # The connection stays: a database is not to be connected to twice a second.
            return wait
        connections.close_all()
        return max(every, MISFORTUNE)


_heartbeats: list[Heartbeat] = []


def connect() -> None:
    """Connect to Celery's signals; connecting again changes nothing."""
    for signal, receiver in (
        (signals.worker_init, _on_worker_init),
        (signals.worker_ready, _on_worker_ready),
        (signals.worker_shutdown, _on_worker_shutdown),
        (signals.beat_init, _on_beat_init),
    ):
        signal.connect(receiver, weak=False, dispatch_uid=f"tasks_celery.heartbeat.{receiver.__name__}")


def stores_apart() -> Iterable[TwinBackend]:
    """Yield the backends whose records are in stores of their own: of several aliases with one store, the first."""
    seen: list[Store] = []
    for backend in task_backends.all():
        if hasattr(backend, "twin_class"):
            found = cast("TwinBackend", backend)
            store = find_store(found.app, found.settings)
            if store not in seen:
                seen.append(store)
                yield found


def _on_worker_init(sender: Any, **kwargs: Any) -> None:
    lease = begin_lease()
    _heartbeats[:] = [Heartbeat(backend) for backend in stores_apart()]
    for heartbeat in _heartbeats:
        heartbeat.begin_lease(lease)


def _on_worker_ready(sender: Any, **kwargs: Any) -> None:
    for heartbeat in _heartbeats:
        heartbeat.begin()


def _on_worker_shutdown(sender: Any, **kwargs: Any) -> None:
    for heartbeat in _heartbeats:
        heartbeat.stop()
    _heartbeats.clear()
    end_lease()


def _on_beat_init(sender: Any, **kwargs: Any) -> None:
    discover()  # the tasks say how they are to be acknowledged
    for backend in stores_apart():
        Heartbeat(backend).begin()
