"""How far a long look has come, on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

BAR = 30
#: Seconds: what is over sooner says nothing; between two pictures of the bar; between two lines.
PATIENCE, REDRAW, LINE = 0.7, 0.1, 5.0


@contextmanager
def shown(stream: TextIO, label: str, *, quiet: bool = False) -> Iterator[Progress]:
    """Show a progress while something lasts, and take it away however that ends."""
    progress = Progress(stream, label, quiet=quiet)
    try:
        yield progress
    finally:
        progress.end()


class Progress:
    """Is called with how many are done of how many, and writes so where it takes long."""

    def __init__(
        self, stream: TextIO, label: str, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.stream, self.label, self.quiet, self.clock = stream, label, quiet, clock
        self.is_bar = stream.isatty()
        self._next = clock() + PATIENCE
        self._drawn = False

    def __call__(self, done: int, total: int) -> None:
        """Write how far it is, unless that was done just now."""
        now = self.clock()
        if self.quiet or not total or (now < self._next and not (self._drawn and done == total)):
            return
        self._next, self._drawn = now + (REDRAW if self.is_bar else LINE), True
        self.stream.write(self._bar(done, total) if self.is_bar else f"{self.label}: {done} of {total} files\n")
        self.stream.flush()

    def end(self) -> None:
        """Take the bar away."""
        if self._drawn and self.is_bar:
            self.stream.write("\r\x1b[K")
            self.stream.flush()

    def _bar(self, done: int, total: int) -> str:
        full = BAR * done // total
        return f"\r\x1b[K{self.label} [{'#' * full}{'.' * (BAR - full)}] {done} of {total} files"
