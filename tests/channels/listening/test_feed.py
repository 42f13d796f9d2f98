from __future__ import annotations

import json
import random
from typing import Any

import pytest

from tasks_celery.channels.events import EVENT, READY, RESET
from tasks_celery.channels.listening.feed import Feed, Step, Then
from tasks_celery.channels.log import Cursor, Entry, Position, Slice
from tasks_celery.channels.log.memory import MemoryLog
from tests.channels.helpers import entry

ROOM = 1_000_000


def at(seq: int, epoch: str = "e1") -> Position:
    return Position(epoch, seq)


def feed_at(seq: int, epoch: str = "e1") -> Feed:
    feed = Feed(at(seq, epoch))
    feed.took(Slice(at(seq, epoch)), room=ROOM)
    return feed


def kinds(steps: list[Step]) -> list[Any]:
    return [step.position.seq if step.kind == EVENT and step.position else step.kind for step in steps]


# --- what the layer brings ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("position", "then", "last", "is_behind"),
    [
        (at(8), Then.SEND, 8, False),
        (at(7), Then.LOOK, 7, False),
        (at(1), Then.LOOK, 7, False),
        (at(9), Then.READ, 7, True),
        (at(8, "e2"), Then.READ, 7, True),
        (at(1, "e2"), Then.READ, 7, True),
        (None, Then.SEND, 7, False),
    ],
)
def test_only_what_follows_the_last_event_is_sent(
    position: Position | None, then: Then, last: int, is_behind: bool
) -> None:
    feed = feed_at(7)
    assert (feed.hear(position), feed.last, feed.is_behind) == (then, at(last), is_behind)


def test_what_has_no_room_comes_from_the_log_later() -> None:
    feed = feed_at(7)
    assert feed.hear(at(8), has_room=False) is Then.READ
    assert (feed.ask(), feed.is_behind) == (at(7), True)


def test_while_behind_nothing_that_is_heard_is_sent() -> None:
    feed = Feed(at(7))
    assert [feed.hear(each) for each in (at(8), at(7), None, at(1, "e2"))] == [Then.DROP] * 4


def test_what_was_heard_while_the_log_was_asked_is_read_unless_it_is_in_the_answer() -> None:
    feed = Feed(at(0))
    feed.ask()
    feed.hear(at(3))
    feed.took(Slice(at(2), ("a", "b")), room=ROOM)
    assert (feed.last, feed.is_behind) == (at(2), True)
    feed.ask()
    feed.hear(at(3))
    feed.took(Slice(at(3), ("c",)), room=ROOM)
    assert (feed.last, feed.is_behind) == (at(3), False)


@pytest.mark.parametrize("order", [[at(9), at(1, "e2")], [at(1, "e2"), at(9)]])
def test_of_two_epochs_heard_meanwhile_the_log_decides(order: list[Position]) -> None:
    feed = Feed(at(8))
    feed.ask()
    for position in order:
        feed.hear(position)
    feed.took(Slice(at(9), ("x",)), room=ROOM)  # asked before the stream began anew
    assert feed.is_behind


def test_without_a_log_what_comes_is_passed_on_once_ready() -> None:
    feed = Feed(None)
    assert feed.hear(None) is Then.DROP
    assert kinds(feed.took(Slice(None), room=ROOM)) == [READY]
    assert [feed.hear(None), feed.hear(at(3)), feed.hear(at(3))] == [Then.SEND] * 3
    assert feed.hear(None, has_room=False) is Then.DROP
    feed.told_top(at(9), asked=None)
    assert not feed.is_behind


# --- what the log answers -------------------------------------------------------------------------------------------


def test_who_names_no_position_begins_at_the_end() -> None:
    feed = Feed(None)
    assert feed.ask() is None
    assert feed.took(Slice(at(41)), room=ROOM) == [Step(READY, at(41))]
    assert feed.hear(at(42)) is Then.SEND


