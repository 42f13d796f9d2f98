"""Schedules in code: what cannot be is an error where it is written, and what can is noted, and nothing else happens."""

from __future__ import annotations

import types
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasks_celery import task
from tasks_celery.beat import clocked, crontab, declare, every, schedule
from tasks_celery.beat.declare import Declaration, declared, refuse_wrong_call
from tasks_celery.channels import notify
from tasks_celery.channels.notify import _rules
from tasks_celery.compat import API_MODULE
from tasks_celery.exceptions import ScheduleError, TasksCeleryError
from tests.beat import jobs

FIVE = every(minutes=5)
NOON = datetime(2026, 12, 24, 12, tzinfo=UTC)
WITHOUT_TASKS_CELERY = [
    f"{API_MODULE}.backends.immediate.ImmediateBackend",
    f"{API_MODULE}.backends.dummy.DummyBackend",
]


@pytest.fixture(autouse=True)
def _what_is_declared_is_put_back(registry: None) -> Iterator[None]:
    schedules, rules = dict(declare._declared), dict(_rules)
    declare._declared.clear()
    yield
    for known, before in ((declare._declared, schedules), (_rules, rules)):
        known.clear()
        known.update(before)  # type: ignore[arg-type]


def loaded_anew(monkeypatch: pytest.MonkeyPatch, name: str = "plain") -> Any:
    """Return a task whose function is another one at the path of a function of `jobs`."""
    func = types.FunctionType(jobs.plain.__code__, vars(jobs), name, jobs.plain.__defaults__)
    func.__module__ = jobs.__name__
    monkeypatch.setattr(jobs, name, func, raising=False)
    return task(func)


# --- refusals: the decorator ---------------------------------------------------------------------


@pytest.mark.parametrize("decorated", [jobs.plain, "a text", len, type("Class", (), {}), None, jobs.of_celery])
def test_what_is_no_task_is_refused(decorated: Any) -> None:
    with pytest.raises(TypeError, match="it goes above @task of Django or of tasks_celery"):
        schedule(FIVE)(decorated)
    assert declared() == []


def test_a_time_that_was_forgotten_is_refused() -> None:
    with pytest.raises(TypeError):
        schedule()(jobs.count)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="cannot tick at None"):
        schedule(None)(jobs.named)  # type: ignore[arg-type]


def test_two_tasks_with_schedules_of_one_name_are_refused_with_both_named() -> None:
    schedule(FIVE, name="Digest", args=[1])(jobs.count)
    with pytest.raises(ScheduleError) as caught:
        schedule(FIVE, name="Digest")(jobs.named)
    for named in ("tests.beat.jobs.count", "tests.beat.jobs.named", "'Digest'", "name='…'"):
        assert named in str(caught.value)
    assert [found.task for found in declared()] == ["tests.beat.jobs.count"]


@pytest.mark.parametrize("name", [None, "Digest"])
def test_two_schedules_of_one_task_need_names_of_their_own(name: str | None) -> None:
    schedule(FIVE, name=name)(jobs.named)
    with pytest.raises(
        ScheduleError, match=r"tests.beat.jobs.named has two schedules named .*every 5 minutes and every hour"
    ):
        schedule(every(hours=1), name=name)(jobs.named)
    assert [found.when for found in declared()] == [FIVE]


def test_what_is_refused_is_not_noted() -> None:
    with pytest.raises(ScheduleError):
        schedule(FIVE, priority=101)(jobs.named)
    assert declared() == []


# --- refusals: what is declared ------------------------------------------------------------------


@pytest.mark.parametrize("named", [None, 7, jobs.plain, b"tests.beat.jobs.named"])
def test_what_cannot_be_a_task_is_refused(named: Any) -> None:
    with pytest.raises(TypeError, match="give a Django Task, or its name on the wire"):
        declare.declare(named, FIVE)


