from __future__ import annotations

from tasks_celery.channels.outbox import Batch, Outbox
from tests.channels.helpers import event


def numbers(batch: Batch | None) -> list[str]:
    assert batch is not None
    return [each.data["id"] for each in batch.envelopes]


def test_a_full_outbox_takes_nothing_and_keeps_what_it_has() -> None:
    outbox = Outbox(limit=2, batch=50)
    assert [outbox.put("a", event(1)), outbox.put("b", event(2)), outbox.put("a", event(3))] == [True, True, False]
    assert outbox.depth == 2
    assert numbers(outbox.take()) == ["1"]
    assert outbox.put("c", event(4))


def test_an_empty_outbox_gives_nothing() -> None:
    outbox = Outbox(limit=2, batch=50)
    assert outbox.take() is None
    assert outbox.is_idle


def test_events_of_one_group_leave_together_in_order_and_no_more_than_allowed() -> None:
    outbox = Outbox(limit=100, batch=3)
    for number in range(5):
        outbox.put("a", event(number))
    first = outbox.take()
    assert numbers(first) == ["0", "1", "2"]
    assert first is not None
    outbox.done(first)
    assert numbers(outbox.take()) == ["3", "4"]


def test_a_group_that_is_being_sent_waits_and_others_do_not() -> None:
    outbox = Outbox(limit=100, batch=1)
    for group, number in (("a", 1), ("a", 2), ("b", 3)):
        outbox.put(group, event(number))
    first = outbox.take()
    assert numbers(first) == ["1"]
    assert numbers(outbox.take()) == ["3"]
    assert outbox.take() is None
    outbox.put("a", event(4))
    assert outbox.take() is None
    assert first is not None
    outbox.done(first)
    assert numbers(outbox.take()) == ["2"]


def test_groups_take_turns() -> None:
    outbox = Outbox(limit=100, batch=1)
    for group, number in (("a", 1), ("a", 2), ("b", 3), ("c", 4)):
        outbox.put(group, event(number))
    seen = []
    while batch := outbox.take():
        seen += numbers(batch)
        outbox.done(batch)
    assert seen == ["1", "3", "4", "2"]


def test_it_is_idle_only_when_the_last_batch_is_done() -> None:
    outbox = Outbox(limit=100, batch=50)
    outbox.put("a", event())
    batch = outbox.take()
    assert outbox.depth == 0
    assert not outbox.is_idle
    assert batch is not None
    outbox.done(batch)
    assert outbox.is_idle
