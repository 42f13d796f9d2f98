"""What a setting of Celery may be named, and what Celery names it now."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache

from celery.app import defaults

#: Django's, which says whether its moments have a zone: what a date that is sent means depends on it.
USE_TZ = "USE_TZ"
#: Celery's names, and the upper-case ones of Celery 3, each with what it is named now.
NAMES: frozenset[str] = frozenset(defaults.SETTING_KEYS)
OLD: dict[str, str] = {old: new for old, new in defaults._TO_NEW_KEY.items() if old.upper() != new.upper()}  # type: ignore[attr-defined]


@cache
def may_be_key(name: str) -> bool:
    """Return whether a name of a module's top level may be a setting of Celery, under whatever prefix, or is `USE_TZ`."""
    if name == USE_TZ:
        return True
    if name.islower():
        return name in NAMES
    if not name.isupper():
        return False
    if name in OLD or name.startswith(("CELERY_", "CELERYD_", "CELERYBEAT_", "BROKER_")):
        return True
    words = name.lower().split("_")
    return any("_".join(words[start:]) in NAMES for start in range(len(words)))


def key_of(written: str, namespaces: Collection[str]) -> str | None:
    """Return what Celery names a setting that is written in a module; None where it is none of its own.

    `namespaces` are those that the project configures its apps with; "" stands for names without a prefix.
    """
    for namespace in namespaces:
        if namespace and written.startswith(f"{namespace}_"):
            key = written.removeprefix(f"{namespace}_").lower()
            if key in NAMES:
                return key
    if "" in namespaces:
        return OLD.get(written) or (written.lower() if written.lower() in NAMES and written.islower() else None)
    return None
