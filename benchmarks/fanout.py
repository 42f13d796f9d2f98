"""What an event costs the web server, and what a page that only waits does, against a stock AsyncJsonWebsocketConsumer.

Two servers run side by side, each with so many pages of one of the two; the events come in rounds, to the one and then to the
other. The server's processor time is the operating system's account of its process. Two shapes: all the pages
are one user's, so that an event goes to all of them, or each is another's.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from benchmarks.harness import Measure, Ratio
from benchmarks.pages import Pages

AGAINST = "AsyncJsonWebsocketConsumer"
SERVERS = ("daphne", "uvicorn")
SHAPES = {100: ("one",), 1_000: ("one", "each"), 5_000: ("one",)}
#: With BENCH_FANOUT=all, which takes ten minutes.
ALL_SHAPES = dict.fromkeys(SHAPES, ("one", "each"))
#: The measures without a server, a number and a shape in their name: an event for the thousand pages of one user, on daphne.
HEADLINE = ("daphne", 1_000, "one")
ROUNDS = 3
#: Deliveries per round and way: the account has ticks of 10 ms, and one delivery takes less than one. One that
#: has a message of the layer to itself costs more.
DELIVERIES = {"one": 2_000, "each": 500}
#: To so many users at a time: Channels drops what a process has not taken, beyond a hundred messages.
AT_ONCE = 50
DATA = {"id": "x" * 32, "name": "reports.build", "status": "SUCCESSFUL", "payload": {"report": 7}}
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True, kw_only=True)
class Side:
    """One server with its pages: what sends an event to a user, and the server's process."""

    pid: int
    pages: Pages
    send: Callable[[str], Awaitable[object]]
    bytes_each: float = 0.0

    def seconds(self) -> float:
        """Return the processor time that the server has taken."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self) -> int:
        """Return how many bytes of memory it has."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure() -> Iterator[Measure | Ratio]:
    from benchmarks.people import make_people

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    shapes = ALL_SHAPES if os.environ.get("BENCH_FANOUT") == "all" else SHAPES
    people = make_people(max(shapes))
    for size in shapes:
        # One for each page and as many again at once in this process.
        if 2 * size + 200 > hard:
            print(f"{size} pages are left out: a process may have only {hard} files open.", file=sys.stderr)
            continue
        for server in SERVERS:
            for shape in shapes[size]:
                yield from _measure(server, size, shape, people[: 1 if shape == "one" else size])
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _measure(server: str, size: int, shape: str, people: Sequence[tuple[str, str]]) -> Iterator[Measure | Ratio]:
    from integration.events.servers import Web

    with ExitStack() as stack:
        webs = []
        for _ in range(2):
            webs.append(Web(server, os.environ, application="benchmarks.asgi:application"))
            stack.callback(webs[-1].stop)
        for web in webs:
            web.wait()
        ours, theirs, bytes_each = asyncio.run(_compare(webs, size, people))
    suffix = "" if (server, size, shape) == HEADLINE else f".{server}.{size}.{shape}"
    yield Measure.of(f"fanout.cpu{suffix}", against=AGAINST, ours=ours, theirs=theirs, repeat=_deliveries(size, shape))
    if size >= 1_000:  # fewer take hardly more than what the process had to spare
        ours_each, theirs_each = bytes_each
        yield Ratio.of(
            f"fanout.memory{suffix}",
            against=AGAINST,
            ours=[ours_each / 1024],
            theirs=[theirs_each / 1024],
            unit="kB a page",
        )


def _deliveries(size: int, shape: str) -> int:
    """Return how many deliveries one round has: to all pages at once, or one after the other."""
    return max(DELIVERIES["one"] // size, 1) * size if shape == "one" else DELIVERIES["each"]


async def _compare(
    webs: Sequence[Any], size: int, people: Sequence[tuple[str, str]]
) -> tuple[list[float], list[float], tuple[float, float]]:
    from channels.layers import channel_layers

    from tasks_celery.channels.events import Envelope
    from tasks_celery.channels.groups import group_name
    from tasks_celery.channels.push import publisher

    layer = channel_layers.make_backend("default")
    envelope = Envelope(event="report.ready", data=DATA)

    async def ours(user: str) -> None:
        await asyncio.to_thread(publisher.publish, [group_name(user)], envelope)

    async def usual(user: str) -> None:
        await layer.group_send(f"user_{user}", {"type": "report.ready", "data": DATA})

    sides = [
        Side(pid=web.child.process.pid, pages=Pages(web.place, path), send=send)
        for web, path, send in zip(webs, ("/ws/tasks/", "/ws/usual/"), (ours, usual), strict=True)
    ]
    seconds: list[list[float]] = [[] for _ in sides]
    sessions = [people[number % len(people)][1] for number in range(size)]
    for side in sides:
        await _open(side, sessions)
    for number in range(ROUNDS + 1):
        for told, side in zip(seconds, sides, strict=True):
            before = side.seconds()
            await _tell_all(side, size, people)
            if number:  # the first is for warmth
                told.append(side.seconds() - before)
    for side in sides:
        side.pages.close()
    return seconds[0], seconds[1], (sides[0].bytes_each, sides[1].bytes_each)


async def _open(side: Side, sessions: Sequence[str]) -> None:
    before = side.memory()
    await side.pages.open(sessions)
    side.bytes_each = (side.memory() - before) / len(sessions)


async def _tell_all(side: Side, size: int, people: Sequence[tuple[str, str]]) -> None:
    """Send events until the pages have heard so many deliveries together, and wait for the last of them."""
    if len(people) == 1:
        for _ in range(_deliveries(size, "one") // size):
            await _tell(side, people, size)
        return
    users = islice(cycle(people), _deliveries(size, "each"))
    while some := list(islice(users, AT_ONCE)):
        await _tell(side, some, len(some))


async def _tell(side: Side, people: Iterable[tuple[str, str]], deliveries: int) -> None:
    due = side.pages.heard + deliveries
    for user, _ in people:
        await side.send(user)
    await side.pages.have_heard(due)
