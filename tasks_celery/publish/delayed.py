"""Web process. Where RabbitMQ itself can hold a message back until it is due: Celery's native delayed delivery.

A message goes through exchanges and queues that each hold it for a power of two of seconds, or pass it on
(https://docs.celeryq.dev/en/stable/getting-started/backends-and-brokers/rabbitmq.html#native-delayed-delivery). Its routing
key says which, so the wait is in whole seconds: the rest, which is less than one, its `eta` has the worker wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor

from kombu import Connection, Queue
from kombu.transport.native_delayed_delivery import (
    MAX_NUMBER_OF_BITS_TO_USE,
    bind_queue_to_native_delayed_delivery_exchange,
    calculate_routing_key,
    declare_native_delayed_delivery_exchanges_and_queues,
    level_name,
)

#: Seconds that RabbitMQ can hold a message back, at most: eight and a half years.
LONGEST = 2**MAX_NUMBER_OF_BITS_TO_USE - 1

#: Bytes that a routing key may have in AMQP.
ROUTING_KEY_MAX = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Detour:
    """Where to publish a message instead, for RabbitMQ to hold it back. The exchange is a topic exchange."""

    exchange: str
    routing_key: str


def detour(driver: str, queue: Queue, *, seconds: float, routing_key: str = "") -> Detour | None:
    """Return where a message for `queue` goes that is due in so many seconds; None where RabbitMQ cannot hold it back.

    It can for a quorum queue on a topic exchange, from one second up to `LONGEST`. `driver` is the transport's
    ``driver_type``, `routing_key` the message's own where it is not the queue's. The message has to carry its time as
    ``eta``: it comes out up to a second early.
    """
    key = routing_key or str(queue.routing_key or "")
    if not (_can_delay(driver, queue) and key and 1 <= seconds < LONGEST + 1):
        return None
    long_key = calculate_routing_key(floor(seconds), key)
    if len(long_key.encode()) > ROUTING_KEY_MAX:
        return None
    return Detour(exchange=level_name(MAX_NUMBER_OF_BITS_TO_USE - 1), routing_key=long_key)


def _can_delay(driver: str, queue: Queue) -> bool:
    is_quorum = (queue.queue_arguments or {}).get("x-queue-type") == "quorum"
    return driver == "amqp" and is_quorum and queue.exchange.type == "topic"


def prepare(connection: Connection, queue: Queue, *, queue_type: str) -> None:
    """Declare in RabbitMQ what a message of `queue` goes through, and where it comes out; again, it changes nothing.

    A worker does so as it starts. Where none has yet, RabbitMQ drops a message that it has held back.
    `queue_type` is Celery's ``broker_native_delayed_delivery_queue_type``. Raise what kombu and its transport raise.
    """
    # Apart, for kombu leaves its channels open; not by `clone`, which a connection of a pool does not know.
    with Connection(**connection.info()) as own:
        queue(own.default_channel).declare()
        declare_native_delayed_delivery_exchanges_and_queues(own, queue_type)
        bind_queue_to_native_delayed_delivery_exchange(own, queue)
