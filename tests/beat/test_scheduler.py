"""The scheduler, driven by hand: what it sends, when it looks again, and what cannot stop it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import beat as celery_beat
from celery import signals
from django.db import DataError, connection
from django.db import OperationalError as DatabaseAway
from django.test import override_settings
from django_celery_beat.models import ClockedSchedule, PeriodicTask, PeriodicTasks
from kombu.exceptions import OperationalError

from tasks_celery.beat import scheduler, sending, ticks
from tasks_celery.beat.models import Tick
from tasks_celery.beat.scheduler import DatabaseScheduler
from tasks_celery.stores import Attempt
from tests.beat.schedules import ADD, a_beat, a_crontab, ago, an_interval, clock, read, turn
from tests.shop import tasks  # noqa: F401  they are known
from tests.shop.brokers import a_broker_that_raises, messages
from tests.shop.running import configured, empty_the_broker, the_app, the_store

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def an_empty_broker() -> Iterator[None]:
    empty_the_broker()
    yield
    empty_the_broker()


@pytest.fixture(autouse=True)
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level("INFO", "tasks_celery")
    return caplog


@pytest.fixture(autouse=True)
def a_clock_that_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    clock.moment = datetime.now(UTC)
    monkeypatch.setattr(scheduler, "now", clock)


def looks_anew(beat: Any) -> Any:
    """Let a beat look for changes and for abandoned ticks now, and not in two seconds."""
    beat._looked_at = float("-inf")
    return beat


def later(seconds: float) -> None:
    clock.moment += timedelta(seconds=seconds)


def ids() -> list[str]:
    return [message.headers["id"] for message in messages()]


# --- ticks that are due


def test_a_tick_that_is_due_is_sent_once_whichever_of_two_beats_looks() -> None:
    an_interval()
    one, other = a_beat(), a_beat()
    turn(one)
    turn(other)
    (tick,) = Tick.objects.all()
    assert ids() == [tick.result_id]
    assert (tick.outcome, tick.taken_until) == (Tick.SENT, None)


def test_a_beat_that_another_was_faster_than_sends_nothing_and_looks_again() -> None:
    row = an_interval(seconds=1, ran=1.5)
    slow, fast = a_beat(), a_beat()
    slow._read(clock())
    turn(fast)
    slow._look_at(row.pk)
    assert len(ids()) == Tick.objects.count() == 1
    _, moment = slow._times.first() or (None, datetime.max.replace(tzinfo=UTC))
    assert moment - clock() < timedelta(seconds=1)


def test_after_a_stall_within_grace_no_tick_is_lost() -> None:
    an_interval(seconds=1, ran=5.5)
    turn(a_beat())
    assert len(ids()) == 5


def test_a_tick_is_looked_for_at_its_moment_and_not_before() -> None:
    an_interval(seconds=60, ran=59.5)
    wait = turn(a_beat())
    assert ids() == []
    assert wait == pytest.approx(0.5)


def test_a_beat_without_anything_to_do_looks_again_in_two_seconds() -> None:
    assert 0.1 < turn(a_beat()) <= scheduler.LOOK_EVERY


def test_no_beat_sleeps_for_longer_than_it_is_told() -> None:
    assert turn(a_beat(max_interval=0.5)) <= 0.5


def test_without_being_told_a_beat_has_the_interval_of_django_celery_beat() -> None:
    assert a_beat().max_interval == 5


def test_a_crontab_that_was_due_hours_ago_is_caught_up_with() -> None:
    hour = ago(7 * 3600).hour
    a_crontab(hour=str(hour))
    PeriodicTask.objects.update(date_changed=ago(86_400))
    turn(a_beat())
    assert len(ids()) == 1


def test_a_missed_tick_is_left_out_and_said_where_its_schedule_says_so(said: pytest.LogCaptureFixture) -> None:
    an_interval(ran=3600, seconds=1800, options={"catch_up": "skip"})
    turn(a_beat())
    assert Tick.objects.filter(outcome=Tick.MISSED).exists()
    assert "Schedule Adding: the tick of" in said.text
    assert "was missed" in said.text


def test_a_schedule_that_is_over_is_disabled_and_sends_nothing(said: pytest.LogCaptureFixture) -> None:
    row = an_interval(expires=ago(1))
    turn(a_beat())
    assert (read(row).enabled, ids()) == (False, [])
    assert "Schedule Adding: it is over" in said.text


def test_a_clocked_row_is_sent_once_and_disabled() -> None:
    row = an_interval(one_off=True)
    PeriodicTask.objects.update(
        interval=None, last_run_at=None, clocked=ClockedSchedule.objects.create(clocked_time=ago(1))
    )
    beat = a_beat()
    turn(beat)
    turn(looks_anew(beat))
    assert (len(ids()), read(row).enabled) == (1, False)


def test_no_transaction_is_open_while_a_message_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    an_interval()
    before, seen = len(connection.savepoint_ids), []
    send = sending.send

    def note(*args: Any, **kwargs: Any) -> sending.Verdict:
        seen.append(len(connection.savepoint_ids))
        return send(*args, **kwargs)

    monkeypatch.setattr(sending, "send", note)
    turn(a_beat())
    assert seen == [before]


# --- rows that change


def test_a_row_that_was_made_or_changed_since_is_noticed() -> None:
    beat = a_beat()
    turn(beat)
    an_interval()
    turn(looks_anew(beat))
    assert len(ids()) == 1


def test_a_change_is_noticed_by_whichever_clock_it_was_noted() -> None:
    beat = a_beat()
    PeriodicTasks.update_changed()
    turn(beat)
    an_interval()
    PeriodicTasks.objects.update(last_update=ago(3600))
    turn(looks_anew(beat))
    assert len(ids()) == 1


def test_a_row_that_was_written_without_a_word_is_noticed_after_a_while() -> None:
    row = an_interval(ran=0)
    beat = a_beat()
    turn(beat)
    PeriodicTask.objects.filter(pk=row.pk).update(last_run_at=ago(61))
    turn(looks_anew(beat))
    assert ids() == []
    beat._read_at -= scheduler.READ_EVERY
    turn(looks_anew(beat))
    assert len(ids()) == 1


def test_a_row_is_sent_as_it_is_at_its_tick() -> None:
    row = an_interval()
    beat = a_beat()
    beat._read(clock())
    PeriodicTask.objects.filter(pk=row.pk).update(args="[5, 6]")
    beat._look_at(row.pk)
    (message,) = messages()
    assert message.payload[0] == [5, 6]


@pytest.mark.parametrize("change", [{"enabled": False}, None])
def test_a_row_that_was_disabled_or_removed_since_is_not_sent(change: dict[str, Any] | None) -> None:
    row = an_interval()
    beat = a_beat()
    beat._read(clock())
    found = PeriodicTask.objects.filter(pk=row.pk)
    found.update(**change) if change else found.delete()
    beat._look_at(row.pk)
    assert (ids(), beat._times.first()) == ([], None)


# --- rows that cannot tick


@pytest.mark.parametrize("broken", [{"args": "[1,"}, {"kwargs": "[]"}, {"interval": None}])
def test_a_row_that_cannot_be_read_hurts_only_itself_until_it_is_mended(
    broken: dict[str, Any], said: pytest.LogCaptureFixture
) -> None:
    row = an_interval()
    an_interval(name="Other")
    whole = PeriodicTask.objects.filter(pk=row.pk).values(*broken).get()
    PeriodicTask.objects.filter(pk=row.pk).update(**broken)
    beat = a_beat()
    turn(beat)
    PeriodicTasks.update_changed()
    turn(looks_anew(beat))
    assert [tick.periodic_task.name for tick in Tick.objects.all()] == ["Other"]
    assert said.text.count("Schedule Adding does not tick until it is mended") == 1
    assert read(row).enabled
    PeriodicTask.objects.filter(pk=row.pk).update(**whole)
    PeriodicTasks.update_changed()
    turn(looks_anew(beat))
    assert Tick.objects.filter(periodic_task=row.pk).exists()


def test_times_that_cannot_be_reckoned_are_tried_again_and_stop_no_other(
    monkeypatch: pytest.MonkeyPatch, said: pytest.LogCaptureFixture
) -> None:
    an_interval()
    an_interval(name="Other")
    plan = scheduler.plan

    def fail_of_one(facts: Any, now: datetime, **options: Any) -> Any:
        if facts.expire_seconds:
            raise ArithmeticError("no sunrise")
        return plan(facts, now, **options)

    PeriodicTask.objects.filter(name="Adding").update(expire_seconds=5)
    monkeypatch.setattr(scheduler, "plan", fail_of_one)
    turn(a_beat())
    assert [tick.periodic_task.name for tick in Tick.objects.all()] == ["Other"]
    assert "Schedule Adding: its next tick cannot be reckoned" in said.text


def test_a_tick_that_cannot_be_written_stops_no_other(
    monkeypatch: pytest.MonkeyPatch, said: pytest.LogCaptureFixture
) -> None:
    first = an_interval(ran=70)
    an_interval(name="Other")
    take = ticks.take

    def fail_of_one(row: Any, *args: Any, **kwargs: Any) -> Tick | None:
        if row.pk == first.pk:
            raise DataError("too long")
        return take(row, *args, **kwargs)

    monkeypatch.setattr(ticks, "take", fail_of_one)
    turn(a_beat())
    assert [tick.periodic_task.name for tick in Tick.objects.all()] == ["Other"]
    assert "Schedule Adding: its tick cannot be written" in said.text


def test_a_tick_that_can_never_be_sent_is_refused_and_said(said: pytest.LogCaptureFixture) -> None:
    an_interval(args="[1, 2, 3]")
    turn(a_beat())
    tick = Tick.objects.get()
    assert (tick.outcome, tick.taken_until) == (Tick.REFUSED, None)
    assert "too many positional arguments" in tick.reason
    (record,) = [each for each in said.records if each.levelname == "ERROR"]
    assert tick.reason in record.getMessage()


def test_a_tick_that_is_skipped_is_said(said: pytest.LogCaptureFixture) -> None:
    an_interval(seconds=1, ran=2.5, options={"skip_while_active": True})
    turn(a_beat())
    assert [tick.outcome for tick in Tick.objects.order_by("at")] == [Tick.SENT, Tick.SKIPPED]
    (record,) = [each for each in said.records if "skipped" in each.getMessage()]
    assert (record.levelname, record.getMessage().startswith("Schedule Adding: ")) == ("INFO", True)


# --- beats that die, brokers that are away


class Killed(BaseException):
    """What ends a beat in the middle."""


def die_before_sending(monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*args: Any, **kwargs: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(sending, "send", die)
        with pytest.raises(Killed):
            turn(a_beat())


def test_what_a_beat_took_and_did_not_send_another_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    an_interval()
    die_before_sending(monkeypatch)
    tick = Tick.objects.get()
    assert (tick.outcome, ids()) == (Tick.TAKEN, [])
    later(10)
    turn(a_beat())
    assert ids() == [tick.result_id]
    assert Tick.objects.get().outcome == Tick.SENT


def test_what_a_beat_has_just_taken_no_other_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    an_interval()
    die_before_sending(monkeypatch)
    later(9.9)
    turn(a_beat())
    assert ids() == []


def test_what_a_beat_sent_and_could_not_note_is_sent_under_the_same_id(monkeypatch: pytest.MonkeyPatch) -> None:
    an_interval()

    def die(*args: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(ticks, "finish", die)
        with pytest.raises(Killed):
            turn(a_beat())
    later(10)
    turn(a_beat())
    first, second = ids()
    assert first == second == Tick.objects.get().result_id


def test_a_beat_that_was_frozen_over_a_tick_leaves_it_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    an_interval()
    take = ticks.take

    def freeze(*args: Any, **kwargs: Any) -> Tick | None:
        tick = take(*args, **kwargs)
        later(10)
        return tick

    beat = a_beat()
    beat._read(clock())
    with monkeypatch.context() as patch:
        patch.setattr(ticks, "take", freeze)
        beat.tick()
    assert (ids(), Tick.objects.get().outcome) == ([], Tick.TAKEN)
    turn(a_beat())
    assert ids() == [Tick.objects.get().result_id]


def test_what_a_beat_sent_and_has_begun_since_is_only_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    an_interval()
    beat = a_beat()
    with monkeypatch.context() as patch:
        patch.setattr(ticks, "finish", lambda *args: False)
        turn(beat)
    (first,) = ids()
    the_store().claim(the_store().get(first), Attempt(token="a", worker_id="b", at=clock()), lifetime=60)
    later(10)
    turn(looks_anew(beat))
    assert (ids(), Tick.objects.get().outcome) == ([], Tick.SENT)


def test_the_tick_of_a_schedule_that_was_disabled_since_is_still_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    an_interval()
    die_before_sending(monkeypatch)
    PeriodicTask.objects.update(enabled=False)
    later(10)
    turn(a_beat())
    assert len(ids()) == 1


def test_a_tick_that_the_broker_did_not_take_is_tried_again(said: pytest.LogCaptureFixture) -> None:
    an_interval()
    beat = a_beat()
    with a_broker_that_raises(OperationalError("refused")):
        turn(beat)
    tick = Tick.objects.get()
    assert tick.outcome == Tick.TAKEN
    assert tick.taken_until == clock() + timedelta(seconds=2)
    assert "is sent later" in said.text
    later(2)
    turn(looks_anew(beat))
    assert ids() == [tick.result_id]


def test_of_what_could_not_be_sent_for_long_the_newest_goes_and_the_others_are_missed(
    said: pytest.LogCaptureFixture,
) -> None:
    an_interval(seconds=10, ran=31)
    beat = a_beat()
    with a_broker_that_raises(OperationalError("refused")):
        turn(beat)
    assert Tick.objects.filter(outcome=Tick.TAKEN).count() == 3
    newest = Tick.objects.order_by("-at").first()
    Tick.objects.update(taken_until=ago(0))
    beat._options = scheduler.schedule_settings().__class__(grace=0.1, retake=0.1)
    turn(looks_anew(beat))
    assert newest is not None
    assert ids() == [newest.result_id]
    assert Tick.objects.filter(outcome=Tick.MISSED, reason__contains="nobody could send it").count() == 2
    assert said.text.count("was missed: nobody could send it") == 2


def test_a_broker_that_took_long_to_refuse_holds_up_the_others_once(monkeypatch: pytest.MonkeyPatch) -> None:
    an_interval()
    an_interval(name="Other")
    monkeypatch.setattr(scheduler, "SLOW", -1.0)
    with a_broker_that_raises(OperationalError("silent")) as tried:
        turn(a_beat())
        assert len(tried) == 1
    assert list(Tick.objects.values_list("outcome", flat=True)) == [Tick.TAKEN] * 2


# --- the database


class Away:
    """A database that does not answer while it is told so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_away, self.closed = False, 0
        for name in ("rows", "last_change", "take", "abandoned"):
            monkeypatch.setattr(ticks, name, self._asked(getattr(ticks, name)))
        monkeypatch.setattr(scheduler.connections, "close_all", self._close)

    def _asked(self, ask: Any) -> Any:
        def answer(*args: Any, **kwargs: Any) -> Any:
            if self.is_away:
                raise DatabaseAway("gone")
            return ask(*args, **kwargs)

        return answer

    def _close(self) -> None:
        self.closed += 1