def test_what_was_missed_comes_first_and_then_ready() -> None:
    feed = Feed(at(4))
    assert kinds(feed.took(Slice(at(6), ("a", "b")), room=ROOM)) == [5, 6, READY]
    assert not feed.is_behind


def test_ready_comes_after_the_last_slice_and_only_once() -> None:
    feed = Feed(at(0))
    assert kinds(feed.took(Slice(at(3), ("a", "b")), room=ROOM)) == [1, 2]
    assert feed.is_behind
    assert kinds(feed.took(Slice(at(3), ("c",)), room=ROOM)) == [3, READY]
    feed.doubt()
    assert kinds(feed.took(Slice(at(4), ("d",)), room=ROOM)) == [4]


def test_a_lost_place_is_a_reset_and_the_end_of_the_stream() -> None:
    feed = Feed(at(4, "old"))
    assert feed.took(Slice(at(9), is_lost=True), room=ROOM) == [Step(RESET, at(9)), Step(READY, at(9))]
    assert feed.hear(at(10)) is Then.SEND


def test_an_answer_that_brings_nothing_on_is_not_asked_for_without_end() -> None:
    feed = Feed(at(4))
    assert kinds(feed.took(Slice(at(9)), room=ROOM)) == [RESET, READY]


def test_of_a_slice_no_more_is_taken_than_there_is_room_for() -> None:
    feed = Feed(at(0))
    assert kinds(feed.took(Slice(at(3), ("aaa", "bbb", "ccc")), room=5)) == [1, 2]
    assert (feed.last, feed.is_behind) == (at(2), True)
    assert kinds(feed.took(Slice(at(3), ("c" * 100,)), room=1)) == [3, READY]


def test_who_asks_to_go_on_from_elsewhere_is_replayed_and_ready_again() -> None:
    feed = feed_at(7)
    feed.resume(at(5))
    assert feed.hear(at(8)) is Then.DROP
    assert feed.ask() == at(5)
    assert kinds(feed.took(Slice(at(8), ("f", "g", "h")), room=ROOM)) == [6, 7, 8, READY]


# --- the position check ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("top", "asked", "is_behind"),
    [
        (at(7), at(7), False),
        (at(8), at(7), True),
        (at(8), None, True),
        (at(6), at(6), False),  # the answer is older than what came meanwhile
        (at(6), None, False),
        (at(7, "e2"), at(7), True),
        (None, at(7), True),
    ],
)
def test_the_log_is_read_where_its_top_is_another(
    top: Position | None, asked: Position | None, is_behind: bool
) -> None:
    feed = feed_at(7)
    feed.told_top(top, asked=asked)
    assert feed.is_behind is is_behind


def test_a_log_that_went_back_is_a_reset_even_if_the_numbers_have_caught_up_meanwhile() -> None:
    feed = feed_at(7)
    feed.told_top(at(5), asked=at(7))
    assert feed.ask() is None
    assert kinds(feed.took(Slice(at(7)), room=ROOM)) == [RESET, READY]
    assert feed.hear(at(8)) is Then.SEND


def test_a_log_that_is_seen_to_go_back_while_it_is_read_is_a_reset() -> None:
    feed = feed_at(7)
    feed.doubt()
    feed.ask()
    feed.told_top(at(5), asked=at(7))
    assert kinds(feed.took(Slice(at(7)), room=ROOM)) == [RESET, READY]
    assert feed.is_behind
    assert kinds(feed.took(Slice(at(5)), room=ROOM)) == [RESET, READY]  # the answer was that of the older copy's end


def test_a_doubt_during_a_read_is_read_again() -> None:
    feed = Feed(at(0))
    feed.ask()
    feed.doubt()
    feed.took(Slice(at(0)), room=ROOM)
    assert feed.is_behind
    feed.ask()
    feed.took(Slice(at(1), ("a",)), room=ROOM)
    assert not feed.is_behind


