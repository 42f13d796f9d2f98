"""Every point of the contract has a test here that names it, and what a fast test cannot show has one in integration/."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
POINTS = range(1, 56)

#: What takes a broker, a pool or a process of its own: the point is shown there once more, for real.
FOR_REAL = {
    24: "integration/test_endings.py::test_the_record_tells_how_it_ended",  # in the child of a prefork pool
    26: "integration/test_endings.py::test_a_traceback_ends_with_the_error",
    27: "integration/test_endings.py::test_the_record_tells_how_it_ended",
    38: "integration/test_endings.py::test_one_finished_event_whose_receiver_can_read_the_result",  # its child killed
    50: "integration/test_example.py::test_a_result_is_read_from_another_process",
}


def functions_of(path: Path) -> list[str]:
    """Return the names of the test functions of a module."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = ast.parse(path.read_text()).body
    return [node.name for node in nodes if isinstance(node, functions) and node.name.startswith("test_")]


def names_by_point() -> dict[int, list[str]]:
    named: dict[int, list[str]] = {}
    for path in sorted(HERE.glob("test_*.py")):
        for name in functions_of(path):
            if number := re.match(r"test_(\d\d)_", name):
                named.setdefault(int(number[1]), []).append(name)
    return named


def test_each_point_has_a_test_that_names_it() -> None:
    named = names_by_point()
    assert [point for point in POINTS if point not in named] == []


def test_no_test_names_a_point_that_is_none() -> None:
    assert sorted(set(names_by_point()) - set(POINTS)) == []
    unnamed = [
        name
        for path in HERE.glob("test_*.py")
        if path != Path(__file__)
        for name in functions_of(path)
        if not re.match(r"test_\d\d_", name)
    ]
    assert unnamed == []


@pytest.mark.parametrize(("point", "node"), FOR_REAL.items(), ids=str)
def test_what_is_shown_for_real_is_there(point: int, node: str) -> None:
    path, _, name = node.partition("::")
    assert point in POINTS
    assert name in functions_of(ROOT / path)
