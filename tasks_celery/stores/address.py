"""Both. Which Redis server something talks to, and as whom: what two of them have to agree in to be one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import redis


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A Redis server, as one user of it: `server` is ``host:port``, or the path of a Unix socket.

    Two that are equal are one server. Two that are not may be all the same: names are not looked up.
    """

    server: str
    username: str = "default"
    tls: bool = False


def address_of(parameters: Mapping[str, Any]) -> Address:
    """Return the address that parameters of a connection name: redis-py's, or kombu's (``Channel._connparams()``)."""
    path = parameters.get("path")
    host = str(parameters.get("host") or "localhost").lower()
    connection_class = parameters.get("connection_class")
    return Address(
        server=str(path) if path else f"{host}:{int(parameters.get('port') or 6379)}",
        username=parameters.get("username") or "default",
        tls=isinstance(connection_class, type) and issubclass(connection_class, redis.SSLConnection),
    )


def database_of(parameters: Mapping[str, Any]) -> int:
    """Return the number of the database that parameters of a connection name."""
    named = parameters.get("db", parameters.get("virtual_host"))
    return int(str(named).strip("/") or 0) if named is not None else 0


def redis_url(url: str) -> str:
    """Return a URL of Celery's as redis-py has it: a socket's (``redis+socket:///path?virtual_host=1``), or of TLS."""
    for scheme in ("redis+socket:", "socket:"):
        if url.startswith(scheme):
            return "unix:" + url.removeprefix(scheme).replace("virtual_host=", "db=")
    return re.sub(r"(?<=ssl_cert_reqs=)CERT_(\w+)", lambda found: found[1].lower(), url)
