"""Times calls in interleaved rounds and tells ratios: the machine's moods fall on both sides alike."""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A ratio of one call's time to another's, the median of its rounds."""

    measure: str
    ratio: float
    against: str
    min: float
    max: float
    rounds: int
    microseconds: float

    @classmethod
    def of(
        cls, name: str, *, against: str, ours: list[float], theirs: list[float], repeat: int, speed: bool = False
    ) -> Measure:
        """Return the ratio of two lists of seconds, one of each per round, for `repeat` calls; `speed` turns it over."""
        ratios = [other / one if speed else one / other for one, other in zip(ours, theirs, strict=True)]
        return cls(
            measure=name,
            ratio=round(statistics.median(ratios), 4),
            against=against,
            min=round(min(ratios), 4),
            max=round(max(ratios), 4),
            rounds=len(ratios),
            microseconds=round(statistics.median(ours) / repeat * 1e6, 1),
        )

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    def as_text(self) -> str:
        return (
            f"{self.measure:<31} {self.ratio:6.3f} x {self.against:<28} "
            f"({self.min:.3f} to {self.max:.3f} in {self.rounds} rounds; {self.microseconds:.0f} us a call)"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A measure that is no ratio."""

    measure: str
    value: float
    unit: str

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    def as_text(self) -> str:
        return f"{self.measure:<31} {self.value} {self.unit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A ratio of one quantity to another that is no time of a call: `value` is ours, in `unit`."""

    measure: str
    ratio: float
    against: str
    min: float
    max: float
    rounds: int
    value: float
    unit: str

    @classmethod
    def of(cls, name: str, *, against: str, ours: Sequence[float], theirs: Sequence[float], unit: str) -> Ratio:
        """Return the median of the ratios of two lists, one of each per round."""
        ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
        return cls(
            measure=name,
            ratio=round(statistics.median(ratios), 4),
            against=against,
            min=round(min(ratios), 4),
            max=round(max(ratios), 4),
            rounds=len(ratios),
            value=round(statistics.median(ours), 2),
            unit=unit,
        )

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    def as_text(self) -> str:
        return (
            f"{self.measure:<31} {self.ratio:6.3f} x {self.against:<28} "
            f"({self.min:.3f} to {self.max:.3f} in {self.rounds} rounds; {self.value:g} {self.unit})"
        )


def compare(
    calls: dict[str, Callable[[], object]], *, against: str, rounds: int = 15, repeat: int = 200
) -> list[Measure]:
    """Return the ratio of each call to `against`: in every round, each is timed once for `repeat` calls."""
    for call in calls.values():
        _seconds(call, repeat // 10)
    seconds = in_rounds({name: lambda call=call: _seconds(call, repeat) for name, call in calls.items()}, rounds=rounds)
    return [
        Measure.of(name, against=against, ours=seconds[name], theirs=seconds[against], repeat=repeat)
        for name in calls
        if name != against
    ]


def in_rounds(
    timed: Mapping[str, Callable[[], float]], *, rounds: int, before: Callable[[], object] = lambda: None
) -> dict[str, list[float]]:
    """Return the seconds that each call told, one per round; in each round, all are called once, after `before`."""
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(rounds):
        before()
        for name, call in timed.items():
            seconds[name].append(call())
    return seconds


def _seconds(call: Callable[[], object], repeat: int) -> float:
    gc.collect()
    begun = time.perf_counter()
    for _ in range(repeat):
        call()
    return time.perf_counter() - begun


# --- calls in child processes: each has settings, and may have an environment, of its own

#: Makes a call so many times.
Call: TypeAlias = Callable[[int], object]


def each(call: Callable[[], object]) -> Call:
    """Return what makes a call so many times, one after the other."""

    def repeated(count: int) -> None:
        for _ in range(count):
            call()

    return repeated


def serve(calls: Mapping[str, Call]) -> None:
    """Child process. Make the calls that standard input asks for, a line with a count and a name each, and tell the seconds."""
    for line in sys.stdin:
        count, name = line.rstrip("\n").split(" ", 1)
        print(_seconds(lambda name=name, count=count: calls[name](int(count)), 1), flush=True)


class LoopEnded(Exception):
    """A child process ended while it was asked for a call; what it said of it is above."""


class Loop:
    """A child process that serves calls, for the length of a ``with`` block; `environ` is added to this process's."""

    def __init__(self, name: str, command: Sequence[str], **environ: str) -> None:
        self.name, self.command, self.environ = name, command, environ

    def __enter__(self) -> Loop:
        self.process = subprocess.Popen(
            self.command,
            cwd=ROOT,
            env=os.environ | self.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.communicate()

    def seconds(self, call: str, count: int) -> float:
        """Return how long a call takes, so many times."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{count} {call}\n")
        self.process.stdin.flush()
        told = self.process.stdout.readline()
        if not told:
            raise LoopEnded(f"The process of {self.name} ended as it was asked for {call!r}; see above.")
        return float(told)

    def timer(self, call: str, count: int) -> Callable[[], float]:
        """Return what makes a call so many times and returns the seconds."""
        return lambda: self.seconds(call, count)


@contextmanager
def private_redis() -> Iterator[str]:
    """Run a Redis of our own and give its URL; stopped and removed afterwards."""
    from example.servers import Child, plan_redis, redis_answers, stop, wait_until

    with tempfile.TemporaryDirectory() as directory:
        environ = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
        plan = plan_redis(environ, Path(directory))
        if plan.url is None:
            raise SystemExit("No Redis server is here to measure against; install redis-server.")
        redis = Child("redis", plan.command, env=environ)
        try:
            wait_until(lambda: redis_answers(str(plan.url)), what="Redis", watch=[redis])
            yield plan.url
        finally:
            stop([redis])
