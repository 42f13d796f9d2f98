"""How far a long look has come."""

from __future__ import annotations

from io import StringIO

from tasks_celery.migrate.report.progress import LINE, Progress


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def run(stream: StringIO, *moments: float, quiet: bool = False) -> str:
    clock = Clock()
    progress = Progress(stream, "Reading", quiet=quiet, clock=clock)
    for done, clock.now in enumerate(moments, start=1):
        progress(done, len(moments))
    progress.end()
    return stream.getvalue()


def test_what_is_over_soon_says_nothing() -> None:
    assert run(Terminal(), 0.1, 0.2, 0.3) == ""
    assert run(StringIO(), 0.1, 0.2, 0.3) == ""


def test_a_terminal_has_a_bar_that_is_taken_away() -> None:
    written = run(Terminal(), 0.1, 1.0, 1.01, 2.0)
    assert written.count("\r") == 3
    assert "Reading [###############...............] 2 of 4 files" in written
    assert "] 3 of 4" not in written
    assert written.endswith("] 4 of 4 files\r\x1b[K")


def test_a_log_has_a_line_now_and_then() -> None:
    assert run(StringIO(), 1.0, 2.0, 1.1 + LINE, 1.2 + LINE) == "".join(
        f"Reading: {done} of 4 files\n" for done in (1, 3, 4)
    )


def test_quiet_says_nothing() -> None:
    assert run(Terminal(), 1.0, 9.0, quiet=True) == ""


def test_nothing_to_do_is_no_error() -> None:
    stream, clock = Terminal(), Clock()
    progress = Progress(stream, "Reading", clock=clock)
    clock.now = 9.0
    progress(0, 0)
    assert stream.getvalue() == ""
