"""Web process. Hints from PostgreSQL that a stream has something new, for projects without a channel layer.

One connection for each event loop that has listeners, in a thread of its own. What is notified while it is away is
found by looking at the log, as without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import random
import selectors
import socket
from collections.abc import Callable
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections

from tasks_celery.channels.log import log_url
from tasks_celery.channels.log.base import NOTIFIED_ON
from tasks_celery.channels.options import event_options
from tasks_celery.realthread import start_thread

logger = logging.getLogger("tasks_celery.channels")

#: Seconds before a lost connection is tried again, the first time and at most.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0

Hint = Callable[[str | None], None]


class Listener:
    """Has `hint` called, in the running loop, with each stream that is notified in the database `alias`.

    And with None once it is connected: whatever was notified before was not heard.
    """

    def __init__(self, alias: str, hint: Hint) -> None:
        self._alias, self._hint = alias, hint
        self._loop = asyncio.get_running_loop()
        # What is written to one end wakes the thread up.
        self._end, self._ended = socket.socketpair()
        start_thread(self._run, name="tasks_celery.channels.listening.listen")

    def stop(self) -> None:
        """Let the thread end."""
        self._end.close()

    def _run(self) -> None:
        pause = FIRST_PAUSE
        with self._ended:
            while True:
                try:
                    with contextlib.closing(self._connect()) as connection:
                        pause = FIRST_PAUSE
                        self._tell(None)
                        self._listen(connection)
                        return
                except Exception as error:  # noqa: BLE001 - the database's, its driver's or the settings'
                    logger.warning("PostgreSQL cannot be listened to (%s); the log is looked at meanwhile.", error)
                if self._is_over(random.uniform(pause / 2, pause)):  # noqa: S311
                    return
                pause = min(2 * pause, LONGEST_PAUSE)

    def _connect(self) -> Any:
        connection = self._open()
        connection.autocommit = True
        connection.execute(f"LISTEN {NOTIFIED_ON}")
        return connection

    def _open(self) -> Any:
        # Apart from Django's own: that one is closed between requests, and this one shared with nobody.
        database: Any = connections[self._alias]
        return database.Database.connect(**database.get_connection_params())

    def _listen(self, connection: Any) -> None:
        """Tell of what is notified until it is over; raise what psycopg raises when the connection is lost."""
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._ended, selectors.EVENT_READ)
            waiting.register(connection.fileno(), selectors.EVENT_READ)
            while all(key.fileobj is not self._ended for key, _ in waiting.select()):
                connection.pgconn.consume_input()
                while notified := connection.pgconn.notifies():
                    self._tell(notified.extra.decode())

    def _is_over(self, within: float) -> bool:
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._ended, selectors.EVENT_READ)
            return bool(waiting.select(within))

    def _tell(self, stream: str | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed; `stop` was not called
            self._loop.call_soon_threadsafe(self._hint, stream)


def find_listener(hint: Hint) -> Listener | None:
    """Return a running listener where the log is in a PostgreSQL that psycopg 3 reaches, else None."""
    url = log_url(event_options())
    if not url.startswith("database:") or importlib.util.find_spec("psycopg") is None:
        return None
    alias = url.removeprefix("database:").strip("/") or DEFAULT_DB_ALIAS
    return Listener(alias, hint) if connections[alias].vendor == "postgresql" else None
