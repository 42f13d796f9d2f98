"""The benchmarks' harness: calls in child processes, in rounds, and the ratios that they give."""

from __future__ import annotations

import sys

import pytest

from benchmarks.harness import Loop, LoopEnded, Measure, in_rounds

CHILD = """
import os, sys, time
from benchmarks.harness import each, serve
serve({
    "sleep a little": each(lambda: time.sleep(0.02)),
    "said": lambda count: count == int(os.environ["SAID"]) or sys.exit(1),
})
"""


def child(**environ: str) -> Loop:
    return Loop("a child", [sys.executable, "-c", CHILD], **environ)


def test_a_child_that_ends_is_told_of_by_its_name(capfd: pytest.CaptureFixture[str]) -> None:
    with child(SAID="3") as loop, pytest.raises(LoopEnded, match="a child ended as it was asked for 'unknown'"):
        loop.seconds("unknown", 1)
    assert "KeyError: 'unknown'" in capfd.readouterr().err


def test_a_child_makes_a_call_so_often_and_tells_how_long_all_of_them_took() -> None:
    with child(SAID="3") as loop:
        assert loop.seconds("said", 3) < 0.02 < 5 * 0.02 <= loop.timer("sleep a little", 5)()


def test_in_each_round_each_call_is_made_once_after_what_goes_before() -> None:
    made: list[str] = []

    def call(name: str) -> float:
        made.append(name)
        return float(len(made))

    told = in_rounds({"a": lambda: call("a"), "b": lambda: call("b")}, rounds=2, before=lambda: call("before"))
    assert made == ["before", "a", "b"] * 2
    assert told == {"a": [2.0, 5.0], "b": [3.0, 6.0]}


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    told = Measure.of("x", against="y", ours=[1, 4, 3], theirs=[2, 2, 2], repeat=100)
    assert (told.ratio, told.min, told.max, told.rounds, told.microseconds) == (1.5, 0.5, 2.0, 3, 30_000.0)