def test_a_beat_outlives_its_database_says_so_once_and_loses_no_tick(
    monkeypatch: pytest.MonkeyPatch, said: pytest.LogCaptureFixture
) -> None:
    an_interval(seconds=1, ran=0.5)
    beat, database = a_beat(), Away(monkeypatch)
    turn(beat)
    database.is_away = True
    later(3)
    waits = [looks_anew(beat).tick() for _ in range(4)]
    assert waits[0] < 0.1  # a connection that broke is tried anew at once
    assert waits[1:] == [scheduler.AWAY] * 3
    assert (said.text.count("the database cannot be used"), database.closed) == (1, 4)
    database.is_away = False
    turn(beat)
    assert len(ids()) == 3
    assert "the database is back" in said.text


def test_a_beat_starts_while_its_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    database = Away(monkeypatch)
    database.is_away = True
    schedule = {"From the settings": {"task": ADD, "schedule": 60.0, "args": (1,)}}
    with configured(the_app(), beat_schedule=schedule):
        beat = DatabaseScheduler(app=the_app())
        assert not PeriodicTask.objects.exists()
        database.is_away = False
        turn(beat)
    assert PeriodicTask.objects.filter(name="From the settings").exists()


# --- what Celery goes by


def test_what_the_settings_schedule_becomes_rows_and_is_left_alone_at_the_next_start() -> None:
    schedule = {
        "From the settings": {"task": ADD, "schedule": 60.0, "kwargs": {"a": 1}, "options": {"queue": "reports"}}
    }
    with configured(the_app(), beat_schedule=schedule):
        DatabaseScheduler(app=the_app())
        found = PeriodicTask.objects.filter(name="From the settings")
        before = found.values().get()
        DatabaseScheduler(app=the_app())
        assert found.values().get() == before
        found.update(queue="default")
        DatabaseScheduler(app=the_app())
        assert found.get().queue == "reports"
    assert PeriodicTask.objects.filter(name="celery.backend_cleanup").exists()


