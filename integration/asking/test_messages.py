"""Test process. What `enqueue` puts on a broker is what Celery's own `apply_async` puts there, but for what we add.

A Django task and a Celery task of one definition are called the same way, under one id, by one project; what then lies on the broker
is compared whole. What differs on purpose: the header ``tasks_celery``, and that a task of Django's says its queue and its
priority itself, so that the Celery task is called with them.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import redis
from amqp.exceptions import MessageNacked
from celery.contrib.testing.worker import start_worker
from celery.signals import after_task_publish, before_task_publish
from kombu import Exchange, Queue
from kombu.exceptions import OperationalError

from example.servers import Child, plan_redis, redis_answers, stop, wait_until
from integration.asking.wire import OURS, THEIRS, Broker, Project, Seen, in_order, listening, project
from integration.conftest import require
from integration.rabbitmq import find_rabbitmq, rabbitmq
from tasks_celery import EnqueueError
from tests.shop.running import until

LONG = "x" * 3000
DEEP = {"a": {"b": {"c": {"d": {"e": ["f"]}}}}}


def add(*args: Any, **kwargs: Any) -> None: ...


# --- brokers


@pytest.fixture(scope="module")
def redis_url(clean_environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    plan = plan_redis(clean_environ, tmp_path_factory.mktemp("redis"))
    require(plan.url, f"There is no Redis server here but {plan.label}; install redis-server.")
    url = str(plan.url)
    server = Child("redis", plan.command, env=clean_environ)
    try:
        wait_until(lambda: redis_answers(url), what="Redis", watch=[server])
        yield url.replace("unix:", "redis+socket:")
    finally:
        stop([server])


@pytest.fixture(scope="module")
def rabbitmq_url() -> Iterator[str]:
    require(find_rabbitmq(), "There is no RabbitMQ here; install rabbitmq-server.")
    with rabbitmq() as url:
        yield url


BROKERS = ("memory", "Redis", "Redis with the records", "RabbitMQ", "RabbitMQ that confirms")


@pytest.fixture(params=BROKERS)
def broker(request: pytest.FixtureRequest) -> Broker:
    return broker_called(request.param, request)


def broker_called(name: str, request: pytest.FixtureRequest) -> Broker:
    if name.startswith("Redis"):
        url = request.getfixturevalue("redis_url")
        return Broker(url=url, results=url, records=url if "records" in name else "memory://")
    if name.startswith("RabbitMQ"):
        url = request.getfixturevalue("rabbitmq_url")
        confirms = {"broker_transport_options": {"confirm_publish": True}} if "confirms" in name else {}
        return Broker(url=url, conf={"task_queue_max_priority": 10, **confirms})
    return Broker(url="memory://")


@pytest.fixture
def a_project(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    return lambda **conf: project(broker, monkeypatch, **conf)


def assert_same(ours: Seen, theirs: Seen) -> None:
    """Compare part by part: what pytest then shows is short."""
    for part in ("headers", "properties", "route", "body", "content"):
        assert getattr(ours, part) == getattr(theirs, part), part
    assert theirs.facts is None


# --- the message


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        pytest.param((), {}, id="none"),
        pytest.param((1, "two", None, 3.5, True, [1, [2]]), {"b": 2, "c": {"d": "é"}}, id="some"),
        pytest.param((LONG, [LONG]), {"text": LONG}, id="long"),
        pytest.param((DEEP, [[[[["deep"]]]]]), {"deep": DEEP}, id="deep"),
        pytest.param(("ключ", "\u2028\x00'\"\\"), {"ключ": "\N{PILE OF POO}"}, id="not of ASCII"),
    ],
)
def test_arguments_travel_as_celery_has_them(a_project: Any, args: Any, kwargs: Any) -> None:
    with a_project() as shop:
        shop.define(add)
        ours, theirs = shop.compare(*args, **kwargs)
    assert_same(ours, theirs)
    assert ours.body[:2] == [list(args), kwargs]


@pytest.mark.parametrize(
    "options",
    [
        {"time_limit": 20, "soft_time_limit": 10},
        {"time_limit": 20},
        {"soft_time_limit": 7.5},
        {"ignore_result": True},
        {"ignore_result": False},
        {"compression": "gzip"},
        {"compression": "zlib"},
    ],
    ids=str,
)
def test_options_of_the_task_travel_as_celery_has_them(a_project: Any, options: dict[str, Any]) -> None:
    with a_project() as shop:
        shop.define(add, **options)
        ours, theirs = shop.compare(1, b=2)
    assert_same(ours, theirs)
    assert ("compression" in ours.headers) == ("compression" in options)


@pytest.mark.parametrize(
    "conf",
    [
        {"task_compression": "gzip"},
        {"task_default_delivery_mode": "transient"},
        {"task_default_priority": 3},
        {"task_ignore_result": True},
        {"task_time_limit": 30, "task_soft_time_limit": 20},
        {"timezone": "America/New_York"},
        {"enable_utc": False, "timezone": "Asia/Kolkata"},
        {"task_repr_maxlevels": 1},
        {"task_publish_retry": False},
        {"broker_pool_limit": None},
        {"task_create_missing_queue_type": "classic"},
    ],
    ids=str,
)
def test_what_the_project_has_set_counts(a_project: Any, conf: dict[str, Any]) -> None:
    with a_project(**conf) as shop:
        shop.define(add)
        ours, theirs = shop.compare([[[1]]], b=2)
    assert_same(ours, theirs)


def test_annotations_of_the_project_count(a_project: Any) -> None:
    annotation = {"time_limit": 12, "soft_time_limit": 11, "ignore_result": True, "compression": "gzip"}
    with a_project(task_annotations={OURS: annotation, THEIRS: annotation}) as shop:
        shop.define(add)
        ours, theirs = shop.compare(1)
    assert_same(ours, theirs)
    assert ours.headers["timelimit"] == [12, 11]


def test_a_delivery_mode_in_an_annotation_counts(a_project: Any) -> None:
    with a_project(task_annotations={"*": {"delivery_mode": 1}}) as shop:
        shop.define(add)
        ours, theirs = shop.compare(1)
    assert_same(ours, theirs)
    assert ours.properties["delivery_mode"] == 1


def test_a_message_is_json_whatever_the_project_sends(a_project: Any) -> None:  # contract 53
    with a_project(task_serializer="pickle", accept_content=["json", "pickle"]) as shop:
        shop.define(add)
        ours, theirs = shop.compare(1, options={"serializer": "json"})
    assert_same(ours, theirs)
    assert ours.content == ("application/json", "utf-8")


def test_a_header_of_our_own_tells_what_the_worker_needs(a_project: Any) -> None:
    with a_project() as shop:
        shop.define(add)
        ours, _ = shop.compare(1)
    assert {"alias", "path", "queue", "priority", "enqueued_at", "context"} <= set(ours.facts)


def test_an_expiry_is_celerys_to_the_second(a_project: Any) -> None:
    with a_project() as shop:
        shop.define(add, expires=300)
        ours, theirs = shop.compare(1)
    ends = [datetime.fromisoformat(each.headers.pop("expires")) for each in (ours, theirs)]
    assert abs(ends[0] - ends[1]) < timedelta(seconds=3)
    assert abs(ends[0] - datetime.now(UTC) - timedelta(seconds=300)) < timedelta(seconds=30)
    # The broker's own: milliseconds as a text.
    left = [int(each.properties.pop("expiration")) for each in (ours, theirs)]
    assert abs(left[0] - left[1]) < 3000
    assert_same(ours, theirs)


def test_what_has_expired_already_is_sent_to_expire_at_once(
    a_project: Any, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    with a_project(task_annotations={"*": {"expires": -5}}) as shop:
        shop.define(add)
        if "RabbitMQ" in request.node.name:  # nothing arrives, of neither
            shop.both(1)
            with shop.app.connection_for_write() as connection:
                told = connection.default_channel.queue_declare(queue=shop.queue, passive=True)
            assert told.message_count == 0
            return
        ours, theirs = shop.compare(1)
    assert (ours.properties["expiration"], theirs.properties["expiration"]) == ("0", "0")


@pytest.mark.parametrize("priority", [-100, -1, 0, 1, 100])
def test_a_priority_is_sent_as_the_brokers_number(a_project: Any, priority: int) -> None:  # contract 39
    with a_project(task_default_priority=5) as shop:
        shop.define(add)
        shop.ours = shop.ours.using(priority=priority)
        ours, theirs = shop.compare(1)
    assert_same(ours, theirs)
    assert (ours.properties["priority"] == 5) == (priority == 0)


def test_a_time_to_come_is_celerys_eta_where_there_is_no_place_for_a_record(
    rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks_celery.results.keeps_rows", lambda: False)  # nor is the database one
    due = datetime.now(UTC) + timedelta(seconds=600)
    with project(Broker(url=rabbitmq_url, records=None, results=None), monkeypatch) as shop:
        shop.define(add)
        shop.ours = shop.ours.using(run_after=due)
        ours, theirs = shop.compare(1, options={"eta": due})
    assert_same(ours, theirs)
    assert datetime.fromisoformat(ours.headers["eta"]) == due


def test_protocol_1_is_sent_as_celery_does(a_project: Any) -> None:
    with a_project(task_protocol=1) as shop:
        shop.define(add, time_limit=20)
        ours, theirs = shop.compare(1, b=2)
    # Celery's own message says nothing about the result there, so that a worker goes by the task's own setting.
    assert ours.headers.pop("ignore_result", False) is False
    assert_same(ours, theirs)
    assert ours.body["args"] == [1]


# --- where it goes


def the_route(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **more: Any) -> dict[str, Any]:
    assert (tuple(args), kwargs) == ((1,), {"b": 2})
    assert task.name == name
    return {"queue": f"{name}.q", "priority": 7, "routing_key": "by.function"}


class TheRouter:
    """A router as Celery had them before 4.0."""

    def route_for_task(self, name: str, args: Any = None, kwargs: Any = None) -> dict[str, Any]:
        return {"delivery_mode": 1, "routing_key": "by.class"}


@pytest.mark.parametrize(
    "routes",
    [
        pytest.param({"messages.*": {"routing_key": "a.key", "delivery_mode": 1}}, id="a pattern"),
        pytest.param({"messages.*": {"queue": "another"}}, id="another queue"),
        pytest.param([{OURS: {"priority": 1}, THEIRS: {"priority": 1}}], id="a priority"),
        pytest.param((the_route,), id="a function"),
        pytest.param(("integration.asking.test_messages:TheRouter",), id="a class by its name"),
        pytest.param((TheRouter(),), id="a class"),
        pytest.param({"other.*": {"queue": "another"}}, id="of other tasks"),
    ],
)
def test_routes_of_the_project_are_asked_as_celery_asks_them(a_project: Any, routes: Any) -> None:
    with a_project(task_routes=routes) as shop:
        shop.define(add)
        ours, theirs = shop.compare(1, b=2)
    assert_same(ours, theirs)
    assert ours.facts["queue"] == shop.queue


def test_a_default_queue_of_the_project_is_not_where_a_task_of_another_queue_goes(a_project: Any) -> None:
    # contract 44
    with a_project(task_default_queue=f"d{uuid4().hex}") as shop:
        shop.define(add)
        ours, theirs = shop.compare(1)
        assert_same(ours, theirs)
        default = shop.app.conf.task_default_queue
        shop.ours = shop.ours.using(queue_name=default)
        shop.enqueue(1)
        shop.theirs.apply_async((1,), priority=shop.place())
        ours, theirs = shop.arrived(default)
    assert (ours.route, ours.properties["delivery_mode"]) == (theirs.route, theirs.properties["delivery_mode"])


@pytest.mark.parametrize("kind", ["direct", "topic"])
def test_a_queue_with_an_exchange_of_its_own_is_reached_through_it(a_project: Any, kind: str) -> None:
    name = uuid4().hex
    queue = Queue(f"q{name}", Exchange(f"x{name}", type=kind), routing_key=f"key.{name}")
    with a_project(task_queues=[queue], queue=queue.name) as shop:
        shop.define(add)
        task_id = shop.enqueue(1)  # alone and first: what it did not declare would lose its message
        with listening(shop.app, queue.name) as take:
            (first,) = take(1)
        assert first.headers["id"] == task_id
        ours, theirs = shop.compare(1)
    assert_same(ours, theirs)
    assert ours.route["exchange"] == ("" if kind == "direct" else f"x{name}")


def test_a_queue_with_a_fanout_exchange_is_reached_through_it(a_project: Any) -> None:
    name = uuid4().hex
    queue = Queue(f"q{name}", Exchange(f"x{name}", type="fanout"))
    with a_project(task_queues=[queue], queue=queue.name) as shop:
        shop.define(add)
        with listening(shop.app, queue.name) as take:  # before it is sent: on Redis a fanout is for those who listen
            shop.both(1)
            ours, theirs = in_order(take(2))
    assert_same(ours, theirs)
    assert ours.route["exchange"] == f"x{name}"


@pytest.mark.parametrize("kind", ["direct", "topic", "fanout"])
def test_an_enqueue_declares_exchange_and_queue_on_rabbitmq(
    kind: str, rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = uuid4().hex
    queue = Queue(f"q{name}", Exchange(f"x{name}", type=kind), routing_key=f"key.{name}")
    with project(Broker(url=rabbitmq_url), monkeypatch, queue=queue.name, task_queues=[queue]) as shop:
        shop.define(add)
        shop.enqueue(1)
        with shop.app.connection_for_write() as connection:
            channel = connection.default_channel
            channel.exchange_declare(exchange=f"x{name}", type=kind, passive=True)  # raises where there is none
            assert channel.queue_declare(queue=queue.name, passive=True).message_count == 1
            channel.basic_publish(_a_message(channel), exchange=f"x{name}", routing_key=f"key.{name}")
            until(lambda: channel.queue_declare(queue=queue.name, passive=True).message_count == 2)


def _a_message(channel: Any) -> Any:
    return channel.prepare_message("bound", content_type="text/plain", content_encoding="utf-8")


def test_a_queue_that_the_project_has_not_and_may_not_make_is_refused(a_project: Any) -> None:
    with a_project(task_queues=[Queue("known")], task_create_missing_queues=False) as shop:
        shop.define(add)
        with pytest.raises(Exception, match=shop.queue):
            shop.apply_async(1)
        with pytest.raises(EnqueueError, match=shop.queue):
            shop.enqueue(1)


# --- on Redis


@pytest.fixture(params=["Redis", "Redis with the records"])
def on_redis(request: pytest.FixtureRequest) -> Broker:
    return broker_called(request.param, request)


@pytest.fixture
def looking(on_redis: Broker) -> Iterator[redis.Redis]:
    with contextlib.closing(redis.Redis.from_url(on_redis.url.replace("redis+socket:", "unix:"))) as client:
        yield client


def lists_of(client: redis.Redis, queue: str) -> dict[str, list[str]]:
    """Return the names of the tasks in each list of Redis whose key has the queue's name, the newest first."""
    found: dict[str, list[str]] = {}
    for key in client.scan_iter(f"*{queue}*"):
        if client.type(key) == b"list":
            texts: Any = client.lrange(key, 0, -1)
            found[key.decode()] = [json.loads(text)["headers"]["task"] for text in texts]
    return found


