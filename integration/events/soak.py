"""Test process. The proof that events arrive: pages that drop all the time, servers that die, and not one event less.

Users ask for work all along; a worker of four processes does it; each user's pages are cut off every second or sooner, and
go on from their cursor. Meanwhile the faults that `Faults` names happen, one after the other. Then it is calm: whatever
each page has not been told by the end is missed.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from example.servers import ServerFailed
from integration.events.client import Client, Heard
from integration.events.servers import Servers, servers

FAULTS = ("blocked loop", "slow link", "dead Redis", "dead web server")
#: Seconds.
BLOCKED, SLOW, DOWN, BETWEEN = 0.8, 1.5, 0.7, 0.3
DELAY = 0.03
#: Where nothing has arrived for so long on pages that are all connected, nothing will; and after so long, no matter what.
QUIET, GIVEN_UP = 6.0, 90.0
#: How long to look for what comes twice once all have heard all.
LINGER = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run: the layer (core, pubsub), the log (redis, database), the web server, and for how many seconds work is asked for."""

    layer: str
    log: str
    server: str = "daphne"
    seconds: float = 8.0
    faults: Sequence[str] = FAULTS
    breaks: bool = False
    users: int = 20
    pages: int = 30
    rate: float = 60.0

    def __str__(self) -> str:
        broken = ", no gap read" if self.breaks else ""
        return f"{self.layer} layer, {self.log} log, {self.server}{broken}"


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of a run. `events` were to be told, each to all pages of its user: so many tellings are `due`."""

    plan: Plan
    events: int = 0
    due: int = 0
    missed: int = 0
    duplicates: int = 0
    out_of_order: int = 0
    resets: int = 0
    connected: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    last_lines: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether each page heard all, once, in order."""
        return not (self.missed or self.duplicates or self.out_of_order or self.resets)

    def __str__(self) -> str:
        return (
            f"{self.plan}: {self.events} events, due {self.due} times: {self.missed} missed, {self.duplicates} twice, "
            f"{self.out_of_order} out of order, {self.resets} resets; {self.connected} connections; "
            f"{_counted(self.faults)}; {_counted(self.endings)}"
        )


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} x{count}" for name, count in sorted(counts.items())) or "no faults"


def judge(outcome: Outcome, expected: Iterable[str], heard: Sequence[Heard]) -> None:
    """Add to the outcome what one page heard of the tasks that were expected."""
    told = Counter(each.task for each in heard)
    due = set(expected)
    outcome.due += len(due)
    outcome.missed += len(due - set(told))
    outcome.duplicates += sum(told.values()) - len(told)
    last: Heard | None = None
    for each in heard:
        if last and not (each.epoch == last.epoch and each.seq > last.seq) and told[each.task] == 1:
            outcome.out_of_order += 1
        last = each


def soak(plan: Plan, directory: Path, database: Mapping[str, Any]) -> Outcome:
    """Run a plan, with servers of its own in an empty directory, and return what came of it."""
    with servers(
        directory,
        layer=plan.layer,
        log=plan.log,
        server=plan.server,
        database=database,
        users=plan.users,
        breaks=plan.breaks,
    ) as running:
        return asyncio.run(_soak(plan, running))


async def _soak(plan: Plan, running: Servers) -> Outcome:
    outcome = Outcome(plan=plan)
    url = f"ws://{running.web.place}/ws/tasks/"
    people = [running.people[number % plan.users] for number in range(plan.pages)]
    pages = [Client(url, *person, acks=number % 3 == 0) for number, person in enumerate(people)]
    tasks = [asyncio.create_task(page.run()) for page in pages]
    try:
        await _all_ready(pages, tasks, running)
        count = round(plan.rate * plan.seconds)
        working = asyncio.create_task(asyncio.to_thread(running.producer.ask, "work", count, plan.rate))
        await _faults(plan, running, outcome, until=working)
        asked = await working
        await _calm(pages, asked)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    if errors := [each for each in ended if isinstance(each, Exception)]:
        raise ExceptionGroup("Pages ended by themselves", errors)
    _conclude(outcome, pages, asked)
    outcome.last_lines = running.last_lines()
    return outcome


async def _all_ready(pages: Sequence[Client], tasks: Sequence[asyncio.Task[None]], running: Servers) -> None:
    """Return once each page was told that events arrive: what happened before is not its loss."""
    ready = asyncio.gather(*(page.is_ready.wait() for page in pages))
    await asyncio.wait([ready, *tasks], timeout=30, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done():
            task.result()
    if not ready.done():
        ready.cancel()
        endings = sum((page.endings for page in pages), Counter[str]())
        raise ServerFailed(f"Not every page could connect: {_counted(endings)}.\n{running.last_lines()}")


def _conclude(outcome: Outcome, pages: Sequence[Client], asked: Sequence[tuple[str, str]]) -> None:
    outcome.events = len(asked)
    for page in pages:
        judge(outcome, [task for task, user in asked if user == page.user], page.heard)
        outcome.out_of_order += page.astray
        outcome.resets += page.resets
        outcome.connected += page.connected
        outcome.endings += page.endings


async def _calm(pages: Sequence[Client], asked: Sequence[tuple[str, str]]) -> None:
    """Let the pages stay, until each has heard all or nothing comes any more."""
    for page in pages:
        page.is_calm = True
    due = Counter(user for _, user in asked)
    begun = changed = time.monotonic()
    before = 0
    while time.monotonic() - changed < QUIET and time.monotonic() - begun < GIVEN_UP:
        await asyncio.sleep(0.1)
        if all(len({each.task for each in page.heard}) >= due[page.user] for page in pages):
            break
        heard = sum(len(page.heard) for page in pages)
        if heard != before or not all(page.is_live for page in pages):
            before, changed = heard, time.monotonic()
    await asyncio.sleep(LINGER)


# --- faults ---------------------------------------------------------------------------------------------------


async def _faults(plan: Plan, running: Servers, outcome: Outcome, *, until: asyncio.Task[Any]) -> None:
    """Let the faults happen in turn while the work goes on, each at least once; then return once all is well again."""
    number = 0
    while plan.faults and (number < len(plan.faults) or not until.done()):
        await asyncio.sleep(BETWEEN)
        fault = plan.faults[number % len(plan.faults)]
        await _happen(fault, running)
        outcome.faults[fault] += 1
        number += 1


async def _happen(fault: str, running: Servers) -> None:
    match fault:
        case "blocked loop":
            await asyncio.to_thread(running.web.stand_still, BLOCKED)
        case "slow link":
            running.link.delay = DELAY
            await asyncio.sleep(SLOW)
            running.link.delay = 0.0
        case "dead Redis":
            running.redis.kill()
            await asyncio.sleep(DOWN)
            await asyncio.to_thread(running.redis.start)
        case "dead web server":
            running.web.kill()
            running.web.launch()
            await asyncio.to_thread(running.web.wait)
        case _:
            raise ValueError(f"{fault!r} is no fault; known are {', '.join(FAULTS)}.")
