"""What RabbitMQ is left to hold back, and what not."""

from __future__ import annotations

from typing import Any

import pytest
from kombu import Exchange, Queue

from tasks_celery.publish.delayed import LONGEST, Detour, detour

TOPIC = Exchange("tasks", type="topic")
QUORUM = {"x-queue-type": "quorum"}


def a_queue(**changes: Any) -> Queue:
    return Queue("reports", **({"exchange": TOPIC, "routing_key": "reports", "queue_arguments": QUORUM} | changes))


def bits(found: Detour | None) -> int:
    """Return the seconds that a routing key stands for."""
    assert found is not None
    levels = found.routing_key.split(".")[:28]
    assert len(levels) == 28
    return int("".join(levels), 2)


@pytest.mark.parametrize("driver", ["redis", "memory", "sqs", ""])
def test_no_other_broker_can(driver: str) -> None:
    assert detour(driver, a_queue(), seconds=60) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"queue_arguments": None},
        {"queue_arguments": {"x-queue-type": "classic"}},
        {"queue_arguments": {"x-max-priority": 10}},
        {"exchange": Exchange("tasks", type="direct")},
        {"exchange": Exchange("tasks", type="fanout")},
        {"exchange": None},
        {"exchange": None, "routing_key": ""},
    ],
)
def test_a_queue_that_is_not_quorum_on_a_topic_exchange_cannot(changes: dict[str, Any]) -> None:
    assert detour("amqp", a_queue(**changes), seconds=60) is None


@pytest.mark.parametrize("seconds", [-1, 0, 0.001, 0.999])
def test_less_than_a_second_cannot(seconds: float) -> None:
    # kombu has no key for it, and Celery raises ValueError.
    assert detour("amqp", a_queue(), seconds=seconds) is None


@pytest.mark.parametrize("seconds", [LONGEST + 1, LONGEST * 2.0, float("inf"), float("nan")])
def test_more_than_28_bits_of_seconds_cannot(seconds: float) -> None:
    assert detour("amqp", a_queue(), seconds=seconds) is None


def test_a_routing_key_that_would_become_too_long_cannot() -> None:
    assert detour("amqp", a_queue(routing_key="k" * 199), seconds=60) is not None
    assert detour("amqp", a_queue(routing_key="k" * 200), seconds=60) is None


def test_a_queue_without_a_routing_key_cannot() -> None:
    assert detour("amqp", a_queue(routing_key=""), seconds=60) is None


@pytest.mark.parametrize(
    ("seconds", "held"), [(1, 1), (1.999, 1), (60, 60), (3600.5, 3600), (LONGEST, LONGEST), (LONGEST + 0.5, LONGEST)]
)
def test_whole_seconds_are_held_and_never_more(seconds: float, held: int) -> None:
    assert bits(detour("amqp", a_queue(), seconds=seconds)) == held


def test_the_message_comes_out_under_the_routing_key_of_its_queue() -> None:
    found = detour("amqp", a_queue(routing_key="shop.reports"), seconds=5)
    assert found == Detour(exchange="celery_delayed_27", routing_key="0." * 25 + "1.0.1.shop.reports")


def test_or_under_the_messages_own() -> None:
    found = detour("amqp", a_queue(routing_key="shop.#"), seconds=1, routing_key="shop.daily")
    assert found is not None
    assert found.routing_key.endswith("0.1.shop.daily")
