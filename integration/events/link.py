"""Test process. The way from a web server to its Redis, over TCP; it can be made a long one."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator


class Link:
    """What connects to `url` is connected to the Redis on the Unix socket; every byte takes `delay` seconds each way."""

    def __init__(self, path: str) -> None:
        self.delay = 0.0
        self._path = path
        self._carrying: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"

    async def close(self) -> None:
        """End every connection."""
        self._server.close()
        while self._carrying:
            for task in self._carrying:
                task.cancel()
            await asyncio.sleep(0.01)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(writer):
            upstream_reader, upstream_writer = await asyncio.open_unix_connection(self._path)
            with contextlib.closing(upstream_writer):
                ways = (self._carry(reader, upstream_writer), self._carry(upstream_reader, writer))
                tasks = {asyncio.create_task(way) for way in ways}
                self._carrying |= tasks
                # What ends at one end ends at the other.
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    task.cancel()
                self._carrying -= tasks

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        due = 0.0
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                # Later than what came before it, also where the way has just become a shorter one.
                due = max(loop.time() + self.delay, due + 1e-6)
                loop.call_at(due, writer.write, data)
            await asyncio.sleep(due - loop.time() + 1e-3)


@contextlib.contextmanager
def link_to(path: str) -> Iterator[Link]:
    """Run a link, with a loop and thread of its own, for this block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(what: object) -> None:
        asyncio.run_coroutine_threadsafe(what, loop).result(10)  # type: ignore[arg-type]

    link = Link(path)
    run(link.open())
    try:
        yield link
    finally:
        run(link.close())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