@pytest.mark.parametrize("named", ["", " ", "x" * 201])
def test_what_cannot_be_the_name_of_a_task_is_refused(named: str) -> None:
    with pytest.raises(ScheduleError, match="The task's name is"):
        declare.declare(named, FIVE)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": ""}, "name is ''"),
        ({"name": 7}, "name is 7"),
        ({"args": "ab"}, "args is 'ab'"),
        ({"kwargs": []}, "kwargs is []"),
        ({"args": [{1}]}, "cannot be sent"),
        ({"queue": 7}, "queue is 7"),
        ({"queue": ""}, "queue is ''"),
        ({"queue": "mail"}, "no queue 'mail'; QUEUES are: default, reports"),
        ({"priority": 101}, "priority is 101"),
        ({"expires": 0}, "expires is 0"),
        ({"start_time": "2026-12-24"}, "start_time is '2026-12-24'"),
        ({"start_time": datetime.max.replace(tzinfo=UTC).date()}, "start_time is"),
        ({"one_off": 1}, "one_off is 1"),
        ({"description": None}, "description is None"),
        ({"catch_up": "all"}, "catch_up is 'all'; it has to be 'once' "),
        ({"catch_up": None}, "catch_up is None"),
        ({"skip_while_active": None}, "skip_while_active is None"),
        ({"notify_user": 7}, "notify_user (a user, or a username) is 7"),
        ({"notify_group": 7}, "notify_group (a Django group, or its name) is 7"),
        ({"when": "5 minutes"}, "cannot tick at '5 minutes'"),
    ],
)
def test_each_thing_that_cannot_be_is_refused_with_the_schedule_it_is_of(wrong: dict[str, Any], said: str) -> None:
    given = {"name": "Digest", "when": FIVE, **wrong}
    with pytest.raises((ScheduleError, TypeError)) as caught:
        declare.declare(jobs.named, **given)
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"The schedule {given['name']!r} of shop.named: ")
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("args", "kwargs", "why"),
    [
        ([], {}, "missing a required argument: 'amount'"),
        ([1, "red", 3], {}, "too many positional arguments"),
        ([1], {"amount": 2}, "multiple values for argument 'amount'"),
        ([1], {"color": "red"}, "unexpected keyword argument 'color'"),
    ],
)
@pytest.mark.parametrize("known", [jobs.count, "tests.beat.jobs.count"])
def test_arguments_that_do_not_fit_are_refused_with_the_signature(
    known: Any, args: list[Any], kwargs: dict[str, Any], why: str
) -> None:
    with pytest.raises(ScheduleError) as caught:
        declare.declare(known, FIVE, args=args, kwargs=kwargs)
    assert why in str(caught.value)
    assert "it takes (amount: int, colour: str = 'red')" in str(caught.value)


def test_the_context_that_a_worker_adds_is_no_argument() -> None:
    assert declare.declare(jobs.with_context, FIVE, args=[1]).args == [1]
    with pytest.raises(ScheduleError, match="too many positional"):
        declare.declare(jobs.with_context, FIVE, args=["context", 1])


def test_a_call_of_an_alias_is_held_to_the_task() -> None:
    assert declare.declare("shop.of-old", FIVE).task == "shop.of-old"
    with pytest.raises(ScheduleError, match="too many positional"):
        declare.declare("shop.of-old", FIVE, args=[1])


@pytest.mark.parametrize(
    "given",
    [
        {"when": clocked(NOON), "expires": NOON},
        {"when": clocked(NOON), "expires": NOON - timedelta(days=1)},
        {"when": clocked(NOON), "start_time": NOON + timedelta(seconds=1)},
        {"when": FIVE, "start_time": NOON, "expires": NOON},
        {"when": FIVE, "start_time": NOON, "expires": NOON - timedelta(days=1)},
    ],
)
def test_a_schedule_that_is_over_before_it_begins_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ScheduleError, match=r"give a later moment|leave it out"):
        declare.declare(jobs.named, **given)


@pytest.mark.parametrize(
    "changed",
    [
        jobs.named.using(queue_name="default"),
        jobs.named.using(priority=5),
        jobs.named.using(expires=60),
        jobs.named.using(run_after=timedelta(hours=1)),
    ],
)
def test_a_task_that_using_changed_is_refused_for_beat_would_not_know(changed: Any) -> None:
    with pytest.raises(ScheduleError, match=r"changed by using.*queue=, priority= or expires="):
        schedule(FIVE)(changed)


def test_a_priority_is_refused_where_the_broker_has_no_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs.named.get_backend(), "supports_priority", False, raising=False)
    with pytest.raises(ScheduleError, match="does not support setting priority"):
        declare.declare(jobs.named, FIVE, priority=5)


def test_a_refusal_is_one_of_ours_and_a_value_error() -> None:
    with pytest.raises(ScheduleError) as caught:
        declare.declare(jobs.named, FIVE, args=[1])
    assert isinstance(caught.value, TasksCeleryError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("args", "kwargs", "why"),
    [
        ([1, 2, 3], {}, r"do not fit tests.beat.jobs.count: too many positional arguments; it takes \(amount"),
        ([object()], {}, "cannot be sent"),
        ([], {"amount": {"__type__": "date", "__value__": "2026-01-01"}}, "cannot be sent"),
    ],
)
def test_a_wrong_call_is_refused_by_itself(args: list[Any], kwargs: dict[str, Any], why: str) -> None:
    with pytest.raises(ScheduleError, match=why):
        refuse_wrong_call(jobs.count, args, kwargs)
    refuse_wrong_call(jobs.count, [1], {"colour": "blue"})