# --- whatever happens -----------------------------------------------------------------------------------------------


class Story:
    """One listener, a log of few events, and a layer that loses, doubles and reorders; what happens is drawn by `seed`."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.log = MemoryLog(keep=self.random.choice([3, 10, 1_000]), keep_for=3600)
        self.layer: list[Position] = []
        self.written = 0
        self.answer: Slice | None = None
        self.top: tuple[Position | None, Position | None] | None = None
        self.since = self.log.read([Cursor("s")])[0].top
        self.feed = Feed(self.random.choice([None, self.since]))
        #: What the page was told after each position where it was to begin anew: the events, by their number.
        self.told: list[tuple[Position | None, list[str]]] = [(self.since, [])]
        self.lost_answers = 0
        self.keys: dict[Position | None, str] = {}

    def play(self, steps: int) -> None:
        moves = [self.append] * 4 + [self.hear] * 4 + [self.ask, self.take] * 2 + [self.look, self.compare, self.rare]
        for _ in range(steps):
            self.random.choice(moves)()

    def settle(self) -> None:
        self.take()
        self.compare()
        for _ in range(200):
            if self.feed.is_behind:
                self.ask()
                self.take()
        self.look()
        self.compare()
        while self.feed.is_behind:
            self.ask()
            self.take()

    def append(self) -> None:
        self.written += 1
        key = str(self.written)
        (position,) = self.log.append([Entry("s", key, entry(key).body)])
        assert isinstance(position, Position)
        self.keys[position] = key
        self.layer += [position] * self.random.choice([0, 1, 1, 1, 1, 2])

    def hear(self) -> None:
        if self.layer:
            # As a rule in order, at times not.
            where = 0 if self.random.random() < 0.8 else self.random.randrange(len(self.layer))
            position = self.layer.pop(where)
            if self.feed.hear(position, has_room=self.random.random() < 0.9) is Then.SEND:
                self.told[-1][1].append(self.keys[position])

    def ask(self) -> None:
        if self.feed.is_behind and self.answer is None:
            self.asked = self.feed.ask()
            (self.answer,) = self.log.read([Cursor("s", self.asked)])

    def take(self) -> None:
        if self.answer is None:
            return
        answer, self.answer = self.answer, None
        self.lost_answers += answer.is_lost
        for step in self.feed.took(answer, room=self.random.choice([1, 200, ROOM])):
            if step.kind == EVENT:
                self.told[-1][1].append(str(json.loads("{" + step.body)["data"]["id"]))
            elif step.kind == RESET:
                assert answer.is_lost or self.asked is None
                self.told.append((step.position, []))

    def look(self) -> None:
        if self.top is None:
            self.top = self.log.tops(["s"])[0], self.feed.last

    def compare(self) -> None:
        if self.top is not None:
            self.feed.told_top(self.top[0], asked=self.top[1])
            self.top = None

    def rare(self) -> None:
        if self.random.random() < 0.1:
            self.log._streams.pop("s", None)  # it begins anew, in another epoch


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_the_page_misses_nothing_unless_it_is_told_so(seed: int) -> None:
    story = Story(seed)
    story.ask()
    story.take()
    story.play(250)
    story.settle()
    everything = [int(key) for _, run in story.told for key in run]
    assert everything == sorted(set(everything)), "in order, and once"
    for begin, run in story.told:
        if run:
            assert begin is not None
            assert run[0] == story.keys[Position(begin.epoch, begin.seq + 1)], "from where it was told to begin"
            assert run == [str(number) for number in range(int(run[0]), int(run[-1]) + 1)], "without a gap"
    assert len(story.told) - 1 == story.lost_answers, "a reset for each place that is lost, and no other"
    assert story.feed.last == story.log.read([Cursor("s")])[0].top, "up to the end"
    begin, run = story.told[-1]
    assert not begin or begin[0] != story.feed.last[0] or begin.seq + len(run) == story.feed.last.seq, "and all of it"
