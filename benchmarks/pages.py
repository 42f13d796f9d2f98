"""WebSocket clients that do next to nothing, thousands in one process: what is measured is the server."""

from __future__ import annotations

import asyncio
import os
from base64 import b64encode
from collections.abc import Callable, Sequence

#: Connecting at a time: a server closes those who wait too long for their turn.
AT_ONCE = 50
#: Of a frame: the first length that takes more than one byte, and what kinds there are.
SHORT = 126
TEXT, PING = 1, 9
READY, EVENT = b"task.ready", b"report.ready"


class Page(asyncio.Protocol):
    """One page of the user with this session; `hear` is called with each event's text."""

    def __init__(self, place: str, path: str, session: str, hear: Callable[[bytes], None]) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._hear = hear
        self._buffer = b""
        self._is_upgraded = False
        # Ours says when events arrive; the usual consumer has joined before it accepts.
        self._says_ready = path == "/ws/tasks/"
        key = b64encode(os.urandom(16)).decode()
        self._request = (
            f"GET {path} HTTP/1.1\r\nHost: {place}\r\nOrigin: http://{place}\r\nConnection: Upgrade\r\n"
            f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            f"Cookie: sessionid={session}\r\n\r\n"
        ).encode()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._request)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(ConnectionError(f"closed before it was ready: {self._buffer!r}"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._is_upgraded:
            self._upgrade()
        while self._is_upgraded and self._take():
            pass

    def _upgrade(self) -> None:
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        if b" 101 " not in head.partition(b"\r\n")[0]:
            self.transport.close()
            return
        self._is_upgraded, self._buffer = True, rest
        if not self._says_ready:
            self.opened.set_result(None)

    def _take(self) -> bool:
        """Take one frame out of the buffer; return whether a whole one was there. A server's is never masked."""
        if len(self._buffer) < 2:
            return False
        length, start = self._buffer[1], 2
        if length >= SHORT:
            start = 4 if length == SHORT else 10
            length = int.from_bytes(self._buffer[2:start], "big")
        if len(self._buffer) < start + length:
            return False
        kind, payload = self._buffer[0] & 15, self._buffer[start : start + length]
        self._buffer = self._buffer[start + length :]
        if kind == PING:
            self.transport.write(bytes([0x8A, 0x80 | length, 0, 0, 0, 0]) + payload)
        elif kind == TEXT and EVENT in payload:
            self._hear(payload)
        elif kind == TEXT and READY in payload and not self.opened.done():
            self.opened.set_result(None)
        return True


class Pages:
    """Pages of one server, with the events that they all heard counted."""

    def __init__(self, place: str, path: str, hear: Callable[[bytes], None] = lambda text: None) -> None:
        self.heard = 0
        self._place, self._path, self._on_event = place, path, hear
        self._pages: list[Page] = []
        self._changed = asyncio.Event()

    async def open(self, sessions: Sequence[str]) -> None:
        """Open a page for each session; return once all of them hear what happens."""
        free = asyncio.Semaphore(AT_ONCE)

        async def open_one(session: str) -> None:
            async with free:
                self._pages.append(await self._open(session))

        await asyncio.gather(*map(open_one, sessions))

    async def _open(self, session: str) -> Page:
        host, port = self._place.split(":")
        _, page = await asyncio.get_running_loop().create_connection(
            lambda: Page(self._place, self._path, session, self._hear), host, int(port)
        )
        await asyncio.wait_for(page.opened, 60)
        return page

    def _hear(self, text: bytes) -> None:
        self.heard += 1
        self._on_event(text)
        self._changed.set()

    async def have_heard(self, count: int, *, within: float = 60) -> None:
        """Return once so many events have come in all; raise TimeoutError otherwise."""
        async with asyncio.timeout(within):
            while self.heard < count:
                self._changed.clear()
                await self._changed.wait()

    def close(self) -> None:
        for page in self._pages:
            page.transport.abort()
