from __future__ import annotations

from tasks_celery.channels.events import Heard, heard_in
from tasks_celery.channels.log import Position
from tasks_celery.channels.push.outbox import Batch, Outbox, Push
from tests.channels.helpers import push


def numbers(batch: Batch | None) -> list[str]:
    assert batch is not None
    return [each.about for each in batch.pushes]


def test_a_full_outbox_takes_nothing_and_keeps_what_it_has() -> None:
    outbox = Outbox(limit=2, batch=50)
    assert [outbox.put("a", push(1)), outbox.put("b", push(2)), outbox.put("a", push(3))] == [True, True, False]
    assert outbox.depth == 2
    assert numbers(outbox.take()) == ["1"]
    assert outbox.put("c", push(4))


def test_an_empty_outbox_gives_nothing() -> None:
    outbox = Outbox(limit=2, batch=50)
    assert outbox.take() is None
    assert outbox.is_idle


def test_events_of_one_group_leave_together_in_order_and_no_more_than_allowed() -> None:
    outbox = Outbox(limit=100, batch=3)
    for number in range(5):
        outbox.put("a", push(number))
    first = outbox.take()
    assert numbers(first) == ["0", "1", "2"]
    assert first is not None
    outbox.done(first)
    assert numbers(outbox.take()) == ["3", "4"]


def test_a_message_leaves_alone_and_keeps_its_place() -> None:
    outbox = Outbox(limit=100, batch=50)
    told = [{"type": "report.ready", "n": 1}, {"type": "report.ready", "n": 2}]
    for each in (push(1), push(2), Push("3", told[0]), Push("4", told[1]), push(5)):
        outbox.put("a", each)
    seen = []
    while batch := outbox.take():
        seen.append((numbers(batch), batch.message))
        outbox.done(batch)
    assert [each for each, _ in seen] == [["1", "2"], ["3"], ["4"], ["5"]]
    assert [message for _, message in seen[1:3]] == told
    assert outbox.is_idle


def test_a_batch_of_events_is_one_message_of_their_stream() -> None:
    heard = [Heard(Position("e", 1), "one"), Heard(None, "two")]
    message = Batch(group="tc.a", pushes=tuple(Push("", each) for each in heard)).message
    assert message["stream"] == "tc.a"
    assert heard_in(message) == heard


def test_a_group_that_is_being_sent_waits_and_others_do_not() -> None:
    outbox = Outbox(limit=100, batch=1)
    for group, number in (("a", 1), ("a", 2), ("b", 3)):
        outbox.put(group, push(number))
    first = outbox.take()
    assert numbers(first) == ["1"]
    assert numbers(outbox.take()) == ["3"]
    assert outbox.take() is None
    outbox.put("a", push(4))
    assert outbox.take() is None
    assert first is not None
    outbox.done(first)
    assert numbers(outbox.take()) == ["2"]


def test_groups_take_turns() -> None:
    outbox = Outbox(limit=100, batch=1)
    for group, number in (("a", 1), ("a", 2), ("b", 3), ("c", 4)):
        outbox.put(group, push(number))
    seen = []
    while batch := outbox.take():
        seen += numbers(batch)
        outbox.done(batch)
    assert seen == ["1", "3", "4", "2"]


def test_it_is_idle_only_when_the_last_batch_is_done() -> None:
    outbox = Outbox(limit=100, batch=50)
    outbox.put("a", push())
    batch = outbox.take()
    assert outbox.depth == 0
    assert not outbox.is_idle
    assert batch is not None
    outbox.done(batch)
    assert outbox.is_idle
