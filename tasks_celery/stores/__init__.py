"""Both. Where records of tasks rest, behind one interface; `open_store` picks by URL.

A record changes only by the four calls of `Store`, each atomic in itself. A task is run under a claim:
`claim` numbers the attempt, and what an older attempt says of the outcome no longer counts.
"""

from __future__ import annotations

from functools import lru_cache

from tasks_celery.exceptions import OptionsError
from tasks_celery.stores.base import Attempt, Error, Outcome, Record, Status, Store

__all__ = ["Attempt", "Error", "Outcome", "Record", "Status", "Store", "open_store"]


@lru_cache(maxsize=32)
def open_store(url: str, *, key_prefix: str, timeout: float) -> Store:
    """Return the store behind `url`, one per process; nothing is connected yet.

    Raise OptionsError where the client library of the store is not installed.
    """
    if url.startswith("memory:"):
        from tasks_celery.stores.memory import MemoryStore

        return MemoryStore()
    try:
        from tasks_celery.stores.redis import RedisStore
    except ModuleNotFoundError as error:
        raise OptionsError(
            f"Task results are to be kept in Redis, but its client is not installed ({error}). "
            "Install it with: pip install 'tasks-celery[redis]'"
        ) from error
    return RedisStore(url, key_prefix=key_prefix, timeout=timeout)
