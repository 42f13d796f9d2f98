"""The benchmarks' own measures and pages: what they make of what they are told."""

from __future__ import annotations

import pytest

from benchmarks.harness import Ratio
from benchmarks.pages import Page


class Wire:
    """What a page writes to."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.is_closed = True


def page(path: str = "/ws/tasks/") -> tuple[Page, Wire, list[bytes]]:
    heard: list[bytes] = []
    made, wire = Page("127.0.0.1:1", path, "a session", heard.append), Wire()
    made.transport = wire  # type: ignore[assignment]
    return made, wire, heard


UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
READY = b'{"type":"task.ready"}'
EVENT = b'{"event":"report.ready","text":"' + b"x" * 200 + b'"}'


def frame(payload: bytes, kind: int = 1) -> bytes:
    size = bytes([len(payload)]) if len(payload) < 126 else b"\x7e" + len(payload).to_bytes(2, "big")
    return bytes([0x80 | kind]) + size + payload


async def test_a_page_that_is_refused_hangs_up_and_is_never_open() -> None:
    refused, wire, _ = page()
    refused.data_received(b"HTTP/1.1 403 Forbidden\r\n\r\n")
    assert wire.is_closed
    refused.connection_lost(None)
    with pytest.raises(ConnectionError, match="403"):
        await refused.opened


async def test_a_page_of_ours_is_open_once_it_is_told_so_and_hears_events_alone() -> None:
    opened, wire, heard = page()
    sent = UPGRADED + frame(READY) + frame(b"are you there", 9) + frame(EVENT) + frame(EVENT)
    for number in range(len(sent)):  # however it is cut into pieces
        assert opened.opened.done() == (number >= len(UPGRADED + frame(READY)))
        opened.data_received(sent[number : number + 1])
    assert heard == [EVENT, EVENT]
    assert wire.written == [b"\x8a\x8d\0\0\0\0are you there"]


async def test_a_page_of_the_usual_consumer_is_open_once_it_is_accepted() -> None:
    usual, _, _ = page("/ws/usual/")
    usual.data_received(UPGRADED)
    assert usual.opened.done()


def test_a_ratio_of_quantities_is_the_median_of_the_rounds_and_tells_ours() -> None:
    told = Ratio.of("x", against="y", ours=[1, 4, 3], theirs=[2, 2, 2], unit="kB")
    assert (told.ratio, told.min, told.max, told.rounds, told.value) == (1.5, 0.5, 2.0, 3, 3)
    assert "3 kB" in told.as_text()
