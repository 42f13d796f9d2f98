"""A record becomes Celery's message: what is in it, where it goes, and that it is as Celery would have made it."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import pytest
from celery import Celery
from celery.signals import after_task_publish, before_task_publish
from celery.utils.saferepr import saferepr
from django.test import override_settings
from django.utils import timezone
from kombu import Exchange, Queue

from tasks_celery.compat import task_backends
from tasks_celery.context import Context, asking
from tasks_celery.message import HEADER
from tasks_celery.publish import broker, sender
from tasks_celery.publish.broker import sending
from tasks_celery.stores import Record
from tests.shop import tasks
from tests.shop.brokers import messages
from tests.shop.running import apps_kept, configured, empty_the_broker, the_app, waiting
from tests.stores.making import a_record


@pytest.fixture(autouse=True)
def _an_empty_broker() -> Iterator[None]:
    empty_the_broker()
    yield
    empty_the_broker()


def send(**changes: Any) -> Any:
    """Send the message of a record as the mover does, and return it as it arrives."""
    facts = {"name": "tests.shop.tasks.echo", "path": "tests.shop.tasks.echo", "queue_name": "default"}
    send_record(record := a_record(**facts | changes))
    (message,) = messages(record.queue_name)
    assert message.headers["id"] == record.id
    return message


def send_record(record: Record) -> None:
    with sending(the_app(), within=2) as producer:
        sender.send(task_backends["default"], producer, record)


# --- what is in it


def test_it_is_what_celery_would_have_sent_for_the_same_call() -> None:
    task = tasks.echo.using(priority=3)
    result = task.enqueue(1, key="x")
    the_app().send_task(
        "tests.shop.tasks.echo",
        (1,),
        {"key": "x"},
        task_id=result.id,
        queue="default",
        priority=task_backends["default"].scale_of("default").place(3),
        serializer="json",
    )
    ours, celerys = messages("default")
    facts = ours.headers.pop(HEADER)
    assert ours.headers == celerys.headers | {"ignore_result": False}
    assert list(ours.headers) == list(celerys.headers)
    assert facts["path"] == "tests.shop.tasks.echo"
    assert ours.body == celerys.body
    for message in (ours, celerys):
        message.properties.pop("delivery_tag")
    assert ours.properties == celerys.properties
    assert (ours.content_type, ours.content_encoding) == (celerys.content_type, celerys.content_encoding)


def test_what_a_call_asked_for_travels_with_its_message_whoever_sends_it() -> None:
    message = send(
        sending={
            "time_limit": 9,
            "soft_time_limit": 7,
            "ignore_result": True,
            "shadow": "as it is called",
            "group_id": "a group",
            "group_index": 2,
            "root_id": "the first",
            "parent_id": "the last",
            "link": [tasks.add.celery.s(1)],
            "chord": tasks.add.celery.s(2),
            "replaced_task_nesting": 3,
            "compression": "gzip",
        }
    )
    headers = message.headers
    assert (headers["timelimit"], headers["ignore_result"], headers["shadow"]) == ([9, 7], True, "as it is called")
    assert (headers["group"], headers["group_index"], headers["root_id"]) == ("a group", 2, "the first")
    assert (headers["parent_id"], headers["replaced_task_nesting"]) == ("the last", 3)
    assert headers["compression"] == "application/x-gzip"
    _, _, embedded = message.decode()
    assert [link["args"] for link in embedded["callbacks"]] == [[1]]
    assert embedded["chord"]["args"] == [2]


def test_the_arguments_that_only_celery_can_carry_go_in_place_of_their_texts() -> None:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    sent = tasks.echo.celery.delay(when, a=when)
    messages("default")
    send_record(task_backends["default"].results.store.get(sent.id))
    (message,) = messages("default")
    assert message.decode()[:2] == [[when], {"a": when}]


def test_a_task_that_expired_before_it_is_sent_is_sent_and_dropped_by_who_takes_it() -> None:
    past, ahead = (timezone.now() + timedelta(seconds=seconds) for seconds in (-5, 60))
    assert send(expires=past).properties["expiration"] == "0"
    message = send(expires=ahead)
    assert 50_000 < int(message.properties["expiration"]) <= 60_000
    assert datetime.fromisoformat(message.headers["expires"]) == ahead


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Asia/Kathmandu"])
def test_a_naive_time_is_sent_as_the_local_one_it_is(zone: str) -> None:  # contract 41, 43
    # Where a project keeps no records, nobody can hold the message back but the worker.
    with override_settings(USE_TZ=False, TIME_ZONE=zone):
        due = datetime.now() + timedelta(hours=1)  # noqa: DTZ005
        eta = datetime.fromisoformat(send(run_after=due, expires=due).headers["eta"])
    assert eta.tzinfo is not None
    assert abs((eta - datetime.now(UTC)).total_seconds() - 3600) < 60


def test_a_time_that_has_come_is_no_eta() -> None:
    assert send(run_after=timezone.now() - timedelta(seconds=1)).headers["eta"] is None


def test_a_message_that_is_sent_again_says_which_retry_it_is() -> None:
    assert send(retries=2).headers["retries"] == 2


def test_who_asked_travels_in_the_header() -> None:
    with asking(lambda: Context(user="7", language="de")):
        tasks.echo.enqueue()
    (message,) = messages("default")
    assert message.headers[HEADER]["context"] == {"user": "7", "language": "de"}


def test_the_options_of_a_task_are_those_of_each_of_its_messages(registry: None) -> None:
    from tasks_celery import task

    made = task(
        name="shop.optioned", time_limit=9, soft_time_limit=7, ignore_result=True, compression="gzip", expires=60
    )(tasks.echo.func)
    made.enqueue()
    made.using(time_limit=8).enqueue()
    first, second = messages("default")
    assert (first.headers["timelimit"], second.headers["timelimit"]) == ([9, 7], [8, 7])
    assert first.headers["ignore_result"] is True
    assert first.headers["compression"] == "application/x-gzip"
    assert abs((datetime.fromisoformat(first.headers["expires"]) - datetime.now(UTC)).total_seconds() - 60) < 30


def test_a_task_that_this_process_does_not_know_is_sent_all_the_same() -> None:
    # A mover may send what another project of the same store has enqueued.
    message = send(name="of.nobody.here", path="of.nobody.here", args=[1], kwargs={})
    assert (message.headers["task"], message.headers["timelimit"]) == ("of.nobody.here", [None, None])


# --- a task that is enqueued inside of another


@pytest.fixture
def parent() -> Iterator[Any]:
    """A Celery task that runs in this thread, third of its chain."""
    twin = tasks.add.celery
    twin.push_request(id="the parent", root_id="the first", called_directly=False, delivery_info={})
    with mock.patch.object(type(the_app()), "current_worker_task", new=twin):
        yield twin
    twin.pop_request()


def test_a_task_says_by_which_other_it_was_enqueued(parent: Any) -> None:
    tasks.echo.enqueue()
    tasks.echo.enqueue_many([((), {})] * 2)
    for message in messages("default"):
        assert (message.headers["root_id"], message.headers["parent_id"]) == ("the first", "the parent")


def test_one_that_waits_for_its_time_says_so_as_it_is_sent(parent: Any) -> None:
    result = tasks.echo.using(run_after=timedelta(hours=1)).enqueue()
    record = task_backends["default"].results.store.get(result.id)
    assert dict(record.sending) == {"root_id": "the first", "parent_id": "the parent"}
    with mock.patch.object(type(the_app()), "current_worker_task", new=None):
        send_record(replace(record, run_after=None))
    (message,) = messages("default")
    assert (message.headers["root_id"], message.headers["parent_id"]) == ("the first", "the parent")


def test_one_that_nobody_else_enqueued_is_its_own_root() -> None:
    result = tasks.echo.enqueue()
    (message,) = messages("default")
    assert (message.headers["root_id"], message.headers["parent_id"]) == (result.id, None)


def test_the_task_that_enqueues_is_found_while_it_runs() -> None:
    from tests.shop.running import a_worker, finished

    with a_worker():
        outer = finished(tasks.enqueue_another.enqueue(1))
        inner = task_backends["default"].results.store.get(outer.return_value)
    assert dict(inner.sending) == {"root_id": outer.id, "parent_id": outer.id}


# --- where it goes


def test_it_goes_to_its_queue_with_its_priority() -> None:
    scale = task_backends["default"].scale_of("reports")
    for priority in (-100, 0, 100):
        message = send(queue_name="reports", priority=priority)
        assert message.properties["priority"] == scale.place(priority)
        assert message.properties["delivery_info"]["routing_key"] == "reports"


def test_a_route_of_the_project_may_add_to_it_and_its_queue_is_the_tasks() -> None:
    seen: list[Any] = []

    def route(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **kw: Any) -> Any:
        seen.append((name, list(args), dict(kwargs), str(options["queue"].name), task))
        return {"queue": "elsewhere", "delivery_mode": 1}

    with configured(the_app(), task_routes=(route,)):
        the_app().amqp.router = the_app().amqp.Router()
        try:
            message = send(args=[1], kwargs={"b": 2})
        finally:
            with configured(the_app(), task_routes=None):
                the_app().amqp.router = the_app().amqp.Router()
    assert seen == [("tests.shop.tasks.echo", [1], {"b": 2}, "default", tasks.echo.celery)]
    assert message.properties["delivery_mode"] == 1
    assert waiting("elsewhere") == 0


def test_a_call_that_named_an_exchange_goes_there_again() -> None:
    queue = Queue("of_the_exchange", Exchange("an_exchange", type="topic"), routing_key="a.*")
    with the_app().connection_for_write() as connection:
        queue(connection.default_channel).declare()
    facts = {"name": "tests.shop.tasks.echo", "queue_name": "default"}
    send_record(a_record(**facts, sending={"exchange": "an_exchange", "routing_key": "a.b"}))
    assert (waiting("of_the_exchange"), waiting("default")) == (1, 0)
    messages("of_the_exchange")


def test_receivers_of_publishing_hear_what_apply_async_tells_them() -> None:
    heard: list[tuple[str, dict[str, Any]]] = []

    def before(**kwargs: Any) -> None:
        heard.append(("before", kwargs))

    def after(**kwargs: Any) -> None:
        heard.append(("after", kwargs))

    before_task_publish.connect(before, weak=False)
    after_task_publish.connect(after, weak=False)
    the_app().amqp.__dict__.pop("send_task_message", None)  # before 5.6 it asks whether there are receivers just once
    try:
        tasks.echo.enqueue(1)
        ours, heard[:] = heard[:], []
        tasks.echo.celery.apply_async((1,))
    finally:
        before_task_publish.disconnect(before)
        after_task_publish.disconnect(after)
    for (ours_name, one), (celerys_name, other) in zip(ours, heard, strict=True):
        assert ours_name == celerys_name
        assert one["sender"] == other["sender"]
        assert set(one) == set(other)
        for name in ("exchange", "routing_key", "declare"):
            assert one.get(name) == other.get(name)
        assert set(one["headers"]) == set(other["headers"])
    # Nothing of the project's policy is given up; ours says when it is enough.
    assert ours[0][1]["retry_policy"].items() >= dict(heard[0][1]["retry_policy"] or {}).items()
    assert ours[0][1]["retry_policy"]["errback"] is broker._stop_in_time


# --- what Celery does for its caller's AsyncResult


@pytest.mark.parametrize("url", ["redis://", "cache+memory://", "disabled://", "rpc://"])
def test_only_a_result_that_goes_to_its_caller_is_waited_for_from_the_start(url: str) -> None:
    # The queue of rpc:// has to be there before a worker answers; a subscription that nobody reads is spared.
    with apps_kept(), Celery("results", set_as_current=False, backend=url) as app:
        backend = app.backend
    asked: list[str] = []
    with (
        mock.patch.object(type(the_app()), "backend", new=backend),
        mock.patch.object(type(backend), "on_task_call", lambda self, producer, task_id: asked.append(task_id)),
    ):
        result = tasks.echo.enqueue()
        tasks.echo.using(ignore_result=True).enqueue()
    assert asked == ([result.id] if url == "rpc://" else [])
    first, second = messages("default")
    assert (first.headers["ignore_result"], second.headers["ignore_result"]) == (False, True)


# --- how arguments are shown


CHARACTERS = [*string.printable, "☃", "\ud800", "\0", "é", "'", '"', "\\", "\N{GRINNING FACE}", "\x85", "\u2028"]


def a_value(rng: random.Random, depth: int = 0) -> Any:
    """Return something that JSON can hold."""
    if depth < 3 and rng.random() < 0.25:
        if rng.random() < 0.5:
            return [a_value(rng, depth + 1) for _ in range(rng.choice((0, 1, 2, 9)))]
        return {a_text(rng): a_value(rng, depth + 1) for _ in range(rng.choice((0, 1, 2, 9)))}
    return rng.choice(
        (
            lambda: a_text(rng),
            lambda: rng.randint(-9, 9),
            lambda: rng.randint(-(10**40), 10**40),
            lambda: rng.uniform(-1, 1) * 10.0 ** rng.randint(-300, 300),
            lambda: rng.choice((True, False, None, 0.1, -0.0, float("inf"), float("nan"), "", "None", "'", "\"'")),
            lambda: "x" * rng.choice((100, 499, 998, 999, 1_000, 1_023, 1_024, 2_000)),
        )
    )()


def a_text(rng: random.Random) -> str:
    return "".join(rng.choices(CHARACTERS, k=rng.choice((0, 1, 5, 40))))


def test_arguments_are_shown_as_celery_shows_them_or_left_to_it() -> None:
    rng = random.Random(7)
    shown = 0
    for _ in range(4_000):
        args = tuple(a_value(rng) for _ in range(rng.choice((0, 1, 1, 2, 3, 20))))
        kwargs = {a_text(rng): a_value(rng) for _ in range(rng.choice((0, 1, 1, 2, 3, 20)))}
        for arguments in (args, kwargs):
            # Both of Celery's: what `apply_async` asks for, and what the releases before 5.7 have it be.
            told = sender._shown(arguments)
            assert told in (None, saferepr(arguments, the_app().amqp.argsrepr_maxsize))
            shown += told is not None
    assert shown > 2_000


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        ((1, "x", None, True, -0.5), {"a": "é'\""}),
        (([1, [2]],), {"a": {"b": 1}}),
        (("x" * 5_000,), {"a": "y" * 5_000}),
    ],
    ids=["none", "plain", "nested", "long"],
)
def test_in_the_message_they_are_shown_as_celery_shows_them(args: Any, kwargs: Any) -> None:
    tasks.echo.enqueue(*args, **kwargs)
    tasks.echo.celery.apply_async(args, kwargs)
    ours, celerys = messages("default")
    for name in ("argsrepr", "kwargsrepr"):
        assert ours.headers[name] == celerys.headers[name]
