"""Test process. The table of endings in docs/guarantees.md, made of what was seen.

``TASKS_CELERY_ENDINGS=write`` has the integration run write it; ``full`` has it compare.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from integration.endings.matrix import ENDINGS, POOLS, Seen

GUARANTEES = Path(__file__).resolve().parent.parent.parent / "docs" / "guarantees.md"
BEGIN = "<!-- endings: begin. Written by TASKS_CELERY_ENDINGS=write ./run test integration/test_endings.py -->"
END = "<!-- endings: end -->"

#: What was seen of an ending, by pool and broker.
Cells = Mapping[tuple[str, str], Mapping[str, Seen]]


def table(cells: Cells) -> str:
    """Return the table in Markdown: a row for each ending, under the headings of their groups, a column for each pool."""
    lines = []
    for group in dict.fromkeys(ending.group for ending in ENDINGS.values()):
        lines += ["", f"### {group}", "", _row("Ending", *POOLS), _row(*["---"] * (len(POOLS) + 1))]
        lines += [
            _row(name, *(_cell(cells, pool, name) for pool in POOLS))
            for name, ending in ENDINGS.items()
            if ending.group == group
        ]
    return "\n".join([*lines, ""])


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cells: Cells, pool: str, ending: str) -> str:
    """Return what the brokers have in common, and each by its name where they differ."""
    expected = ENDINGS[ending].seen[pool]
    seen = {broker: _either(by_ending[ending], expected) for (at, broker), by_ending in cells.items() if at == pool}
    different = set(seen.values())
    why = expected.instead
    text = different.pop() if len(different) == 1 else "; ".join(f"{broker}: {each}" for broker, each in seen.items())
    return f"not possible, {why}; {text}" if why else text


def _either(seen: Seen, expected: Seen) -> str:
    """Return what was seen, with what might have been."""
    both = [told(each) for each in (expected, expected.other) if each]
    return " or ".join(both) if told(seen) in both else told(seen)


def told(seen: Seen) -> str:
    """Return what was seen of one task, in words."""
    attempts = "" if seen.attempts == 1 else f", {seen.attempts or 'no'} attempt{'s' if seen.attempts else ''}"
    counted = {error.rpartition(".")[2]: seen.errors.count(error) for error in seen.errors}
    errors = ", ".join(name if count == 1 else f"{count} {name}" for name, count in counted.items())
    return f"{seen.status}{attempts}{f' ({errors})' if errors else ''}"


def written(text: str) -> str:
    """Return the part of a document between the marks."""
    return text.partition(BEGIN)[2].partition(END)[0]


def replaced(text: str, new: str) -> str:
    """Return a document with a new part between the marks."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}{new}{END}{rest.partition(END)[2]}"