def test_a_row_that_cannot_be_read_does_not_keep_a_beat_from_starting() -> None:
    row = an_interval()
    PeriodicTask.objects.update(interval=None)
    an_interval(name="Other")
    beat = DatabaseScheduler(app=the_app())
    assert "Other" in beat.schedule
    assert "Adding" not in beat.schedule
    assert PeriodicTask.objects.get(pk=row.pk).enabled


def test_a_beat_that_looks_at_the_schedule_changes_no_row() -> None:
    an_interval(args="[1,")
    before = PeriodicTask.objects.values().get()
    beat = a_beat()
    assert beat.schedule == {}
    beat.sync()
    beat.close()
    assert PeriodicTask.objects.values().get() == before


def test_the_service_of_celery_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    an_interval()
    service = celery_beat.Service(the_app(), scheduler_cls="tasks_celery.beat.scheduler:DatabaseScheduler")

    def stop(seconds: float) -> None:
        service.stop()

    monkeypatch.setattr("celery.beat.time.sleep", stop)
    monkeypatch.setattr(signals.beat_init, "receivers", [])  # who begin threads that outlive the test
    service.start()
    assert len(ids()) == 1


def test_the_banner_of_a_beat_reads_no_row(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        lazy = celery_beat.Service(the_app(), scheduler_cls="tasks_celery.beat.scheduler:DatabaseScheduler")
        assert lazy.get_scheduler(lazy=True).info == ""


def test_old_ticks_are_removed_by_and_by() -> None:
    an_interval(seconds=1, ran=6.5)
    with override_settings(TASK_SCHEDULES={"KEEP": 2}):
        beat = a_beat()
    turn(beat, times=40)
    assert Tick.objects.count() == 6
    beat._tidied_at = float("-inf")
    turn(beat)
    assert Tick.objects.count() == 2


def test_what_is_sent_is_said_with_the_id_of_its_task(said: pytest.LogCaptureFixture) -> None:
    an_interval()
    turn(a_beat())
    assert f"Schedule Adding: sent {ADD}, id={Tick.objects.get().result_id}" in said.text
    assert logging.getLogger("tasks_celery").name in {record.name for record in said.records}