# --- what works ----------------------------------------------------------------------------------


def test_all_that_is_left_out_is_left_to_the_task() -> None:
    assert declare.declare(jobs.named, FIVE) == Declaration(name="shop.named", task="shop.named", when=FIVE)
    assert declare.declare("of.another.project", 300) == Declaration(
        name="of.another.project", task="of.another.project", when=FIVE
    )
    assert declared() == []


def test_all_that_is_given_is_kept_as_a_row_has_it(settings: Any) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    found = declare.declare(
        jobs.count,
        crontab("0 3 * * *"),
        args=(1,),
        kwargs={"colour": "blue"},
        name="Digest",
        queue="reports",
        priority=-100,
        expires=timedelta(minutes=1),
        start_time=datetime(2026, 12, 24, 13),  # noqa: DTZ001
        one_off=True,
        description="For the staff.\nEach night.",
        catch_up="skip",
        skip_while_active=True,
        notify_user="ada",
        notify_group="staff",
    )
    assert found == Declaration(
        name="Digest",
        task="tests.beat.jobs.count",
        when=crontab("0 3 * * *"),
        args=[1],
        kwargs={"colour": "blue"},
        queue="reports",
        priority=-100,
        expires=60,
        start_time=NOON,
        one_off=True,
        description="For the staff.\nEach night.",
        catch_up="skip",
        skip_while_active=True,
        notify_user="ada",
        notify_group="staff",
    )


def test_what_ticks_at_one_moment_is_one_off() -> None:
    assert declare.declare(jobs.named, clocked(NOON), start_time=NOON, expires=NOON + timedelta(days=1)).one_off
    assert not declare.declare(jobs.named, FIVE, expires=NOON).one_off


def test_any_queue_is_taken_where_queues_name_none(settings: Any) -> None:
    settings.TASKS = {"default": {"BACKEND": "tasks_celery.CeleryBackend", "QUEUES": []}}
    assert declare.declare(jobs.named, FIVE, queue="mail").queue == "mail"


def test_the_decorator_gives_the_task_back_and_notes_each_schedule_by_its_name() -> None:
    decorated = schedule(FIVE, name="b")(schedule(crontab("0 3 * * *"), name="a")(jobs.named))
    assert decorated is jobs.named
    assert [(found.name, str(found.when)) for found in declared()] == [
        ("a", "crontab 0 3 * * *"),
        ("b", "every 5 minutes"),
    ]


def test_it_goes_above_notify_and_below_it() -> None:
    assert schedule(FIVE, name="a")(notify("job.done")(jobs.named)) is jobs.named
    assert notify("job.done")(schedule(FIVE, name="b")(jobs.named)) is jobs.named
    assert [found.name for found in declared()] == ["a", "b"]


def test_it_goes_above_the_decorator_of_django() -> None:
    decorate = __import__(API_MODULE, fromlist=["task"]).task
    made = decorate(jobs.plain)
    assert schedule(FIVE)(made) is made
    assert declared() == [Declaration(name="tests.beat.jobs.plain", task="tests.beat.jobs.plain", when=FIVE)]


def test_the_same_schedule_twice_is_one() -> None:
    schedule(FIVE)(schedule(FIVE)(jobs.named))
    assert len(declared()) == 1


@pytest.mark.parametrize("backend", WITHOUT_TASKS_CELERY)
def test_code_that_asks_for_more_than_another_backend_can_do_is_declared_all_the_same(
    settings: Any, backend: str
) -> None:
    settings.TASKS = {"default": {"BACKEND": backend}}
    made = task(jobs.plain)
    assert schedule(FIVE, queue="reports", priority=5, args=[1])(made) is made
    (found,) = declared()
    assert (found.task, found.queue, found.priority) == ("tests.beat.jobs.plain", "reports", 5)
    with pytest.raises(ScheduleError, match="too many positional"):
        schedule(FIVE, name="other", args=[1, 2])(made)


def test_a_module_that_is_loaded_anew_replaces_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    old = task(jobs.plain)
    schedule(FIVE, name="kept")(schedule(FIVE, name="renamed since")(old))
    schedule(FIVE, name="of another")(jobs.named)
    new = loaded_anew(monkeypatch)
    assert new.func is not old.func
    schedule(every(hours=1), name="kept")(schedule(FIVE, name="new")(new))
    assert [(found.name, str(found.when)) for found in declared()] == [
        ("kept", "every hour"),
        ("new", "every 5 minutes"),
        ("of another", "every 5 minutes"),
    ]