@pytest.mark.parametrize(
    "transport",
    [
        {},
        {"global_keyprefix": "shop:"},
        {"priority_steps": list(range(10)), "sep": ":"},
        {"priority_steps": [0, 5], "queue_order_strategy": "priority"},
    ],
    ids=str,
)
@pytest.mark.parametrize("priority", [-100, 0, 100])
def test_a_message_is_in_the_list_where_celerys_is(
    on_redis: Broker, looking: redis.Redis, monkeypatch: pytest.MonkeyPatch, transport: dict[str, Any], priority: int
) -> None:
    with project(on_redis, monkeypatch, broker_transport_options=transport) as shop:
        shop.define(add)
        shop.ours = shop.ours.using(priority=priority)
        shop.both(1)
        ((key, names),) = lists_of(looking, shop.queue).items()
        assert names == [THEIRS, OURS]
        assert key.startswith("shop:") == ("global_keyprefix" in transport)
        ours, theirs = shop.arrived()
    assert_same(ours, theirs)


def test_a_queue_that_expires_does_so_for_ours_too(
    on_redis: Broker, looking: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Queue(f"q{uuid4().hex}", Exchange(""), queue_arguments={"x-expires": 60_000})
    with project(on_redis, monkeypatch, queue=queue.name, task_queues=[queue]) as shop:
        shop.define(add)
        shop.apply_async(1)
        (key,) = lists_of(looking, shop.queue)
        theirs = looking.pttl(key)
        looking.delete(key)
        shop.enqueue(1)
        (key,) = lists_of(looking, shop.queue)
        assert (looking.pttl(key) > 0) == (theirs > 0)


def test_a_connection_that_the_server_has_closed_costs_nothing(
    on_redis: Broker, looking: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    with project(on_redis, monkeypatch) as shop:
        shop.define(add)
        shop.both(1)
        looking.client_kill_filter(_type="normal", skipme=True)
        shop.both(2)
        assert lists_of(looking, shop.queue).popitem()[1] == [THEIRS, OURS, THEIRS, OURS]


# --- on RabbitMQ


def full_queue() -> Queue:
    """Return a queue that holds one message and refuses the next."""
    return Queue(f"q{uuid4().hex}", Exchange(""), queue_arguments={"x-max-length": 1, "x-overflow": "reject-publish"})


@pytest.mark.parametrize("confirms", [True, False])
def test_what_rabbitmq_refuses_is_told_where_it_confirms(
    confirms: bool, rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = full_queue()
    conf = {"task_queues": [queue], "broker_transport_options": {"confirm_publish": confirms}}
    with project(Broker(url=rabbitmq_url), monkeypatch, queue=queue.name, **conf) as shop:
        shop.define(add)
        shop.enqueue(1)
        if not confirms:
            shop.apply_async(2)
            shop.enqueue(3)
            return
        with pytest.raises(OperationalError) as theirs:
            shop.apply_async(2)
        with pytest.raises(EnqueueError) as ours:
            shop.enqueue(3)
        assert isinstance(theirs.value.__cause__, MessageNacked)
        assert isinstance(ours.value.__cause__, OperationalError)


# --- what is told as it is sent


class Published:
    """What the receivers of Celery's two publish signals are given."""

    def __init__(self) -> None:
        self.before: list[dict[str, Any]] = []
        self.after: list[dict[str, Any]] = []

    def on_before(self, **told: Any) -> None:
        self.before.append(self._kept(told))

    def on_after(self, **told: Any) -> None:
        self.after.append(self._kept(told))

    @staticmethod
    def _kept(told: dict[str, Any]) -> dict[str, Any]:
        told = {name: value for name, value in told.items() if name != "signal"}
        headers = {name: value for name, value in told["headers"].items() if name not in ("tasks_celery", "task")}
        # Celery names `mandatory` and `immediate` though they are None, which says nothing.
        properties = {name: value for name, value in told.get("properties", {}).items() if value is not None}
        # Celery gives its own policy; ours says besides when it is enough.
        policy = {name: value for name, value in (told.get("retry_policy") or {}).items() if name != "errback"}
        ours = {"headers": headers, "retry_policy": policy, "properties": properties}
        return told | {part: value for part, value in ours.items() if part in told}


@contextlib.contextmanager
def told_of() -> Iterator[Published]:
    published = Published()
    before_task_publish.connect(published.on_before)
    after_task_publish.connect(published.on_after)
    try:
        yield published
    finally:
        before_task_publish.disconnect(published.on_before)
        after_task_publish.disconnect(published.on_after)


@pytest.mark.parametrize("kind", ["direct", "topic"])
def test_the_signals_of_publishing_say_what_celerys_say(a_project: Any, kind: str) -> None:
    name = uuid4().hex
    queue = Queue(f"q{name}", Exchange(f"x{name}", type=kind), routing_key=f"key.{name}")
    with a_project(task_queues=[queue], queue=queue.name) as shop, told_of() as told:
        shop.define(add)
        shop.both(1, b=2)
        for ours, theirs in (told.before, told.after):
            assert (ours.pop("sender"), theirs.pop("sender")) == (OURS, THEIRS)
            assert ours == theirs
    assert set(told.before[0]) == {
        "body",
        "exchange",
        "routing_key",
        "declare",
        "headers",
        "properties",
        "retry_policy",
    }
    assert set(told.after[0]) == {"body", "headers", "exchange", "routing_key"}


def test_what_a_receiver_writes_into_a_message_is_sent(a_project: Any) -> None:
    def stamp(headers: dict[str, Any], properties: dict[str, Any], body: Any, **kwargs: Any) -> None:
        headers["trace"] = "t1"
        headers["shadow"] = "another name"
        properties["app_id"] = "shop"
        body[1]["added"] = True

    before_task_publish.connect(stamp)
    try:
        with a_project() as shop:
            shop.define(add)
            ours, theirs = shop.compare(1, b=2)
    finally:
        before_task_publish.disconnect(stamp)
    assert_same(ours, theirs)
    assert (ours.headers["trace"], ours.body[1]) == ("t1", {"b": 2, "added": True})


def test_a_receiver_that_raises_is_logged_and_hurts_nobody(a_project: Any, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(**kwargs: Any) -> None:
        raise LookupError("no paper")

    for signal in (before_task_publish, after_task_publish):
        signal.connect(refuse)
    try:
        with a_project() as shop, caplog.at_level(logging.ERROR):
            shop.define(add)
            ours, theirs = shop.compare(1)
    finally:
        for signal in (before_task_publish, after_task_publish):
            signal.disconnect(refuse)
    assert_same(ours, theirs)
    assert sum("no paper" in record.exc_text for record in caplog.records if record.exc_text) == 4


def test_a_receiver_of_one_task_hears_of_no_other(a_project: Any) -> None:
    heard: list[str] = []

    def note(sender: str, **kwargs: Any) -> None:
        heard.append(sender)

    before_task_publish.connect(note, sender=OURS)
    try:
        with a_project() as shop:
            shop.define(add)
            shop.both(1)
    finally:
        before_task_publish.disconnect(note, sender=OURS)
    assert heard == [OURS]


@pytest.mark.parametrize("kind", ["direct", "topic"])
def test_an_event_tells_that_a_task_was_sent_where_the_project_wants_it(a_project: Any, kind: str) -> None:
    name = uuid4().hex
    queue = Queue(f"q{name}", Exchange(f"x{name}", type=kind), routing_key=f"key.{name}")
    with a_project(task_queues=[queue], queue=queue.name, task_send_sent_event=True) as shop:
        shop.define(add, expires=300)
        ours, theirs = _events(shop, lambda: shop.both(1, b=2))
    for each in (ours, theirs):
        for made in ("clock", "timestamp", "local_received", "expires"):
            each.pop(made)
    assert (ours.pop("name"), theirs.pop("name")) == (OURS, THEIRS)
    assert ours == theirs
    assert (ours["type"], ours["args"], ours["kwargs"]) == ("task-sent", "(1,)", "{'b': 2}")


def test_no_event_is_sent_where_the_project_does_not_want_it(a_project: Any) -> None:
    with a_project() as shop:
        shop.define(add)
        shop.enqueue(0)
        shop.app.conf.task_send_sent_event = True
        # What was sent before comes first.
        ours, _ = _events(
            shop, lambda: (shop.app.conf.update(task_send_sent_event=False), shop.enqueue(1), _wanted(shop))
        )
    assert ours["args"] == "(2,)"


def _wanted(shop: Project) -> None:
    shop.app.conf.update(task_send_sent_event=True)
    shop.both(2)


def _events(shop: Project, send: Callable[[], Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the first two events about what is sent."""
    events: list[dict[str, Any]] = []
    with shop.app.connection_for_read() as connection:
        receiver = shop.app.events.Receiver(connection, handlers={"task-sent": events.append})
        with receiver.consumer_context() as (listening_on, _, _):

            def drained() -> bool:
                with contextlib.suppress(TimeoutError):
                    listening_on.drain_events(timeout=0.5)
                return len(events) >= 2

            drained()  # now it listens
            send()
            until(drained)
    by_name = sorted(events, key=lambda event: event["name"] != OURS)
    return by_name[0], by_name[1]


# --- out of a task

in_a_worker = pytest.mark.parametrize("broker", ["Redis", "Redis with the records"], indirect=True)


def _in_a_task(shop: Project, body: Callable[[], Any], **options: Any) -> None:
    """Run a function in a Celery task of a real worker, and return when it has."""
    done = threading.Event()
    told: list[str] = []

    @shop.app.task(name="messages.parent", ignore_result=True)
    def parent() -> None:
        try:
            body()
            told.append("done")
        finally:
            done.set()

    queue = f"parents{uuid4().hex}"
    parent.apply_async(queue=queue, **options)
    with start_worker(shop.app, pool="solo", perform_ping_check=False, shutdown_timeout=20, queues=[queue]):
        assert done.wait(30)
    assert told == ["done"]  # else the worker has logged why


@in_a_worker
def test_a_task_enqueued_by_a_task_names_its_parent_and_root(a_project: Any) -> None:
    with a_project() as shop:
        shop.define(add)
        _in_a_task(shop, lambda: shop.both(1), task_id="parent", root_id="root", parent_id="above")
        ours, theirs = shop.arrived()
    assert_same(ours, theirs)
    assert (ours.headers["parent_id"], ours.headers["root_id"]) == ("parent", "root")


@in_a_worker
def test_a_task_enqueued_by_a_task_that_has_no_root_has_it_as_root(a_project: Any) -> None:
    with a_project() as shop:
        shop.define(add)
        _in_a_task(shop, lambda: shop.both(1), task_id="parent")
        ours, theirs = shop.arrived()
    assert_same(ours, theirs)
    assert (ours.headers["parent_id"], ours.headers["root_id"]) == ("parent", "parent")


@in_a_worker
def test_a_priority_of_its_own_goes_before_the_parents(a_project: Any) -> None:
    # A task of Django's has one always: contract 39.
    with a_project(task_inherit_parent_priority=True) as shop:
        shop.define(add)
        _in_a_task(shop, lambda: shop.both(1), priority=9)
        ours, theirs = shop.arrived()
    assert_same(ours, theirs)
    assert ours.properties["priority"] != 9


@in_a_worker
def test_a_task_enqueued_by_a_stamped_task_is_stamped_as_celerys_is(a_project: Any) -> None:
    with a_project() as shop:
        shop.define(add)
        _in_a_task(shop, lambda: shop.both(1), stamped_headers=["colour"], colour="red")
        ours, theirs = shop.arrived()
    assert_same(ours, theirs)
    assert not theirs.headers["stamped_headers"]  # Celery's hands stamps on in canvases and retries alone


@in_a_worker
def test_a_task_that_a_task_enqueued_is_among_its_children_as_celerys_is(a_project: Any) -> None:
    children: list[Any] = []

    with a_project() as shop:
        shop.define(add)

        def send() -> None:
            shop.both(1)
            children.extend(shop.app.current_worker_task.request.children)

        _in_a_task(shop, send)
        shop.arrived()
    assert [type(each).__name__ for each in children] == ["AsyncResult", "AsyncResult"]
    assert children[0].id == children[1].id


# --- Celery's own door to our task


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"headers": {"trace": "t1", "nested": {"a": [1]}}}, id="headers"),
        pytest.param({"shadow": "another name"}, id="shadow"),
        pytest.param({"group_id": "g1", "group_index": 3}, id="group"),
        pytest.param({"root_id": "r1", "parent_id": "p1"}, id="parents"),
        pytest.param({"stamped_headers": ["colour"], "colour": "red"}, id="stamps"),
        pytest.param({"countdown": 0, "reply_to": "mine"}, id="reply_to"),
        pytest.param({"delivery_mode": 1}, id="delivery mode"),
        pytest.param({"replaced_task_nesting": 2}, id="nesting"),
        pytest.param({"time_limit": 5, "soft_time_limit": 4}, id="limits"),
        pytest.param({"ignore_result": True}, id="ignored"),
        pytest.param({"argsrepr": "<hidden>", "kwargsrepr": "<hidden>"}, id="hidden"),
        pytest.param({"compression": "zlib"}, id="compression"),
        pytest.param({"priority": 9}, id="priority"),
    ],
)
def test_apply_async_of_ours_sends_what_celerys_does(a_project: Any, options: dict[str, Any]) -> None:
    with a_project() as shop:
        shop.define(add)
        task_id = uuid4().hex
        for each in (shop.ours.celery, shop.theirs):
            asked = {"queue": shop.queue, "priority": shop.place(), "task_id": task_id, **options}
            each.apply_async([1], {"b": 2}, **asked)
        ours, theirs = shop.arrived()
    assert_same(ours, theirs)
    assert ours.facts["queue"] == shop.queue


def test_links_of_apply_async_travel_as_celerys_do(a_project: Any) -> None:
    with a_project() as shop:
        shop.define(add)
        task_id = uuid4().hex
        after = shop.theirs.si(2)
        for each in (shop.ours.celery, shop.theirs):
            asked = {"queue": shop.queue, "priority": shop.place(), "task_id": task_id}
            each.apply_async([1], link=after, link_error=[after.clone()], chain=[after.clone()], **asked)
        ours, theirs = shop.arrived()
    assert_same(ours, theirs)
    assert ours.body[2]["callbacks"][0]["args"] == [2]
