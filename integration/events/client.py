"""Test process. A page whose connection does not hold: it is cut off again and again, and goes on from where it was."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections import Counter
from typing import Any, NamedTuple

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

#: Seconds that a connection holds.
HOLDS = (0.2, 1.2)
#: Seconds until a connection that is not answered is tried again: a server that has just started, on a busy machine, takes many.
PATIENCE = 60
#: As events.js: after so many events, or seconds, those that came are acknowledged.
ACKNOWLEDGED_AFTER, ACKNOWLEDGED_WITHIN = 50, 1.0


class Heard(NamedTuple):
    """One event that came: its place in the user's stream, and the task that it tells of."""

    epoch: str
    seq: int
    task: str


class Client:
    """Listens as one user. With `acks`, the server is told what has come, and sends no more than a window beyond it."""

    def __init__(self, url: str, user: str, session: str, *, acks: bool) -> None:
        self.user = user
        self.heard: list[Heard] = []
        self.resets = 0
        self.astray = 0
        self.connected = 0
        self.endings: Counter[str] = Counter()
        self.is_ready = asyncio.Event()
        self.is_calm = False
        self.is_live = False
        self._url, self._session, self._acks = url, session, acks
        self._cursor: tuple[str, int] | None = None

    async def run(self) -> None:
        """Connect, listen for a while, be cut off and come back, until cancelled."""
        while True:
            try:
                await self._connect()
            except ConnectionClosed as closed:
                self.endings[f"closed {closed.rcvd.code if closed.rcvd else 1006}"] += 1
            except (OSError, InvalidHandshake) as error:  # TimeoutError is an OSError
                self.endings[type(error).__name__] += 1
            await asyncio.sleep(random.uniform(0, 0.05))

    async def _connect(self) -> None:
        since = [f"since={epoch}:{seq}" for epoch, seq in filter(None, [self._cursor])]
        query = since + ["acks=1"] * self._acks
        socket = await connect(
            f"{self._url}?{'&'.join(query)}",
            origin=self._url.replace("ws:", "http:").partition("/ws/")[0],  # type: ignore[arg-type]
            additional_headers={"Cookie": f"sessionid={self._session}"},
            open_timeout=PATIENCE,
            compression=None,
            proxy=None,
        )
        self.connected += 1
        try:
            await self._listen(socket)
        finally:
            self.is_live = False
            # No closing handshake: what is under way is lost.
            socket.transport.abort()

    async def _listen(self, socket: ClientConnection) -> None:
        now = asyncio.get_running_loop().time
        until = now() + random.uniform(*HOLDS)
        unseen, due = 0, now() + ACKNOWLEDGED_WITHIN
        while self.is_calm or now() < until:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.1 if self.is_calm else max(0.0, min(0.1, until - now()))):
                    self._take(json.loads(await socket.recv()))
                    unseen += 1
            if self._acks and self._cursor and unseen and (unseen >= ACKNOWLEDGED_AFTER or now() >= due):
                epoch, seq = self._cursor
                await socket.send(json.dumps({"seen": {"epoch": epoch, "seq": seq}}))
                unseen, due = 0, now() + ACKNOWLEDGED_WITHIN

    def _take(self, message: dict[str, Any]) -> None:
        place = (message["epoch"], message["seq"])
        match message["type"]:
            case "task.event":
                self.heard.append(Heard(*place, message["data"]["id"]))
                self._cursor = place
            case "task.reset":
                self.resets += 1
                self._cursor = place
            case "task.ready":
                # Said after what was missed: had it been for more than has come, that would be lost here.
                self.astray += self._cursor not in (None, place)
                self._cursor = self._cursor or place
                self.is_live = True
                self.is_ready.set()
