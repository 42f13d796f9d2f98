"""Both. What was worked out from Celery's configuration, for as long as that stays as it is.

Celery looks one setting up in 3 us, and in 20 where it goes on to Django's settings: too long for what each `enqueue` asks.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import ReferenceType, WeakKeyDictionary, ref

from celery import Celery
from django.conf import settings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of an app, and what its configuration was when it was worked out."""

    conf: ReferenceType[Any]
    changes: dict[str, Any]
    project: object
    values: dict[Hashable, Any] = field(default_factory=dict)

    def holds(self, conf: Any) -> bool:
        return self.conf() is conf and self.project is _project() and self.changes == _changes(conf)


_known: WeakKeyDictionary[Celery, _Known] = WeakKeyDictionary()


def remembered(app: Celery, name: Hashable, work_out: Callable[[], T]) -> T:
    """Return what `work_out` returned for this name since the configuration of an app last changed.

    A change is a setting of the app that was set, another configuration of the app, or ``override_settings`` of a test.
    A list or dict among the settings that is changed in its place is none: Celery does not go by it either. A value must
    not hold its app, which it would keep.
    """
    known = _known.get(app)
    if known is None or not known.holds(app.conf):
        # Whoever asks first lets Celery read its configuration: until then `app.conf` is a stand-in for it.
        _ = app.conf.task_default_queue
        known = _known[app] = _Known(ref(app.conf), dict(_changes(app.conf)), _project())
    if name not in known.values:
        known.values[name] = work_out()
    value: T = known.values[name]
    return value


def _changes(conf: Any) -> Any:
    """Return what was set on an app itself, before anything that its settings say."""
    return conf.changes


def _project() -> object:
    """Return what the settings of the project are read from: another object within ``override_settings``."""
    return getattr(settings, "_wrapped", None)


def is_eager(app: Celery) -> bool:
    """Whether Celery runs tasks where they are enqueued: ``task_always_eager``."""
    return bool(remembered(app, "task_always_eager", lambda: app.conf.task_always_eager))
