"""Web process. uvicorn on a socket that was handed on: its own ``--fd`` takes it for a Unix socket."""

from __future__ import annotations

import socket
import sys

import uvicorn


def main(fd: str, application: str) -> None:
    """Serve the ASGI application until the process is ended."""
    config = uvicorn.Config(application, lifespan="off", log_level="warning")
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(fd))])


if __name__ == "__main__":
    main(*sys.argv[1:])
