"""What was found at one place of a project: what it is, whether it moves, and why not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple


class Verdict(StrEnum):
    """What is to become of something."""

    #: A fixer changes it, and nothing else changes by it.
    MOVES = "moves"
    #: A person has to decide; the reason says what.
    PERSON = "person"
    #: It is wrong today already, or will be; the reason says how.
    UNSAFE = "unsafe"
    #: It goes on as it is, and need not be touched.
    STAYS = "stays"


class Anchor(NamedTuple):
    """The place of a name in a text: its line, from 1 on, and its column in characters, from 0 on.

    Of a call or an attribute it is the last name's, ``delay`` in ``shop.tasks.add.delay(1)``; of a function or a class its own.
    """

    line: int
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing at one place. `kind` is what it is (`tasks_celery.migrate.things`), `name` what it is about.

    `fixer` is the one that would change it, `facts` what that one and the report go by: as JSON can hold it.
    """

    path: str
    anchor: Anchor
    kind: str
    name: str
    verdict: Verdict
    reason: str = ""
    fixer: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
