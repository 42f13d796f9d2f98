"""A TaskResult becomes a message: priorities by transport, times with a zone, facts for the worker."""

from __future__ import annotations

import json
from bisect import bisect
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from kombu.transport.redis import PRIORITY_STEPS

from tasks_celery.message import HEADER, Scale, facts_of, read_facts, scale_for, to_message
from tasks_celery.results import to_result
from tests.shop import tasks
from tests.stores.making import a_record

PRIORITIES = range(-100, 101)
DEFAULTS = (None, *range(-1, 12))
STEPS = [PRIORITY_STEPS, range(10), [0, 9], [0], [9, 0, 5]]
REDIS = [scale_for("redis", default=d, largest=None, steps=steps) for steps in STEPS for d in DEFAULTS]
AMQP = [scale_for("amqp", default=d, largest=n) for n in (1, 2, 3, 9, 10, 255) for d in (None, 0, 1, 5, n, 300)]
ALL = pytest.mark.parametrize("scale", REDIS + AMQP, ids=str)


def line_of(scale: Scale, number: int) -> int:
    """Return the line that a number waits in: kombu keeps one per step on Redis, first come first served."""
    return bisect(scale.steps, number) - 1


def lines(scale: Scale) -> list[int]:
    """Return the line of each priority from -100 to 100, counted from the one that is served last."""
    served = [line_of(scale, scale.place(priority)) for priority in PRIORITIES]
    last = len(scale.steps) - 1
    return [last - line for line in served] if scale.order == "lowest first" else served


# --- priority (contract 39)


def test_the_lines_of_redis_are_kombus() -> None:
    assert list(scale_for("redis", default=None, largest=None).steps) == list(PRIORITY_STEPS)


@ALL
def test_a_larger_priority_is_never_served_later(scale: Scale) -> None:
    assert lines(scale) == sorted(lines(scale))


@ALL
def test_every_priority_is_a_whole_number_that_the_broker_has(scale: Scale) -> None:
    for priority in PRIORITIES:
        place = scale.place(priority)
        assert type(place) is int
        assert 0 <= place <= max(*scale.steps, 9)


@ALL
def test_the_ends_reach_the_ends(scale: Scale) -> None:
    assert lines(scale)[0] == 0
    assert lines(scale)[-1] == len(scale.steps) - 1


@ALL
def test_only_zero_waits_in_the_line_of_plain_celery_tasks_unless_that_is_an_end(scale: Scale) -> None:
    assert scale.place(0) == scale.middle
    middle = lines(scale)[100]
    with_it = {priority for priority, line in zip(PRIORITIES, lines(scale), strict=True) if line == middle}
    above = {priority for priority in with_it if priority > 0}
    below = {priority for priority in with_it if priority < 0}
    assert not above or middle == len(scale.steps) - 1
    assert not below or middle == 0


@ALL
def test_no_line_between_is_left_empty_where_there_are_enough_priorities(scale: Scale) -> None:
    if len(scale.steps) <= 100:
        assert set(lines(scale)) == set(range(len(scale.steps)))


@pytest.mark.parametrize(("default", "middle"), [(0, 0), (3, 3), (9, 9), (-4, 0), (200, 9), (None, 5)])
def test_django_zero_is_what_plain_celery_tasks_get(default: int | None, middle: int) -> None:
    assert scale_for("redis", default=default, largest=None).place(0) == middle


@pytest.mark.parametrize("transport", ["amqp", "sqs", "filesystem", "gcpubsub"])
def test_without_priorities_a_broker_is_said_to_have_none(transport: str) -> None:  # contract 40
    assert scale_for(transport, default=None, largest=None).order == "none"


def test_sqs_has_no_priorities_whatever_the_queues_of_others_may_hold() -> None:
    assert scale_for("sqs", default=None, largest=10).order == "none"


@pytest.mark.parametrize(("default", "sent"), [(None, 0), (0, 0), (4, 4)])
def test_without_an_order_zero_is_still_sent(default: int | None, sent: int) -> None:
    assert scale_for("amqp", default=default, largest=None).place(0) == sent


# --- the message


def a_result(**changes: Any) -> Any:
    return to_result(a_record(queue_name="default", **changes), tasks.echo)


def test_a_message_is_json_throughout() -> None:
    message = to_message(
        a_result(run_after=datetime(2030, 1, 1, tzinfo=UTC)),
        name="shop.echo",
        scale=scale_for("redis", default=None, largest=None),
        context={"user": "7"},
    )
    assert json.loads(json.dumps(message.headers)) == message.headers
    assert json.loads(json.dumps([message.args, message.kwargs])) == [message.args, message.kwargs]


def test_the_arguments_are_not_among_the_facts() -> None:
    facts = facts_of(a_result(args=["secret"], kwargs={"b": "secret"}), {})
    assert "secret" not in json.dumps(facts)


def test_a_message_says_what_where_and_when() -> None:
    due = datetime(2030, 1, 1, tzinfo=UTC)
    result = a_result(run_after=due, priority=-100)
    scale = scale_for("redis", default=None, largest=None)
    message = to_message(result, name="shop.echo", scale=scale, context={"user": "7"})
    assert (message.id, message.name, message.args, message.kwargs) == (
        result.id,
        "shop.echo",
        result.args,
        result.kwargs,
    )
    assert (message.queue, message.priority, message.eta) == ("default", 9, due)  # contract 39, 44
    assert message.headers[HEADER] == {
        "alias": "default",
        "path": "tests.shop.tasks.echo",
        "queue": "default",
        "priority": -100,
        "run_after": "2030-01-01T00:00:00+00:00",
        "enqueued_at": "2026-03-01T12:00:00.123456+00:00",
        "context": {"user": "7"},
    }


@pytest.mark.parametrize("headers", [None, {}, {HEADER: None}, {HEADER: "text"}, {HEADER: ["list"]}, {"other": {}}])
def test_a_message_of_others_has_no_facts(headers: dict[str, Any] | None) -> None:
    assert read_facts(headers) == {}


def test_facts_come_back_from_the_headers() -> None:
    facts = facts_of(a_result(run_after=datetime(2030, 1, 1, tzinfo=UTC) + timedelta(microseconds=1)), {"user": "7"})
    assert read_facts({HEADER: json.loads(json.dumps(facts)), "other": 1}) == facts
