"""Test process. A private PostgreSQL: a cluster in a directory of its own that listens on a Unix socket alone.

PostgreSQL refuses to run as root; where the tests do, it runs as the user postgres.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from example.servers import Child, stop, wait_until

# Debian keeps them off PATH, one directory for each version.
PLACES = "/usr/lib/postgresql/*/bin"
USER = "postgres"
# A crash of the machine may cost these tables.
HASTY = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


def find_postgres() -> Path | None:
    """Return the directory of PostgreSQL's server programs, None where they are not installed."""
    places = [str(place) for place in sorted(Path("/").glob(PLACES.removeprefix("/")), reverse=True)]
    found = shutil.which("initdb", path=os.pathsep.join([*places, os.environ.get("PATH", os.defpath)]))
    return Path(found).resolve().parent if found and (os.geteuid() or shutil.which("setpriv")) else None


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """Run a PostgreSQL for this block and yield the directory of its socket, which is the HOST for Django.

    The user is ``postgres``, without a password, and so is the database. Raise `ServerFailed` where it does not come up.
    """
    programs = find_postgres()
    # A short name, for that of a socket may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="postgres-", dir="/tmp", ignore_cleanup_errors=True) as directory:
        if os.geteuid() == 0:
            shutil.chown(directory, USER, USER)
        data = f"{directory}/data"
        make = [f"{programs}/initdb", "-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(_as_user(make), check=True, capture_output=True, cwd=directory, env=_plain(directory))
        options = ["listen_addresses=", f"unix_socket_directories={directory}", *HASTY]
        serve = [f"{programs}/postgres", "-D", data, *(word for option in options for word in ("-c", option))]
        server = Child("postgres", _as_user(serve), env=_plain(directory), ready_line="ready to accept connections")
        try:
            wait_until(server.said_ready.is_set, what="PostgreSQL", watch=[server])
            yield directory
        finally:
            # A fast shutdown; at SIGTERM it would wait until the last client has gone.
            with contextlib.suppress(ProcessLookupError):
                os.kill(server.process.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.process.wait(10)
            stop([server])


def _as_user(command: list[str]) -> list[str]:
    root = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups", "--"]
    return [*root, *command] if os.geteuid() == 0 else command


def _plain(home: str) -> dict[str, str]:
    # Messages in English, for one of them says that it is ready.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return kept | {"LC_ALL": "C", "HOME": home}
