"""What every log of events promises, as one class of tests: a subclass says which `make` is tried."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from uuid import uuid4

import pytest

from tasks_celery.channels.log import Cursor, Entry, Log, Position
from tasks_celery.channels.log.base import READ_AT_ONCE
from tests.shop.running import until

Make = Callable[..., Log]

_numbers = count()


def a_stream() -> str:
    return f"tc.{uuid4().hex}"


def an_entry(stream: str, body: str | None = None, *, key: str | None = None) -> Entry:
    number = next(_numbers)
    return Entry(stream, key or f"key {number}", f'"event":"n","data":{{"id":{number}}}}}' if body is None else body)


def kept(log: Log, *entries: Entry, again: bool = False) -> list[Position]:
    """Append, and return the positions; there is no error among them."""
    found = log.append(entries, again=again)
    assert len(found) == len(entries)
    for each in found:
        assert isinstance(each, Position), each
    return [each for each in found if isinstance(each, Position)]


def begun(log: Log, stream: str) -> Position:
    """Return where a stream stands."""
    (slice_,) = log.read([Cursor(stream)])
    assert slice_.top is not None
    return slice_.top


def follow(log: Log, stream: str, since: Position) -> list[str]:
    """Return all bodies after a position, as a reader gets them, who asks on from the last."""
    found: list[str] = []
    while True:
        (slice_,) = log.read([Cursor(stream, since)])
        assert not slice_.is_lost
        if not slice_.bodies:
            assert slice_.top == since
            return found
        found += slice_.bodies
        since = Position(since.epoch, since.seq + len(slice_.bodies))


class LogContract:
    """The promises; `make` is a fixture of the subclass, which opens a log with these options, empty for new streams."""

    @pytest.fixture
    def make(self) -> Make:
        raise NotImplementedError

    @pytest.fixture
    def log(self, make: Make) -> Log:
        return make()

    # cursors that are lost

    def test_another_epoch_is_lost_and_has_no_bodies(self, log: Log) -> None:
        stream = a_stream()
        (top,) = kept(log, an_entry(stream))
        for since in (Position("other", 0), Position("other", top.seq), Position("", 0), Position(top.epoch + "x", 1)):
            (slice_,) = log.read([Cursor(stream, since)])
            assert (slice_.top, slice_.bodies, slice_.is_lost) == (top, (), True)

    def test_an_epoch_that_no_store_can_hold_is_lost(self, log: Log) -> None:
        stream = a_stream()
        (top,) = kept(log, an_entry(stream))
        for odd in ("\ud800", "\0", "☃", "a:b", "x" * 64):
            (slice_,) = log.read([Cursor(stream, Position(odd, 0))])
            assert (slice_.top, slice_.is_lost) == (top, True)

    @pytest.mark.parametrize("seq", [3, 10**9, 2**53 - 1])
    def test_a_place_that_never_was_is_lost(self, log: Log, seq: int) -> None:
        stream = a_stream()
        top = kept(log, an_entry(stream), an_entry(stream))[-1]
        (slice_,) = log.read([Cursor(stream, Position(top.epoch, seq))])
        assert (slice_.top, slice_.bodies, slice_.is_lost) == (top, (), True)

    def test_a_negative_number_is_lost(self, log: Log) -> None:
        stream = a_stream()
        (top,) = kept(log, an_entry(stream))
        (slice_,) = log.read([Cursor(stream, Position(top.epoch, -1))])
        assert (slice_.top, slice_.bodies, slice_.is_lost) == (top, (), True)

    def test_events_beyond_those_that_are_kept_are_lost(self, make: Make) -> None:
        log, stream = make(keep=5), a_stream()
        entries = [an_entry(stream) for _ in range(23)]
        top = kept(log, *entries)[-1]
        for seq in range(24):
            (slice_,) = log.read([Cursor(stream, Position(top.epoch, seq))])
            assert slice_.top == top
            assert slice_.is_lost == (seq < 18), seq
            assert slice_.bodies == (() if seq < 18 else tuple(entry.body for entry in entries[seq:]))

    def test_one_event_may_be_all_that_is_kept(self, make: Make) -> None:
        log, stream = make(keep=1), a_stream()
        for number in range(1, 20):
            entry = an_entry(stream)
            (top,) = kept(log, entry)
            assert top.seq == number
            assert log.read([Cursor(stream, Position(top.epoch, number - 1))])[0].bodies == (entry.body,)
            assert log.read([Cursor(stream, Position(top.epoch, number - 2))])[0].is_lost

    def test_events_that_are_too_old_are_lost(self, make: Make) -> None:
        log, stream = make(keep_for=0.04), a_stream()
        start = begun(log, stream)
        kept(log, an_entry(stream), an_entry(stream))
        until(lambda: log.read([Cursor(stream, start)])[0].is_lost)
        # The stream goes on, in this epoch or another.
        entry, before = an_entry(stream), begun(log, stream)
        (top,) = kept(log, entry)
        assert top == Position(before.epoch, before.seq + 1)

    # what is kept

    def test_numbers_count_from_one_without_a_gap_in_each_stream(self, log: Log) -> None:
        one, two = a_stream(), a_stream()
        first = kept(log, an_entry(one), an_entry(two), an_entry(one))
        second = kept(log, an_entry(two), an_entry(one))
        assert [position.seq for position in first + second] == [1, 1, 2, 2, 3]
        assert first[0].epoch == first[2].epoch == second[1].epoch
        assert first[1].epoch == second[0].epoch
        assert first[0].epoch != first[1].epoch

    def test_epochs_can_be_told_as_text(self, log: Log) -> None:
        (top,) = kept(log, an_entry(a_stream()))
        assert 1 <= len(top.epoch) <= 64
        assert ":" not in top.epoch

    def test_what_is_after_a_cursor_comes_in_order(self, log: Log) -> None:
        stream = a_stream()
        start = begun(log, stream)
        entries = [an_entry(stream) for _ in range(12)]
        top = kept(log, *entries)[-1]
        for seq in range(12):
            (slice_,) = log.read([Cursor(stream, Position(start.epoch, seq))])
            assert (slice_.top, slice_.is_lost) == (top, False)
            assert slice_.bodies == tuple(entry.body for entry in entries[seq:])

    def test_a_cursor_at_the_top_has_nothing_after_it(self, log: Log) -> None:
        stream = a_stream()
        (top,) = kept(log, an_entry(stream))
        (slice_,) = log.read([Cursor(stream, top)])
        assert (slice_.top, slice_.bodies, slice_.is_lost) == (top, (), False)

    def test_without_a_cursor_only_the_position_is_told(self, log: Log) -> None:
        stream = a_stream()
        (top,) = kept(log, an_entry(stream))
        (slice_,) = log.read([Cursor(stream)])
        assert (slice_.top, slice_.bodies, slice_.is_lost) == (top, (), False)

    @pytest.mark.parametrize(
        "body",
        ["", "{}", "☃ 😀 é", '"\\u0000"', "a\r\nb\tc", "%s {x} ' \" \\ ;--", "x" * 8_000, "😀" * 2_000, "\x7f\x01"],
        ids=range(9),
    )
    def test_a_body_comes_back_as_it_was(self, log: Log, body: str) -> None:
        stream = a_stream()
        start = begun(log, stream)
        kept(log, an_entry(stream, body))
        assert log.read([Cursor(stream, start)])[0].bodies == (body,)

    def test_a_reader_that_is_far_behind_gets_a_part_and_asks_on(self, log: Log) -> None:
        stream = a_stream()
        start = begun(log, stream)
        entries = [an_entry(stream) for _ in range(READ_AT_ONCE + 30)]
        top = kept(log, *entries)[-1]
        (slice_,) = log.read([Cursor(stream, start)])
        assert slice_.top == top
        assert slice_.bodies == tuple(entry.body for entry in entries[:READ_AT_ONCE])
        assert follow(log, stream, start) == [entry.body for entry in entries]

    def test_many_streams_are_read_in_one_question(self, log: Log) -> None:
        streams = [a_stream() for _ in range(45)]
        starts = [slice_.top for slice_ in log.read([Cursor(stream) for stream in streams])]
        entries = [an_entry(stream) for stream in streams]
        kept(log, *entries)
        found = log.read([Cursor(stream, start) for stream, start in zip(streams, starts, strict=True)])
        assert [slice_.bodies for slice_ in found] == [(entry.body,) for entry in entries]

    def test_one_stream_is_read_from_several_places_at_once(self, log: Log) -> None:
        stream, other = a_stream(), a_stream()
        entries = [an_entry(stream) for _ in range(3)]
        top = kept(log, *entries)[-1]
        cursors = [Cursor(stream, Position(top.epoch, seq)) for seq in (0, 2, 2, 3, 9)]
        found = log.read([*cursors, Cursor(stream), Cursor(other)])
        assert [len(slice_.bodies) for slice_ in found] == [3, 1, 1, 0, 0, 0, 0]
        assert [slice_.is_lost for slice_ in found] == [False] * 4 + [True, False, False]
        assert found[6].top == begun(log, other)

    def test_nothing_to_do_is_done(self, log: Log) -> None:
        assert (log.append([]), log.read([]), log.tops([])) == ([], [], [])

    # a stream that begins

    def test_a_stream_that_is_read_begins_and_its_first_event_has_that_epoch(self, log: Log) -> None:
        stream, entry = a_stream(), an_entry("")
        start = begun(log, stream)
        assert start.seq == 0
        assert begun(log, stream) == start
        (top,) = kept(log, entry._replace(stream=stream))
        assert top == Position(start.epoch, 1)
        assert log.read([Cursor(stream, start)])[0].bodies == (entry.body,)

    # tops

    def test_tops_are_told_in_the_order_asked(self, log: Log) -> None:
        one, two, three = a_stream(), a_stream(), a_stream()
        first, second = kept(log, an_entry(one), an_entry(one))[-1], begun(log, two)
        assert log.tops([two, three, one, two]) == [second, None, first, second]

    def test_to_ask_for_the_top_of_a_stream_does_not_begin_it(self, log: Log) -> None:
        stream = a_stream()
        assert log.tops([stream]) == [None]
        assert log.tops([stream]) == [None]

    def test_the_tops_of_very_many_streams_are_told(self, log: Log) -> None:
        streams = [a_stream() for _ in range(1_100)]
        top = kept(log, an_entry(streams[-1]))[0]
        assert log.tops(streams) == [None] * 1_099 + [top]

    # again

    def test_an_event_that_is_there_is_not_kept_again(self, log: Log) -> None:
        stream = a_stream()
        entries = [an_entry(stream) for _ in range(5)]
        positions = kept(log, *entries)
        for entry, position in zip(entries, positions, strict=True):
            assert kept(log, entry, again=True) == [position]
        assert kept(log, *entries, again=True) == positions
        assert log.tops([stream]) == [positions[-1]]

    def test_an_event_that_is_not_there_is_kept_again_where_it_has_its_turn(self, log: Log) -> None:
        stream = a_stream()
        old, new = an_entry(stream), an_entry(stream)
        first = kept(log, old)[0]
        assert kept(log, old, new, an_entry(stream), again=True) == [
            first,
            Position(first.epoch, 2),
            Position(first.epoch, 3),
        ]
        assert follow(log, stream, Position(first.epoch, 0))[:2] == [old.body, new.body]

    def test_the_same_key_in_another_stream_is_another_event(self, log: Log) -> None:
        one, two = an_entry(a_stream(), key="same"), an_entry(a_stream(), key="same")
        kept(log, one)
        assert kept(log, two, again=True)[0].seq == 1

    def test_an_event_of_a_stream_that_is_not_there_is_kept_again(self, log: Log) -> None:
        assert kept(log, an_entry(a_stream()), again=True)[0].seq == 1

    def test_without_again_the_same_key_is_kept_twice(self, log: Log) -> None:
        entry = an_entry(a_stream())
        assert [position.seq for position in kept(log, entry, entry)] == [1, 2]

    def test_an_event_is_found_among_the_last_hundred(self, log: Log) -> None:
        stream = a_stream()
        entries = [an_entry(stream) for _ in range(100)]
        positions = kept(log, *entries)
        assert kept(log, entries[0], again=True) == [positions[0]]

    # tidying

    def test_tidying_leaves_what_is_to_be_kept(self, log: Log) -> None:
        stream = a_stream()
        start = begun(log, stream)
        entries = [an_entry(stream) for _ in range(3)]
        kept(log, *entries)
        log.tidy()
        assert follow(log, stream, start) == [entry.body for entry in entries]
