"""Where broker and store are one Redis: the record and the message go in one step, and nothing else is another."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from functools import cache
from typing import Any
from unittest import mock

import pytest
import redis
from celery import Celery
from celery.signals import after_task_publish, before_task_publish
from django.utils import timezone
from kombu import Exchange, Queue
from kombu.transport.redis import Channel

from tasks_celery import EnqueueError, StoreError, publish
from tasks_celery.compat import TaskResultDoesNotExist, TaskResultStatus, task_backends
from tasks_celery.exceptions import PartlyEnqueued
from tasks_celery.publish import broker, express
from tasks_celery.stores.memory import MemoryStore
from tasks_celery.stores.redis import RedisStore
from tasks_celery.stores.scripts import Caller, Missing
from tests.shop import tasks
from tests.shop.brokers import BROKER, HOST, STORE, OneRedis, one_redis, round_trips, used_for_all
from tests.shop.running import apps_kept, configured, listening, the_app, the_store
from tests.stores.making import a_record

PREFIX = "tasks_celery:"


@pytest.fixture
def here() -> Iterator[OneRedis]:
    with one_redis() as here:
        yield here


# --- whether it is one


@cache
def a_store(url: str) -> RedisStore:
    return RedisStore(url, key_prefix=PREFIX, timeout=1)


@contextmanager
def an_app(url: Any, **conf: Any) -> Iterator[Celery]:
    with apps_kept(), Celery("asked", set_as_current=False, broker=url) as app:
        app.conf.update(broker_url=url, **conf)
        yield app


def place_by_kombu(app: Celery) -> tuple[str, str, bool, int] | None:
    """Return where kombu connects to, as whom and to which database; None where it could not."""
    try:
        transport = app.connection_for_write().transport
        channel = Channel.__new__(Channel)
        channel.connection, channel._closing = transport, False
        found = dict(channel._connparams())
    except Exception:  # noqa: BLE001  whatever kombu and redis-py say of such a URL
        return None
    kind = found.get("connection_class") or redis.Connection
    server = found.get("path") or f"{found.get('host', 'found by Sentinel')}:{found.get('port')}"
    return server.lower(), found.get("username") or "default", issubclass(kind, redis.SSLConnection), found["db"]


SPELLINGS: list[tuple[Any, dict[str, Any]]] = [
    ("redis://h:1/0", {}),
    ("redis://h:1/3", {}),
    ("redis://h:1//3", {}),
    ("redis://h:1/%33", {}),
    ("redis://h:1", {}),
    ("redis://H:1/0", {}),
    ("redis://h/0", {}),
    ("redis://h:6379/0", {}),
    ("redis://127.0.0.1/0", {}),
    ("redis://[::1]:1/0", {}),
    ("redis://:secret@h:1/0", {}),
    ("redis://user:secret@h:1/0", {}),
    ("redis://default:x@h:1/0", {}),
    ("redis://user@h:1/0", {}),
    ("rediss://h:1/0", {}),
    ("rediss://h:1/0?ssl_cert_reqs=CERT_NONE", {}),
    ("rediss://h:1/0?ssl_cert_reqs=required", {}),
    ("redis://h:1/0", {"broker_use_ssl": True}),
    ("redis://h:1/0", {"broker_user": "bob"}),
    ("redis://h:1/0", {"broker_password": "secret"}),
    ("redis://h:1", {"broker_vhost": "7"}),
    ("redis://h", {"broker_port": 7}),
    ("redis://", {"broker_host": "h"}),
    ("redis://h:1/0", {"broker_transport": "memory"}),
    ("redis+socket:///run/r.sock", {}),
    ("redis+socket:///run/r.sock?virtual_host=3", {}),
    ("redis+socket:///run/r.sock?db=3", {}),
    ("redis+socket://user:secret@/run/r.sock?virtual_host=2", {}),
    ("socket:///run/r.sock", {}),
    ("unix:///run/r.sock", {}),
    ("redis://h:1/0;redis://g:1/0", {}),
    (["redis://h:1/0", "redis://g:1/0"], {}),
    ("sentinel://h:1/0", {}),
    ("redis+sentinel://h:1/0", {}),
    ("sentinel+redis://h:1/0", {}),
    ("valkey://h:1/0", {}),
    ("memory://", {}),
    ("amqp://", {}),
    (None, {}),
    ("redis", {}),
    ("redis://h:1/x", {}),
    ("redis://h:1/3?db=5", {}),
    ("redis://h:no-port/0", {}),
    ("redis://h:1/0?socket_timeout=abc", {}),
]
IN_DOUBT = (";", "sentinel", "db=", "memory", "amqp", "no-port", "abc", "valkey", "unix")


@pytest.mark.parametrize(("url", "conf"), SPELLINGS, ids=str)
def test_it_is_the_server_and_the_database_that_kombu_connects_to_or_none(url: Any, conf: dict[str, Any]) -> None:
    with an_app(url, **conf) as app:
        kombus = place_by_kombu(app)
        stores = ["redis://h:1/0", "redis://h:1/9", "redis://h/0", "redis://127.0.0.1/0", "redis://[::1]:1/0"]
        stores += ["redis://user:secret@h:1/0", "rediss://h:1/0?ssl_cert_reqs=none", "unix:///run/r.sock"]
        stores += ["unix://user:secret@/run/r.sock"]
        found = {each: express.broker_database(app, a_store(each)) for each in stores}
        for name, database in found.items():
            address = a_store(name).address
            if database is not None and kombus is not None:
                assert (address.server, address.username, address.tls, database) == kombus


@pytest.mark.parametrize(
    ("url", "store", "database"),
    [
        ("redis://h:1/0", "redis://h:1/0", 0),
        ("redis://h:1/3", "redis://h:1/0", 3),
        ("redis://h:1", "redis://H:1/5", 0),
        ("redis://h/1", "redis://h:6379/0", 1),
        ("redis://user:secret@h:1/3", "redis://user:secret@h:1/0", 3),
        ("rediss://h:1/3?ssl_cert_reqs=CERT_NONE", "rediss://h:1/0?ssl_cert_reqs=none", 3),
        ("redis+socket:///run/r.sock?virtual_host=3", "redis+socket:///run/r.sock", 3),
        ("redis+socket:///run/r.sock", "unix:///run/r.sock?db=2", 0),
    ],
)
def test_one_redis_is_known_by_each_of_its_spellings(url: str, store: str, database: int) -> None:
    with an_app(url) as app:
        assert express.broker_database(app, a_store(store)) == database


@pytest.mark.parametrize(
    ("url", "conf"), [each for each in SPELLINGS if each[1] or any(mark in str(each[0]) for mark in IN_DOUBT)], ids=str
)
def test_in_doubt_it_is_none(url: Any, conf: dict[str, Any]) -> None:
    with an_app(url, **conf) as app:
        for store in ("redis://h:1/0", "redis://h:6379/0", "redis://localhost/0", "unix:///run/r.sock"):
            assert express.broker_database(app, a_store(store)) is None


@pytest.mark.parametrize(
    "store",
    [
        "redis://g:1/0",
        "redis://h:2/0",
        "redis://other:secret@h:1/0",
        "rediss://h:1/0?ssl_cert_reqs=none",
        "unix:///h:1",
    ],
)
def test_another_server_another_user_and_tls_are_others(store: str) -> None:
    with an_app("redis://h:1/0") as app:
        assert express.broker_database(app, a_store(store)) is None


def test_a_store_that_is_no_redis_is_another() -> None:
    with an_app("redis://h:1/0") as app:
        assert express.broker_database(app, MemoryStore()) is None


def test_a_broker_that_is_changed_in_a_test_is_looked_at_again() -> None:
    store = a_store("redis://h:1/0")
    with configured(the_app(), broker_url="redis://h:1/1"):
        assert express.broker_database(the_app(), store) == 1
        with configured(the_app(), broker_url="redis://h:1/2"):
            assert express.broker_database(the_app(), store) == 2
    assert express.broker_database(the_app(), store) is None


# --- what goes over


def test_a_task_takes_one_round_trip(here: OneRedis) -> None:
    tasks.add.enqueue(1)
    with round_trips() as trips:
        result = tasks.add.enqueue(2)
    assert trips == ["EVALSHA"]
    assert [message["headers"]["id"] for message in here.sent()][1:] == [result.id]
    assert tasks.add.get_result(result.id) == result


def test_many_tasks_take_one_for_some_hundreds(here: OneRedis) -> None:
    tasks.add.enqueue(0)
    with round_trips() as trips:
        results = tasks.add.enqueue_many([((number,), {}) for number in range(501)])
    assert trips == ["EVALSHA"] * 2
    assert [message["headers"]["id"] for message in here.sent()][1:] == [result.id for result in results]
    for result in (results[0], results[499], results[-1]):
        assert tasks.add.get_result(result.id) == result


def test_the_record_goes_into_its_own_database_and_the_message_into_its(here: OneRedis) -> None:
    result = tasks.add.enqueue(1)
    assert here.keys(STORE) == {f"{PREFIX}result:{result.id}", f"{PREFIX}ready:default", f"{PREFIX}queues"}
    assert here.keys(BROKER) == {"default\x06\x163"}


def test_in_one_database_too() -> None:
    with one_redis() as here, configured(the_app(), broker_url=here.url(STORE)):
        result = tasks.add.enqueue(1)
        assert tasks.add.get_result(result.id) == result
        assert here.keys(STORE) >= {f"{PREFIX}result:{result.id}", "default\x06\x163"}
        _forget_pool(here.url(STORE))


def _forget_pool(url: str) -> None:
    for key in [key for key in broker._pools[the_app()] if key[2] == url]:
        broker._pools[the_app()].pop(key).connections.force_close_all()


ASKED = {
    "plain": lambda: tasks.echo,
    "a queue": lambda: tasks.echo.using(queue_name="reports"),
    "first": lambda: tasks.echo.using(priority=100),
    "last": lambda: tasks.echo.using(priority=-100),
    "expires": lambda: tasks.echo.using(expires=3600),
    "compressed": lambda: tasks.echo.using(compression="gzip"),
    "limits": lambda: tasks.echo.using(time_limit=9, soft_time_limit=7),
    "ignored": lambda: tasks.echo.using(ignore_result=True),
    "overdue": lambda: tasks.echo.using(run_after=timezone.now() - timedelta(days=1)),
}
CONFIGURED: dict[str, dict[str, Any]] = {
    "plain": {},
    "prefix": {"broker_transport_options": {"global_keyprefix": "theirs:"}},
    "steps": {"broker_transport_options": {"priority_steps": list(range(10)), "sep": ":"}},
    "compression": {"task_compression": "zlib"},
    "transient": {"task_default_delivery_mode": 1},
}


@pytest.mark.parametrize("conf", CONFIGURED.values(), ids=CONFIGURED)
@pytest.mark.parametrize("calls", [1, 2])
def test_a_message_is_the_same_that_would_go_the_ordinary_way(conf: dict[str, Any], calls: int) -> None:
    args = (1, "☃\ud800\0", [None, {"a": 1.5}])
    with one_redis(conf=conf) as here, mock.patch.dict(the_app().amqp.__dict__):
        the_app().amqp.__dict__.pop("send_task_message", None)  # it has read the configuration
        for ask in ASKED.values():
            sent = []
            for way in (nullcontext(), mock.patch.object(express, "broker_database", return_value=None)):
                with way:
                    ask().enqueue_many([(args, {"key": "x"})] * calls)
                sent.append(_taken(here))
            assert sent[0] == sent[1]
            assert len(sent[0][1]) == calls


def _taken(here: OneRedis) -> tuple[str, list[str]]:
    """Take the messages out of the one list there is, and return them with its key."""
    (key,) = here.keys(BROKER)
    with here.database(BROKER) as client:
        texts = client.lrange(key, 0, -1)
        client.delete(key)
    return key, [_without_its_own(text) for text in texts]


def _without_its_own(text: str) -> str:
    """Return a message without what is another each time, and in the order that its keys have."""
    message = json.loads(text)
    for place in (message["headers"], message["properties"], message["headers"]["tasks_celery"]):
        for name in (
            "id",
            "root_id",
            "expires",
            "correlation_id",
            "delivery_tag",
            "enqueued_at",
            "run_after",
            "expiration",
        ):
            if place.get(name):
                place[name] = type(place[name]).__name__
    if "compression" not in message["headers"]:
        assert json.loads(base64.b64decode(message["body"]))[0][0] == 1
    return json.dumps(message)


def test_who_listens_to_publishing_hears_of_it_as_ever(here: OneRedis) -> None:
    heard: list[tuple[str, str]] = []

    def before(sender: str, headers: dict[str, Any], **kwargs: Any) -> None:
        headers["added"] = "by a receiver"
        heard.append(("before", headers["id"]))

    def after(headers: dict[str, Any], **kwargs: Any) -> None:
        heard.append(("after", headers["id"]))

    before_task_publish.connect(before)
    after_task_publish.connect(after)
    the_app().amqp.__dict__.pop("send_task_message", None)  # before 5.6 it asks whether there are receivers just once
    try:
        result = tasks.add.enqueue(1)
    finally:
        before_task_publish.disconnect(before)
        after_task_publish.disconnect(after)
    assert heard == [("before", result.id), ("after", result.id)]
    (message,) = here.sent()
    assert message["headers"]["added"] == "by a receiver"


@pytest.mark.parametrize("calls", [1, 3])
def test_an_event_that_a_task_was_sent_goes_beside_it(calls: int) -> None:
    published: list[dict[str, Any]] = []

    def publish(kind: str, event: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        published.append(event)

    with one_redis(conf={"task_send_sent_event": True}) as here:
        with mock.patch.object(the_app().amqp._event_dispatcher, "publish", publish):
            results = tasks.add.enqueue_many([((1,), {})] * calls)
        assert [event["uuid"] for event in published] == [result.id for result in results]
        assert len(here.sent()) == calls


# --- what goes the ordinary way


QUEUES = {
    "fanout": Queue("default", Exchange("all", type="fanout"), routing_key="x"),
    "topic": Queue("default", Exchange("some", type="topic"), routing_key="a.b"),
}
if hasattr(Channel, "_get_queue_expire"):  # to older releases of kombu it is a list like any other
    QUEUES["expires"] = Queue("default", Exchange("default"), routing_key="default", expires=60)


@contextmanager
def a_queue(kind: str) -> Iterator[None]:
    with mock.patch.dict(the_app().amqp.queues, {"default": QUEUES[kind]}):
        yield


@pytest.mark.parametrize("kind", QUEUES)
@pytest.mark.parametrize("calls", [1, 3])
def test_what_is_no_plain_list_goes_the_ordinary_way_after_its_record(here: OneRedis, kind: str, calls: int) -> None:
    seen: list[str] = []
    publish = Channel.basic_publish

    def look(channel: Any, message: Any, **options: Any) -> Any:
        seen.append(the_store().get(message["headers"]["id"]).status)
        return publish(channel, message, **options)

    with a_queue(kind), mock.patch.object(Channel, "basic_publish", look), listening() as heard:
        results = tasks.add.enqueue_many([((1,), {})] * calls)
    assert seen == ["READY"] * calls
    assert [one.id for one in heard] == [result.id for result in results]
    if kind != "fanout":
        assert [message["headers"]["id"] for message in here.sent()] == [result.id for result in results]


@pytest.mark.parametrize("kind", QUEUES)
@pytest.mark.parametrize("calls", [1, 3])
@pytest.mark.parametrize("error", [OSError("refused"), TimeoutError("no answer")], ids=["refused", "unanswered"])
def test_what_then_is_not_taken_has_no_record_that_could_be_run(
    here: OneRedis, kind: str, calls: int, error: Exception
) -> None:
    tried: list[str] = []

    def refuse(channel: Any, message: Any, **options: Any) -> Any:
        tried.append(message["headers"]["id"])
        raise error

    with (
        a_queue(kind),
        mock.patch.object(Channel, "basic_publish", refuse),
        configured(the_app(), task_publish_retry_policy={"max_retries": 0}),
        pytest.raises(EnqueueError) as caught,
    ):
        tasks.add.enqueue_many([((1,), {})] * calls)
    record = the_store().get(tried[0])
    if isinstance(error, TimeoutError):
        assert (record.status, record.attempt) == ("FAILED", 0)
    else:
        assert record is None
    if calls > 1:
        assert isinstance(caught.value, PartlyEnqueued)
        assert (caught.value.sent, caught.value.doubtful) == ([], [])
        assert len(caught.value.not_sent) == calls


def test_a_task_that_waits_for_its_time_is_a_record_and_no_message(here: OneRedis) -> None:
    late = tasks.add.using(run_after=timezone.now() + timedelta(hours=1)).enqueue(1)
    backend = task_backends["default"]
    results = backend.enqueue_many([(tasks.add, (1,), {}), (late.task, (2,), {})])
    assert [message["headers"]["id"] for message in here.sent()] == [results[0].id]
    assert [the_store().get(each.id).held for each in (late, *results)] == [True, False, True]


# --- what fails


def test_a_redis_that_is_not_there_is_an_error_with_nothing_left(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
    url = f"redis://{HOST}:{port}"
    with (
        used_for_all(f"{url}/0", f"{url}/1"),
        listening() as heard,
        pytest.raises((StoreError, EnqueueError)) as caught,
    ):
        tasks.add.enqueue(1)
    assert "may still be run" not in str(caught.value)
    assert heard == []


@pytest.mark.parametrize("calls", [1, 3])
def test_a_redis_that_has_gone_is_an_error_with_nothing_left(calls: int) -> None:
    with one_redis() as here:
        tasks.add.enqueue(1)

        def away(*args: Any) -> Any:
            raise redis.ConnectionError("refused") from ConnectionRefusedError()

        with (
            mock.patch.object(Caller, "_take", away),
            listening() as heard,
            pytest.raises((StoreError, PartlyEnqueued)) as caught,
        ):
            tasks.add.enqueue_many([((1,), {})] * calls)
        assert heard == []
        assert len(here.sent()) == 1
        if calls > 1:
            assert isinstance(caught.value, PartlyEnqueued)
            assert (caught.value.sent, len(caught.value.not_sent), caught.value.doubtful) == ([], calls, [])
        # The producer that it was sent with is as good as before.
        with round_trips() as trips:
            tasks.add.enqueue(2)
        assert "EVALSHA" in trips
        assert len(here.sent()) == 2


@pytest.mark.parametrize("calls", [1, 3])
def test_a_list_that_is_none_leaves_nothing(here: OneRedis, calls: int) -> None:
    with here.database(BROKER) as client:
        client.set("default\x06\x163", "somebody else's")
    with listening() as heard, pytest.raises((StoreError, EnqueueError), match="WRONGTYPE"):
        tasks.add.enqueue_many([((1,), {})] * calls)
    assert here.keys(STORE) == set()
    assert heard == []


@contextmanager
def an_answer_lost(error: Exception, *, at: int = 0, done: bool = True) -> Iterator[None]:
    """Let the answers from this one on be lost, after Redis has done what it was asked, or before."""
    exchange, known = Caller._exchange, [at]

    def lose(caller: Caller, packed: Any) -> list[Any]:
        first, known[0] = known[0], 0
        answers = exchange(caller, packed if done else packed[:first]) if done or first else []
        return [*answers[:first], *[Missing(error)] * (len(packed) - first)]

    with mock.patch.object(Caller, "_exchange", lose):
        yield


LOST = [redis.TimeoutError("no answer"), redis.ConnectionError("reset by peer")]


@pytest.mark.parametrize("done", [True, False], ids=["done", "not done"])
@pytest.mark.parametrize("error", LOST, ids=["timeout", "reset"])
def test_a_task_whose_answer_is_lost_is_not_run_after_all(here: OneRedis, error: Exception, done: bool) -> None:
    tasks.add.enqueue(1)
    with listening() as heard, an_answer_lost(error, done=done), pytest.raises(EnqueueError, match="is FAILED"):
        tasks.add.enqueue(2)
    assert heard == []
    (record,) = (each for each in _records(here) if each.args == [2])
    assert (record.status, record.attempt) == ("FAILED", 0)
    for message in here.sent()[1:]:
        assert message["headers"]["id"] == record.id


def _records(here: OneRedis) -> list[Any]:
    ids = [key.rpartition(":")[2] for key in here.keys(STORE) if ":result:" in key]
    return [the_store().get(each) for each in ids]


@pytest.mark.parametrize("done", [True, False], ids=["done", "not done"])
@pytest.mark.parametrize("error", LOST, ids=["timeout", "reset"])
def test_of_many_whose_answers_are_lost_in_the_middle_each_is_accounted_for(
    here: OneRedis, error: Exception, done: bool
) -> None:
    tasks.add.enqueue(0)
    with listening() as heard, an_answer_lost(error, at=2, done=done), pytest.raises(PartlyEnqueued) as caught:
        tasks.add.enqueue_many([((number,), {}) for number in range(1, 6)])
    told = caught.value
    assert (len(told.sent), len(told.not_sent), told.doubtful) == (2, 3, [])
    assert [one.id for one in heard] == told.sent
    by_id = {record.id: record for record in _records(here)}
    assert [by_id[each].status for each in told.sent] == ["READY", "READY"]
    assert [by_id[each].status for each in told.not_sent] == ["FAILED"] * 3
    assert [by_id[each].args for each in (*told.sent, *told.not_sent)] == [[1], [2], [3], [4], [5]]
    queued = {message["headers"]["id"] for message in here.sent()}
    assert set(told.sent) <= queued


@pytest.mark.parametrize("error", LOST, ids=["timeout", "reset"])
def test_of_many_what_can_neither_be_asked_nor_forbidden_is_told_as_doubtful(here: OneRedis, error: Exception) -> None:
    tasks.add.enqueue(0)
    away = mock.Mock(side_effect=StoreError("away"))
    with (
        an_answer_lost(error, at=2),
        mock.patch.object(the_store(), "settle", away),
        pytest.raises(PartlyEnqueued, match="3 may yet be run") as caught,
    ):
        tasks.add.enqueue_many([((number,), {}) for number in range(1, 6)])
    assert (len(caught.value.sent), caught.value.not_sent, len(caught.value.doubtful)) == (2, [], 3)
    assert away.call_count == 1  # a store that is away costs one wait


@pytest.mark.parametrize("calls", [1, 3])
def test_a_router_that_raises_leaves_nothing(here: OneRedis, calls: int) -> None:
    tasks.add.enqueue(0)
    before = here.keys(STORE)
    send, tried = the_app().amqp.send_task_message, []

    def raise_at_the_last(*args: Any, **options: Any) -> Any:
        tried.append(args)
        if len(tried) == calls:
            raise KeyError("no route")
        return send(*args, **options)

    with (
        mock.patch.object(the_app().amqp, "send_task_message", raise_at_the_last),
        pytest.raises(EnqueueError) as caught,
    ):
        tasks.add.enqueue_many([((1,), {})] * calls)
    assert "no route" in str(caught.value.__cause__)
    assert here.keys(STORE) == before
    assert len(here.sent()) == 1


def test_what_failed_before_it_was_sent_does_not_take_the_next_message_its_way(here: OneRedis) -> None:
    tasks.add.enqueue(0)
    with (
        mock.patch.object(the_app().amqp, "send_task_message", side_effect=KeyError("no route")),
        pytest.raises(EnqueueError),
    ):
        tasks.add.enqueue(1)
    before = here.keys(STORE)
    waited = a_record(name="tests.shop.tasks.add", queue_name="default", priority=0)
    assert publish.send_kept(task_backends["default"], [waited]) == [waited]
    assert here.keys(STORE) == before
    assert [message["headers"]["id"] for message in here.sent()][1:] == [waited.id]


def test_a_declaration_that_fails_at_first_does_not_part_a_message_from_its_record(here: OneRedis) -> None:
    failed: list[Any] = []
    bind = Channel._queue_bind

    def fail_once(channel: Any, *args: Any) -> Any:
        if not failed:
            failed.append(args)
            raise redis.ConnectionError("reset by peer")
        return bind(channel, *args)

    with mock.patch.object(Channel, "_queue_bind", fail_once):
        result = tasks.add.enqueue(1)
    assert failed
    assert [message["headers"]["id"] for message in here.sent()] == [result.id]
    assert tasks.add.get_result(result.id) == result


def test_a_declaration_that_goes_on_failing_leaves_nothing(here: OneRedis) -> None:
    def fail(channel: Any, *args: Any) -> Any:
        raise redis.ConnectionError("reset by peer")

    with (
        configured(the_app(), task_publish_retry_policy={"max_retries": 1, "interval_start": 0}),
        mock.patch.object(Channel, "_queue_bind", fail),
        pytest.raises(EnqueueError, match="reset by peer"),
    ):
        tasks.add.enqueue(1)
    assert here.keys(STORE) == set()
    assert here.sent() == []


def test_interrupted_it_leaves_nothing(here: OneRedis) -> None:
    tasks.add.enqueue(1)
    before = here.keys(STORE)
    interrupt = mock.Mock(side_effect=KeyboardInterrupt)
    with mock.patch.object(RedisStore, "create_and_push", interrupt), pytest.raises(KeyboardInterrupt):
        tasks.add.enqueue(2)
    assert here.keys(STORE) == before
    tasks.add.enqueue(3)
    assert len(here.sent()) == 2


# --- at once


def test_threads_do_not_take_each_others_way(here: OneRedis) -> None:
    results: list[Any] = []

    def enqueue(number: int) -> None:
        for each in range(10):
            task = tasks.echo if each % 2 else tasks.echo.using(queue_name="reports")
            results.append(task.enqueue(number, each))

    threads = [threading.Thread(target=enqueue, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 80
    sent = [*here.sent(), *here.sent("reports\x06\x163")]
    assert sorted(message["headers"]["id"] for message in sent) == sorted(result.id for result in results)
    for message in sent:
        queue = message["headers"]["tasks_celery"]["queue"]
        assert message["properties"]["delivery_info"]["routing_key"] == queue
    assert {tasks.echo.get_result(result.id).status for result in results} == {TaskResultStatus.READY}


def test_without_a_pool_it_goes_as_well() -> None:
    with one_redis(conf={"broker_pool_limit": 0}) as here:
        result = tasks.add.enqueue(1)
        assert [message["headers"]["id"] for message in here.sent()] == [result.id]
        assert tasks.add.get_result(result.id) == result


def test_an_id_that_nobody_enqueued_stays_unknown(here: OneRedis) -> None:
    tasks.add.enqueue(1)
    with pytest.raises(TaskResultDoesNotExist):
        tasks.add.get_result("nobody-sent-this")
