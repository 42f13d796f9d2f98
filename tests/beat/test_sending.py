"""How a tick becomes a task: what is refused, what is tried again, and what its message and its result say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery.exceptions import QueueNotFound
from django.contrib.auth.models import Group, User
from django.db import OperationalError as DatabaseAway
from django_celery_beat.models import PeriodicTask
from kombu.exceptions import OperationalError

from tasks_celery import task
from tasks_celery.beat import sending, ticks
from tasks_celery.beat.models import ScheduleOptions, Tick
from tasks_celery.beat.planning import Due
from tasks_celery.compat import task_backends
from tasks_celery.exceptions import EnqueueError, ScheduleError, StoreError
from tasks_celery.message import read_facts
from tasks_celery.stores import Attempt, Error, Outcome
from tests.beat.schedules import ADD, an_interval, read
from tests.shop import tasks  # noqa: F401  they are known
from tests.shop.brokers import a_broker_that_raises, messages
from tests.shop.running import a_foreign_task, empty_the_broker, the_app, the_store

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def an_empty_broker() -> Iterator[None]:
    empty_the_broker()
    yield
    empty_the_broker()


def only_one() -> None:
    """What a test makes a task of."""


def a_tick(row: Any, at: datetime = NOON) -> Tick:
    tick = ticks.take(read(row), Due(at=at, last_run_at=at), until=datetime.now(UTC) + timedelta(seconds=10))
    assert tick is not None
    return tick


def sent(row: Any, tick: Tick | None = None, **options: Any) -> sending.Verdict:
    return sending.send(tick or a_tick(row), read(row), the_app(), **options)


def a_store_that_is_away(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise StoreError("the store is away")

    for name in names:
        monkeypatch.setattr(type(the_store()), name, fail)


# --- what a row says


@pytest.mark.parametrize("name", ["args", "kwargs", "headers"])
@pytest.mark.parametrize("text", ["[1,", '"text"', "7", "null", '{"__type__": "datetime", "__value__": "noon"}'])
def test_what_cannot_be_read_is_refused_by_the_name_of_its_field(name: str, text: str) -> None:
    with pytest.raises(ScheduleError, match=f"its {name} "):
        sending.call_of(an_interval(**{name: text}))


def test_an_empty_row_calls_its_task_with_nothing() -> None:
    call = sending.call_of(an_interval(args="", kwargs="", headers="{}"))
    assert (call.args, call.kwargs) == ([], {})
    assert call.headers == {"periodic_task_name": "Adding", "celery_beat_task": True}


def test_a_row_cannot_pass_for_another_schedule() -> None:
    call = sending.call_of(an_interval(headers='{"periodic_task_name": "Other", "more": "kept"}'))
    assert (call.headers["periodic_task_name"], call.headers["more"]) == ("Adding", "kept")


# --- refused


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"args": "[1, 2, 3]"}, "too many positional arguments"),
        ({"args": "[]"}, "missing a required argument"),
        ({"kwargs": '{"c": 1}'}, "'c'"),
        ({"queue": "nobody's"}, "nobody's"),
        ({"args": '[{"__type__": "decimal", "__value__": "1"}]'}, ""),
        ({"options": {"priority": 101}}, "101|[Pp]riority"),
    ],
)
def test_what_can_never_be_sent_is_refused_and_leaves_nothing(fields: dict[str, Any], says: str) -> None:
    row = an_interval(**fields)
    tick = a_tick(row)
    verdict = sent(row, tick)
    assert verdict.outcome == "refused"
    assert "\n" not in verdict.reason
    assert re.search(says, verdict.reason)
    assert (messages(), the_store().get(tick.result_id)) == ([], None)


# --- tried again


def test_a_broker_that_is_away_is_tried_again() -> None:
    row = an_interval()
    with a_broker_that_raises(OperationalError("refused")):
        verdict = sent(row)
    assert (verdict.outcome, type(verdict.error)) == ("later", EnqueueError)
    assert "refused" in verdict.reason


def test_a_store_that_is_away_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    a_store_that_is_away(monkeypatch, "create")
    assert sent(an_interval()).outcome == "later"


def test_a_store_that_cannot_tell_of_the_first_try_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    a_store_that_is_away(monkeypatch, "get")
    assert sent(an_interval(), again=True).outcome == "later"
    assert messages() == []


def test_a_database_that_is_away_is_the_beats_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(tick: Tick) -> None:
        raise DatabaseAway("gone")

    monkeypatch.setattr(ticks, "last_sent", fail)
    with pytest.raises(DatabaseAway):
        sent(an_interval(options={"skip_while_active": True}))


# --- what is sent


def test_the_message_and_the_result_say_which_schedule_it_was() -> None:
    row = an_interval(kwargs='{"b": 5}', args="[1]", headers='{"more": "kept"}')
    tick = a_tick(row)
    assert sent(row, tick).outcome == "sent"
    (message,) = messages()
    assert (message.headers["id"], message.headers["task"], message.payload[:2]) == (
        tick.result_id,
        ADD,
        [[1], {"b": 5}],
    )
    assert [message.headers[name] for name in ("periodic_task_name", "celery_beat_task", "more")] == [
        "Adding",
        True,
        "kept",
    ]
    result = task_backends["default"].get_result(tick.result_id)
    assert (result.status, result.args, result.periodic_task_name) == ("READY", [1], "Adding")


def test_a_row_says_queue_priority_and_expiry() -> None:
    row = an_interval(queue="reports", expire_seconds=60, options={"priority": 100})
    tick = a_tick(row)
    sent(row, tick)
    (message,) = messages("reports")
    record = the_store().get(tick.result_id)
    assert (record.queue_name, record.priority, message.properties["priority"]) == ("reports", 100, 0)
    assert timedelta(seconds=55) < record.expires - datetime.now(UTC) <= timedelta(seconds=60)


def test_a_row_that_says_nothing_leaves_it_to_the_task() -> None:
    row = an_interval(task="tests.shop.tasks.urgent", args="[]")
    tick = a_tick(row)
    sent(row, tick)
    record = the_store().get(tick.result_id)
    assert (record.queue_name, record.priority, record.expires) == ("reports", 50, None)


def test_the_brokers_own_number_goes_before_djangos_priority() -> None:
    row = an_interval(priority=7, options={"priority": 100})
    sent(row)
    (message,) = messages()
    assert message.properties["priority"] == 7


def test_an_exchange_and_a_routing_key_go_before_the_queue() -> None:
    row = an_interval(exchange="reports", routing_key="reports")
    sent(row)
    assert messages("default") == []
    (message,) = messages("reports")
    assert message.delivery_info["routing_key"] == "reports"


def context_of(row: Any) -> dict[str, str]:
    tick = a_tick(row)
    sent(row, tick)
    (message,) = messages()
    context = dict(the_store().get(tick.result_id).context)
    assert read_facts(message.headers)["context"] == context
    context.pop("language", None)
    return context


def test_nobody_is_told_unless_the_schedule_says_whom() -> None:
    assert context_of(an_interval()) == {}


def test_the_user_that_a_schedule_names_is_told() -> None:
    user = User.objects.create(username="ann")
    assert context_of(an_interval(options={"notify_user": user})) == {"user": str(user.pk)}


def test_the_group_that_a_schedule_names_is_told() -> None:
    group = Group.objects.create(name="staff")
    assert context_of(an_interval(options={"notify_group": group})) == {"group": "staff"}


@pytest.mark.parametrize("known", [True, False])
def test_a_task_that_is_no_django_task_is_sent_as_ever_under_the_id_of_its_tick(known: bool, registry: None) -> None:
    if known:
        a_foreign_task(the_app(), "foreign.known")
    row = an_interval(
        task=f"foreign.{'known' if known else 'unknown'}", args="[]", expire_seconds=60, queue="reports", priority=3
    )
    tick = a_tick(row)
    assert sent(row, tick).outcome == "sent"
    (message,) = messages("reports")
    assert (message.headers["id"], message.headers["task"]) == (tick.result_id, row.task)
    assert (message.headers["periodic_task_name"], message.properties["priority"]) == ("Adding", 3)
    assert message.headers["expires"] is not None
    the_app()._tasks.pop("foreign.known", None)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (OperationalError("away"), "later"),
        (ConnectionError("away"), "later"),
        (RuntimeError("who knows"), "later"),
        (QueueNotFound("no such queue"), "refused"),
        (TypeError("takes no arguments"), "refused"),
    ],
)
def test_what_celery_raises_of_such_a_task_is_told_apart(
    error: Exception, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(the_app(), "send_task", fail)
    assert sent(an_interval(task="foreign.unknown")).outcome == outcome


# --- a second time


def test_a_tick_whose_message_may_have_left_is_sent_under_the_same_id() -> None:
    row = an_interval()
    tick = a_tick(row)
    first = tick.result_id
    sent(row, tick)
    assert sent(row, tick, again=True).outcome == "sent"
    assert [message.headers["id"] for message in messages()] == [first, first]


@pytest.mark.parametrize("ended", [False, True])
def test_a_tick_whose_task_has_begun_needs_no_message(ended: bool) -> None:
    row = an_interval()
    tick = a_tick(row)
    sent(row, tick)
    messages()
    record = the_store().get(tick.result_id)
    attempt = Attempt(token="one", worker_id="a worker", at=datetime.now(UTC))
    begun = the_store().claim(record, attempt, lifetime=60)
    if ended:
        the_store().settle(
            begun, Outcome(status="SUCCESSFUL", at=datetime.now(UTC), token="two", attempt=1), lifetime=60
        )
    assert sent(row, tick, again=True).outcome == "sent"
    assert messages() == []


def test_a_tick_whose_task_waits_for_its_next_attempt_needs_no_message() -> None:
    row = an_interval()
    sent(row, tick := a_tick(row))
    messages()
    settle(tick, "READY")
    assert the_store().get(tick.result_id).status == "READY"
    assert sent(row, tick, again=True).outcome == "sent"
    assert messages() == []


def test_a_message_that_must_not_run_any_more_is_followed_by_one_of_another_id() -> None:
    """A broker that did not answer may have the message yet: its record is FAILED, so that nobody runs it."""
    row = an_interval()
    tick = a_tick(row)
    first = tick.result_id
    with a_broker_that_raises(TimeoutError("no answer")):
        assert sent(row, tick).outcome == "later"
    assert the_store().get(first).status == "FAILED"
    assert sent(row, tick, again=True).outcome == "sent"
    (message,) = messages()
    assert message.headers["id"] == tick.result_id == Tick.objects.get().result_id != first


def test_a_task_that_was_cancelled_before_it_ran_is_not_sent_again() -> None:
    row = an_interval()
    tick = a_tick(row)
    result = sent(row, tick).result
    messages()
    assert result.cancel()
    assert sent(row, tick, again=True).outcome == "sent"
    assert messages() == []


# --- skipped


def test_a_unique_task_that_has_its_like_is_skipped(registry: None) -> None:
    alone = task(unique=True)(only_one)
    row = an_interval(task=alone.module_path, args="[]")
    first = sent(row)
    second = sent(row, a_tick(row, NOON + timedelta(minutes=1)))
    assert (first.outcome, second.outcome) == ("sent", "skipped")
    assert first.result.id in second.reason
    assert len(messages()) == 1


def waiting_row(**options: Any) -> Any:
    return an_interval(options={"skip_while_active": True} | options)


def settle(tick: Tick, status: Any) -> None:
    store, record = the_store(), the_store().get(tick.result_id)
    begun = store.claim(record, Attempt(token=f"a{tick.pk}", worker_id="a worker", at=datetime.now(UTC)), lifetime=60)
    if status != "RUNNING":
        error = Error(exception_class_path="builtins.ValueError", traceback="") if status == "FAILED" else None
        outcome = Outcome(status=status, at=datetime.now(UTC), token=f"b{tick.pk}", attempt=1, error=error)
        store.settle(begun, outcome, lifetime=60)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [("READY", "skipped"), ("RUNNING", "skipped"), ("SUCCESSFUL", "sent"), ("FAILED", "sent"), ("gone", "sent")],
)
@pytest.mark.parametrize("noted", ["sent", "taken"])
def test_a_tick_waits_for_the_last_run_where_its_schedule_says_so(status: str, outcome: str, noted: str) -> None:
    row = waiting_row()
    first = a_tick(row)
    sent(row, first)
    if noted == "sent":
        ticks.finish(first, Tick.SENT)
    if status == "gone":
        the_store().discard(first.result_id)
    elif status != "READY":
        settle(first, status)
    verdict = sent(row, a_tick(row, NOON + timedelta(minutes=1)))
    assert verdict.outcome == outcome
    assert (first.result_id in verdict.reason) is (outcome == "skipped")


def test_a_tick_waits_for_the_newest_run_past_those_that_sent_nothing() -> None:
    row = waiting_row()
    first, second = a_tick(row), a_tick(row, NOON + timedelta(minutes=1))
    sent(row, first)
    ticks.finish(first, Tick.SENT)
    ticks.finish(second, Tick.SKIPPED)
    assert sent(row, a_tick(row, NOON + timedelta(minutes=2))).outcome == "skipped"


def test_a_schedule_that_does_not_wait_sends_beside_its_last_run() -> None:
    row = waiting_row(skip_while_active=False)
    ticks.finish(first := a_tick(row), Tick.SENT)
    sent(row, first)
    assert sent(row, a_tick(row, NOON + timedelta(minutes=1))).outcome == "sent"


def test_where_nobody_can_tell_of_the_last_run_the_tick_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    row = waiting_row()
    sent(row, first := a_tick(row))
    ticks.finish(first, Tick.SENT)
    a_store_that_is_away(monkeypatch, "get")
    assert sent(row, a_tick(row, NOON + timedelta(minutes=1))).outcome == "later"


# --- by hand


def test_a_run_by_hand_is_sent_now_and_leaves_the_schedule_as_it_is() -> None:
    row = an_interval(enabled=False)
    before = PeriodicTask.objects.values().get()
    result = sending.run_now(row)
    (message,), tick = messages(), Tick.objects.get()
    assert message.headers["id"] == result.id == tick.result_id
    assert (tick.outcome, tick.by_hand, tick.taken_until) == (Tick.SENT, True, None)
    assert PeriodicTask.objects.values().get() == before
    assert result.periodic_task_name == "Adding"


def test_a_run_by_hand_waits_for_no_other() -> None:
    row = waiting_row()
    sending.run_now(row)
    sending.run_now(read(row))
    assert len(messages()) == 2


def test_a_run_by_hand_that_cannot_be_is_refused_and_not_sent_later() -> None:
    row = an_interval(args="[1, 2, 3]")
    with pytest.raises(ScheduleError, match="too many"):
        sending.run_now(row)
    assert (Tick.objects.get().outcome, Tick.objects.get().taken_until) == (Tick.REFUSED, None)


def test_a_run_by_hand_with_a_broker_away_is_said_and_not_sent_later() -> None:
    with a_broker_that_raises(OperationalError("refused")), pytest.raises(EnqueueError, match="refused"):
        sending.run_now(an_interval())
    assert (Tick.objects.get().outcome, Tick.objects.get().taken_until) == (Tick.REFUSED, None)


def test_a_run_by_hand_of_a_queue_that_cannot_be_is_our_own_error() -> None:
    with pytest.raises(ScheduleError, match="Adding"):
        sending.run_now(an_interval(queue="nobody's"))


def test_the_options_of_a_row_without_any_are_the_defaults() -> None:
    options = ticks.options_of(an_interval())
    assert (options.priority, options.catch_up, options.skip_while_active) == (None, ScheduleOptions.ONCE, False)
