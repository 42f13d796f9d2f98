"""What it costs a task to tell a browser that it is done, against `async_to_sync(group_send)`; the event is kept in Redis, too."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from benchmarks.harness import Loop, Measure, Number, in_rounds

LAYERS = ("core", "pubsub")
USUAL = "async_to_sync(group_send)"
ROUNDS, REPEAT, MANY = 11, 50, 1_000


def measure() -> Iterator[Measure | Number]:
    with ExitStack() as stack:
        loops = {
            layer: stack.enter_context(Loop(layer, [sys.executable, "-m", "benchmarks.pusher"], BENCH_LAYER=layer))
            for layer in LAYERS
        }
        timed = {
            f"{call}.{layer}": _pushes(loop, call)
            for layer, loop in loops.items()
            for call in ("publish", "group_send")
        }
        for call in timed.values():
            call()  # warm
        seconds = in_rounds(timed, rounds=ROUNDS)
        for layer in LAYERS:
            ours, theirs = seconds[f"publish.{layer}"], seconds[f"group_send.{layer}"]
            yield Measure.of(f"push.{layer}", against=USUAL, ours=ours, theirs=theirs, repeat=REPEAT)
        for layer, loop in loops.items():
            usual = _connections(lambda loop=loop: loop.seconds("group_send", MANY))
            opened = _connections(lambda loop=loop: (loop.seconds("publish", MANY), loop.seconds("flush", 1)))
            suffix = "" if layer == LAYERS[0] else f".{layer}"
            unit = f"connections opened per {MANY} pushes, {usual} by {USUAL}"
            yield Number(measure=f"push.connections{suffix}", value=opened, unit=unit)


def _pushes(loop: Loop, call: str) -> Callable[[], float]:
    """Return what makes a call so often and tells the seconds; what it left to be sent is sent, apart from these."""

    def timed() -> float:
        seconds = loop.seconds(call, REPEAT)
        loop.seconds("flush", 1)
        return seconds

    return timed


def _connections(call: Callable[[], object]) -> int:
    """Return how many connections Redis takes during a call."""
    import redis

    with redis.Redis.from_url(os.environ["BENCH_REDIS"]) as client:
        before = int(client.info("stats")["total_connections_received"])  # type: ignore[index]
        call()
        return int(client.info("stats")["total_connections_received"]) - before  # type: ignore[index]
