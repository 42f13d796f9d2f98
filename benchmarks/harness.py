"""Times calls in interleaved rounds and tells ratios: the machine's moods fall on both sides alike."""

from __future__ import annotations

import gc
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path


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
            f"{self.measure:<24} {self.ratio:6.3f} x {self.against:<28} "
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
        return f"{self.measure:<24} {self.value} {self.unit}"


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


def in_rounds(timed: dict[str, Callable[[], float]], *, rounds: int) -> dict[str, list[float]]:
    """Return the seconds that each call told, one per round; in each round, all are called once."""
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(rounds):
        for name, call in timed.items():
            seconds[name].append(call())
    return seconds


def _seconds(call: Callable[[], object], repeat: int) -> float:
    gc.collect()
    begun = time.perf_counter()
    for _ in range(repeat):
        call()
    return time.perf_counter() - begun


@contextmanager
def private_redis() -> Iterator[str]:
    """Run a Redis of our own and give its URL; stopped and removed afterwards."""
    import os

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
