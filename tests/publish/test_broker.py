"""The connections of enqueue: what is set on them, what is left as the project has it, and when trying ends."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery
from kombu.exceptions import OperationalError

from tasks_celery.publish import broker
from tasks_celery.publish.broker import RETRY_POLICY, Unanswered, sending, timed_out
from tests.shop.running import apps_kept

WAITS = {
    "redis": {"socket_timeout": 2.5, "socket_connect_timeout": 2.5},
    "amqp": {"read_timeout": 2.5, "write_timeout": 1.25},
}


@pytest.fixture
def app() -> Iterator[Celery]:
    with apps_kept(), Celery("asked", set_as_current=False, broker=f"memory://{uuid4().hex}") as app:
        yield app


def connection(app: Celery, url: str, within: float, **conf: Any) -> Any:
    app.conf.update(broker_url=url, **conf)
    return broker._connection(app, within)


# --- what is set


@pytest.mark.parametrize("url", ["redis://h:1/0", "rediss://h:1/0?ssl_cert_reqs=none", "amqp://h:1//", "amqps://h:1//"])
def test_each_wait_has_an_end(app: Celery, url: str) -> None:
    made = connection(app, url, 2.5)
    assert made.transport_options.items() >= WAITS[made.transport.driver_type].items()
    assert made.connect_timeout == 2.5
    assert made.transport_options["connect_retries_timeout"] == 2.5


@pytest.mark.parametrize("url", ["redis://h:1/0", "amqp://h:1//"])
def test_what_the_project_has_set_shorter_stays(app: Celery, url: str) -> None:
    theirs = dict.fromkeys([*WAITS["redis"], *WAITS["amqp"], "connect_retries_timeout"], 0.5)
    made = connection(app, url, 2.5, broker_transport_options=theirs, broker_connection_timeout=0.25)
    assert {name: made.transport_options[name] for name in theirs} == theirs
    assert made.connect_timeout == 0.25


@pytest.mark.parametrize("unlimited", [None, 0, 60])
def test_what_the_project_has_set_longer_or_without_limit_is_bounded(app: Celery, unlimited: Any) -> None:
    theirs = {"socket_timeout": unlimited, "socket_connect_timeout": unlimited, "retry_on_timeout": True}
    made = connection(app, "redis://h:1/0", 2.5, broker_transport_options=theirs, broker_connection_timeout=unlimited)
    assert (made.transport_options["socket_timeout"], made.transport_options["socket_connect_timeout"]) == (2.5, 2.5)
    assert made.transport_options["retry_on_timeout"] is False
    assert made.connect_timeout == 2.5


def test_several_brokers_share_the_time(app: Celery) -> None:
    made = connection(app, "redis://a:1/0;redis://b:1/0", 2.5)
    assert made.transport_options["socket_timeout"] == made.connect_timeout == 1.25
    assert made.transport_options["connect_retries_timeout"] == 2.5


def test_what_else_the_project_has_set_is_taken_over(app: Celery) -> None:
    theirs = {"priority_steps": [0, 5], "global_keyprefix": "theirs:"}
    made = connection(app, "redis://h:1/7", 2.5, broker_transport_options=theirs)
    assert {name: made.transport_options[name] for name in theirs} == theirs
    assert made.virtual_host == "7"


def test_nothing_is_set_for_a_transport_that_knows_no_deadline(app: Celery) -> None:
    made = connection(app, "memory://", 2.5)
    assert set(made.transport_options) == {"errback", "connect_retries_timeout"}


def test_the_projects_own_configuration_and_pool_stay_as_they_are(app: Celery) -> None:
    theirs = {"polling_interval": 0.01}
    app.conf.broker_transport_options = theirs
    pool = app.pool
    with sending(app, within=1) as producer:
        assert producer.connection._pool is not pool
        producer.publish("x", routing_key="q", retry=True, retry_policy=dict(RETRY_POLICY))
    assert app.conf.broker_transport_options == theirs == {"polling_interval": 0.01}
    assert app.pool is pool
    assert "errback" not in app.connection_for_write().transport_options


# --- the pool


def test_a_connection_is_used_again(app: Celery) -> None:
    with sending(app, within=1) as producer:
        first = producer.connection
    with sending(app, within=1) as producer:
        assert producer.connection is first


@pytest.mark.parametrize("limit", [None, 0])
def test_a_project_without_a_pool_gets_none(app: Celery, limit: int | None) -> None:
    app.conf.broker_pool_limit = limit
    with sending(app, within=1) as producer:
        first = producer.connection
        first.connect()
    assert not first.connected
    with sending(app, within=1) as producer:
        assert producer.connection is not first


def test_a_pool_that_is_in_use_is_waited_for_as_long_as_the_project_says(app: Celery) -> None:
    app.conf.update(broker_pool_limit=1, broker_pool_acquire_timeout=0.01)
    begun = time.monotonic()
    with sending(app, within=20), pytest.raises(OperationalError, match="all 1 connections"):  # noqa: SIM117
        with sending(app, within=20):
            pass
    assert time.monotonic() - begun < 10


def test_another_process_and_another_timeout_have_pools_of_their_own(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = broker._pool(app, 1)
    assert broker._pool(app, 1) is mine
    assert broker._pool(app, 2) is not mine
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert broker._pool(app, 1) is not mine


def test_the_pools_of_an_app_go_with_it() -> None:
    with apps_kept():
        app = Celery("gone", set_as_current=False, broker="memory://")
        broker._pool(app, 1)
        known = len(broker._pools)
        app.close()
        del app
    gc.collect()
    assert len(broker._pools) < known


def test_a_connection_that_failed_is_not_used_again(app: Celery) -> None:
    used: list[Any] = []

    def fail_half_way(producer: Any) -> None:
        used.append(producer.connection.ensure_connection())
        raise KeyError("half way")

    with pytest.raises(KeyError), sending(app, within=1) as producer:
        fail_half_way(producer)
    assert not used[0].connected


# --- when trying ends


def test_nobody_is_asked_again_when_the_pause_would_be_too_long() -> None:
    token = broker._errand.set(broker._Errand(deadline=time.monotonic() + 5))
    try:
        broker._stop_in_time(ConnectionRefusedError("no"), 1)
        with pytest.raises(ConnectionRefusedError):
            broker._stop_in_time(ConnectionRefusedError("no"), 6)
    finally:
        broker._errand.reset(token)


def test_who_is_on_no_errand_of_ours_is_not_stopped() -> None:
    broker._stop_in_time(ConnectionRefusedError("no"), 1e9)


@pytest.mark.parametrize("how", ["itself", "its cause", "its context"])
def test_an_error_tells_that_no_answer_came(how: str) -> None:
    error: BaseException = OperationalError("x")
    if how == "itself":
        error = TimeoutError("x")
    elif how == "its cause":
        error.__cause__ = TimeoutError("x")
    else:
        error.__context__ = TimeoutError("x")
    assert timed_out(error)
    assert not timed_out(OperationalError("refused"))


def test_a_try_without_an_answer_counts_though_the_last_was_refused(app: Celery) -> None:
    def ask() -> None:
        broker._stop_in_time(TimeoutError("no answer"), 0)
        raise OperationalError("read only")

    with pytest.raises(Unanswered, match="read only") as caught, sending(app, within=1):
        ask()
    assert isinstance(caught.value.__cause__, OperationalError)


def test_what_is_refused_is_raised_as_it_is(app: Celery) -> None:
    error = OperationalError("refused")
    with pytest.raises(OperationalError) as caught, sending(app, within=1):
        raise error
    assert caught.value is error
