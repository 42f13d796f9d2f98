"""A Django priority is placed on the broker's scale, and the scale is found in Celery's configuration (contract 39, 40)."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from typing import Any

import pytest
from celery import Celery
from kombu import Queue
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport.redis import PRIORITY_STEPS

from tasks_celery.priority import REDIS_STEPS, TRANSPORTS, Scale, scale_for, scale_in

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


# --- what the four lines of Redis tell apart


FIVE = (100, 50, 0, -50, -100)


@pytest.mark.parametrize(
    ("steps", "numbers", "served"),
    [(REDIS_STEPS, [0, 0, 5, 6, 9], [0, 0, 1, 2, 3]), (range(10), [0, 2, 5, 7, 9], [0, 2, 5, 7, 9])],
)
def test_of_five_priorities_two_share_one_of_the_four_lines_of_redis_and_none_one_of_ten(
    steps: Sequence[int], numbers: list[int], served: list[int]
) -> None:
    scale = scale_for("redis", default=None, largest=None, steps=steps)
    assert [scale.place(each) for each in FIVE] == numbers
    assert [line_of(scale, number) for number in numbers] == served


# --- the scale of a configuration


def conf(**changes: Any) -> Any:
    return Celery("scaled", set_as_current=False, config_source=changes).conf


def order_in(*names: str, broker: str = "amqp://", **changes: Any) -> str:
    return scale_in(conf(**changes), names, broker=broker).order


QUORUM = {"x-queue-type": "quorum"}
STREAM = {"x-queue-type": "stream"}
TEN = {"x-max-priority": 10}


def test_a_rabbitmq_queue_without_a_largest_priority_has_no_order() -> None:
    assert order_in("default") == "none"


@pytest.mark.parametrize("arguments", [QUORUM, QUORUM | TEN, STREAM], ids=str)
@pytest.mark.parametrize(
    "shape",
    [lambda name, told: [Queue(name, queue_arguments=told)], lambda name, told: {name: {"queue_arguments": told}}],
)
def test_a_declared_quorum_queue_has_no_order_though_the_setting_gives_one_to_all(
    shape: Any, arguments: dict[str, Any]
) -> None:
    queues = shape("default", arguments)
    assert order_in("default", task_queues=queues, task_queue_max_priority=10) == "none"


def test_the_default_queue_is_quorum_where_the_setting_says_so_and_no_queue_is_declared() -> None:
    changes = {"task_default_queue": "default", "task_queue_max_priority": 10, "task_default_queue_type": "quorum"}
    assert order_in("default", **changes) == "none"
    assert order_in("other", **changes) == "highest first"
    assert order_in("default", **changes, task_queues=[Queue("default")]) == "highest first"
    assert order_in("default", **changes, task_queues=[Queue("other")]) == "highest first"


def test_queues_that_celery_makes_are_quorum_where_the_setting_says_so() -> None:
    changes = {"task_queue_max_priority": 10, "task_create_missing_queue_type": "quorum"}
    assert order_in("other", **changes) == "none"
    assert order_in("other", **changes, task_queues=[Queue("other")]) == "highest first"


def test_the_order_of_several_queues_is_what_all_have() -> None:
    queues = [Queue("one", max_priority=10), Queue("two", queue_arguments={"x-max-priority": 5}), Queue("three")]
    assert scale_in(conf(task_queues=queues), ("one", "two"), broker="amqp://").largest == 5
    assert order_in("one", "two", "three", task_queues=queues) == "none"


def test_without_names_it_is_the_order_of_each_queue_that_a_task_may_name() -> None:
    assert order_in(task_queue_max_priority=10) == "highest first"
    assert order_in(task_queues=[Queue("one", max_priority=10)]) == "none"
    declared = [Queue("one", queue_arguments=QUORUM)]
    assert order_in(task_queues=declared, task_queue_max_priority=10) == "none"


def test_a_queue_of_its_own_largest_priority_goes_before_the_setting() -> None:
    queues = [Queue("one", max_priority=3)]
    assert scale_in(conf(task_queues=queues, task_queue_max_priority=10), ("one",), broker="amqp://").largest == 3


@pytest.mark.parametrize("url", ["redis://x", "rediss://x", "redis+socket:///x", "sentinel://x", "valkey://x"])
def test_redis_has_an_order_whatever_it_is_called(url: str) -> None:
    assert order_in("default", broker=url, task_default_queue_type="quorum") == "lowest first"


@pytest.mark.parametrize("url", ["amqp://x", "amqps://x", "pyamqp://x", "librabbitmq://x", ""])
def test_rabbitmq_has_an_order_whatever_it_is_called(url: str) -> None:
    assert order_in("default", broker=url, task_queue_max_priority=10) == "highest first"


@pytest.mark.parametrize("scheme", sorted({*TRANSPORT_ALIASES, "sqla+sqlite"} - {*TRANSPORTS, "memory"}))
def test_other_brokers_have_no_order(scheme: str) -> None:  # contract 40
    assert order_in("default", broker=f"{scheme}://x", task_queue_max_priority=10) == "none"


def test_the_lines_of_redis_are_those_of_the_transport_options() -> None:
    for options, steps in ((None, REDIS_STEPS), ({}, REDIS_STEPS), ({"priority_steps": [5, 0]}, (0, 5))):
        scale = scale_in(conf(broker_transport_options=options), ("default",), broker="redis://")
        assert tuple(scale.steps) == steps


def test_the_middle_is_what_plain_celery_tasks_get() -> None:
    for broker, middle in (("redis://", 5), ("amqp://", 7)):
        assert scale_in(conf(task_queue_max_priority=15), (), broker=broker).place(0) == middle
        assert scale_in(conf(task_queue_max_priority=15, task_default_priority=2), (), broker=broker).place(0) == 2
