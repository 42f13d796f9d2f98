"""Imported where a task runs, and nowhere else: who asks for its result does not know these classes."""

from __future__ import annotations


class Odd(Exception):
    """Cannot be made again from its arguments."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


class Outer:
    class Inner(Exception):
        """A class within a class."""
