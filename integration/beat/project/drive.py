"""Web process. One story of schedules with a real beat and a real worker, told as JSON: ``python -m … STORY``.

Beat is started first, so that what it sends can be seen before a worker takes it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from typing import Any

import django

from example.servers import Child, end_by_exception, stop, wait_until

PROJECT = "integration.beat.project"
TELL, ANNOUNCE, PLAIN = (f"{PROJECT}.tasks.{name}" for name in ("tell", "announce", "plain"))
THREE = "From code", "From a migration", "From the admin"
ENOUGH = 3  # runs of each of the three that a worker was there for
WITHIN = 90.0  # seconds; a crontab needs 60 at most

Told = dict[str, Any]


def main(story: str) -> None:
    end_by_exception()
    django.setup()
    json.dump(tell(STORIES[story]), sys.stdout)


def tell(story: Callable[[Child], Told]) -> Told:
    """Tell of what is in each story: the three ways to make a schedule, and a record before a worker has it."""
    prepare()
    with running("beat", "-S", "django", ready="beat: Starting") as beat:
        told = waiting_for_a_worker(beat) if story is everything else {}
        with running("worker", "-P", "prefork", "-c", "3", ready=" ready.") as worker:
            ready = datetime.now(UTC)
            told |= {"worker ready": ready.timestamp()} | story(beat)
            until(lambda: all(on_time(name, ready) >= ENOUGH for name in THREE), "runs of the three", beat, worker)
    # Now that nothing goes on.
    return told | facts(beat, worker)


@contextmanager
def running(command: str, *options: str, ready: str) -> Iterator[Child]:
    child = Child(
        command,
        [sys.executable, "-m", "celery", "-A", PROJECT, command, "-l", "INFO", *options],
        env=os.environ,
        ready_line=ready,
    )
    try:
        wait_until(child.said_ready.is_set, what=command, watch=[child])
        yield child
    finally:
        stop([child])


def until(condition: Callable[[], bool], what: str, *watch: Child) -> None:
    wait_until(condition, what=what, watch=watch, limit=WITHIN)


# --- before beat runs


def prepare() -> None:
    from django.contrib.auth.models import Group, User
    from django.core.management import call_command
    from django_celery_beat.models import IntervalSchedule

    from integration.beat.project.person import add_schedule, sign_in

    call_command("migrate", verbosity=0)
    call_command("sync_schedules", stdout=sys.stderr)
    User.objects.create_superuser("admin", password="secret")
    User.objects.create_user("ann")
    User.objects.create_user("bob").groups.add(Group.objects.create(name="staff"))
    every_two, _ = IntervalSchedule.objects.get_or_create(every=2, period="seconds")
    add_schedule(
        sign_in("admin", "secret"),
        name="From the admin",
        regtask=TELL,
        interval=str(every_two.pk),
        kwargs='{"said": "in the admin"}',
    )


def missed(name: str, **options: Any) -> None:
    """Make a schedule whose last run was more than three hours ago, of one each hour."""
    from django_celery_beat.models import PeriodicTask

    from tasks_celery.beat import every

    a_schedule(name, every(hours=1), **options)
    ago = datetime.now(UTC) - timedelta(hours=3, minutes=10)
    PeriodicTask.objects.filter(name=name).update(last_run_at=ago, date_changed=ago)


def a_schedule(name: str, when: Any, task: str = TELL, kwargs: Any = None, **options: Any) -> Any:
    from django.apps import apps

    from tasks_celery.beat import schedule_task

    return schedule_task(apps, task, when, name=name, kwargs=kwargs or {"said": name}, **options)


# --- the stories


def waiting_for_a_worker(beat: Child) -> Told:
    """While no worker runs, beat sends: what is there of it is what a web process sees."""
    from tasks_celery.beat import every

    missed("Caught up")
    missed("Left out", catch_up="skip")
    missed("Too late", expires=600)
    a_schedule("Waits", every(seconds=1), one_off=True, queue="reports", priority=-30)
    a_schedule("Expires", every(seconds=1), one_off=True, expires=1)
    until(lambda: bool(ticks("Waits", "sent") and ticks("Expires", "sent")), "what is sent first", beat)
    expired = datetime.now(UTC) + timedelta(seconds=1.5)
    waits = result_of("Waits")
    told = {
        "status": str(waits.status.value),
        "schedule": waits.periodic_task_name,
        "queue": waits.task.queue_name,
        "priority": waits.task.priority,
        "started": waits.started_at is not None,
        "kwargs": waits.kwargs,
    }
    until(lambda: datetime.now(UTC) > expired, "the end of a message's time", beat)
    return {"waiting": told}


def the_three(beat: Child) -> Told:
    return {}


def everything(beat: Child) -> Told:
    """Make a schedule of each kind while beat runs, and wait until each has done what it does."""
    from django.apps import apps
    from django.contrib.auth.models import User
    from django_celery_beat.models import IntervalSchedule, PeriodicTask

    from tasks_celery.beat import clocked, every
    from tasks_celery.beat.rows import mark_changed
    from tasks_celery.beat.sending import run_now

    second = every(seconds=1)
    users = {user.username: str(user.pk) for user in User.objects.all()}
    heard = {name: events_after(key) for name, key in users.items()}
    began = datetime.now(UTC)
    clock, end = began + timedelta(seconds=6), began + timedelta(seconds=8)
    a_schedule("Clocked", clocked(clock))
    a_schedule("Ends", second, expires=end)
    a_schedule("Long", second, kwargs={"said": "slowly", "seconds": 2.5}, skip_while_active=True)
    a_schedule("Plain", second, PLAIN)
    a_schedule("To Ann", second, ANNOUNCE, {"what": "to Ann"}, one_off=True, notify_user="ann")
    a_schedule("To the staff", second, ANNOUNCE, {"what": "to the staff"}, one_off=True, notify_group="staff")
    noon = a_noon(began + timedelta(seconds=8))
    # Past every form: what a person's script may write.
    interval = IntervalSchedule.objects.get(every=1, period="seconds")
    PeriodicTask.objects.create(name="Wrong", task=TELL, interval=interval, kwargs='{"sai": "wrong"}')
    a_schedule("Turned on", second, enabled=False)
    until(lambda: bool(ticks("Clocked", "sent")), "the clocked one", beat)
    turned_on = datetime.now(UTC)
    PeriodicTask.objects.filter(name="Turned on").update(enabled=True, last_run_at=None, date_changed=turned_on)
    mark_changed(apps)
    by_hand = run_now(PeriodicTask.objects.get(name="Left out"))
    several = {"Clocked": 1, "Ends": 2, "Long": 2, "Plain": 2, "To Ann": 0, "To the staff": 0, "Turned on": 2}
    several |= {"Caught up": 1, "Waits": 1, "Left out": 1} | ({"Noon": 1} if noon else {})
    until(lambda: all(len(ended(name)) >= number for name, number in several.items()), "a run of each", beat)
    until(lambda: any(tick.at > began and tick.sent_at for tick in ticks("Each minute")), "the next minute", beat)
    until(lambda: len(ended("Each minute")) == len(ticks("Each minute")), "the run of that minute", beat)
    until(lambda: not PeriodicTask.objects.get(name="Ends").enabled, "the end of the one that ends", beat)
    until(lambda: all(heard[name]() for name in ("ann", "bob")), "what Ann and the staff hear", beat)
    return {
        "clock": clock.timestamp(),
        "end": end.timestamp(),
        "noon": noon and noon.timestamp(),
        "turned on": turned_on.timestamp(),
        "by hand": {"id": by_hand.id, "schedule": by_hand.periodic_task_name},
        "heard": {name: ask() for name, ask in heard.items()},
    }


def a_noon(moment: datetime) -> datetime | None:
    """Make a schedule where the sun is highest at that moment; None where there is nobody to ask for the sun."""
    from tasks_celery.beat import solar

    if find_spec("ephem") is None:
        return None
    import ephem

    observer, longitude = ephem.Observer(), 0.0
    observer.date = ephem.Date(moment.replace(tzinfo=None) - timedelta(hours=12))
    for _ in range(3):
        observer.lon = str(longitude)
        off = observer.next_transit(ephem.Sun()).datetime().replace(tzinfo=UTC) - moment
        # In a day the sun goes once around; further east, it is noon earlier.
        longitude += off / timedelta(days=1) * 360
        longitude = (longitude + 180) % 360 - 180
    a_schedule("Noon", solar("solar_noon", 0, longitude))
    return moment


STORIES: dict[str, Callable[[Child], Told]] = {"everything": everything, "the_three": the_three}


# --- what there is to see


def ticks(name: str, outcome: str | None = None) -> list[Any]:
    from tasks_celery.beat.models import Tick

    found = Tick.objects.filter(periodic_task__name=name).order_by("at")
    return list(found.filter(outcome=outcome) if outcome else found)


def on_time(name: str, ready: datetime) -> int:
    """Return how many ticks since the worker was ready have run."""
    ran = {note["id"] for note in ended(name)}
    return len([tick for tick in ticks(name) if tick_facts(tick)["at"] > ready.timestamp() and tick.result_id in ran])


def ended(name: str) -> list[Told]:
    from integration.beat.project.notes import notes

    return [note for note in notes("end") if note["schedule"] == name]


def result_of(name: str) -> Any:
    """Return the result of the first tick that was sent."""
    from tasks_celery.compat import task_backends

    return task_backends["default"].get_result(ticks(name, "sent")[0].result_id)


def events_after(user: str) -> Callable[[], list[Told]]:
    """Return what tells which events a user has heard since."""
    from tasks_celery.channels.events import event_text
    from tasks_celery.channels.groups import group_name
    from tasks_celery.channels.log import Cursor, find_log

    log, stream = find_log(), group_name(user)
    (begin,) = log.read([Cursor(stream)])
    return lambda: [json.loads(event_text(body, None)) for body in log.read([Cursor(stream, begin.top)])[0].bodies]


def facts(beat: Child, worker: Child) -> Told:
    from django.core.checks import Tags, run_checks
    from django_celery_beat.models import PeriodicTask

    from integration.beat.project.notes import notes

    rows = {row.name: row for row in PeriodicTask.objects.all()}
    return {
        "rows": {name: {"enabled": row.enabled, "count": row.total_run_count} for name, row in rows.items()},
        "ticks": {name: [tick_facts(tick) for tick in ticks(name)] for name in rows},
        "runs": notes("run"),
        "ends": notes("end"),
        "enqueued": notes("enqueued"),
        "results": {name: result_facts(name) for name in rows if ticks(name, "sent")},
        "checks": [(message.id, message.msg) for message in run_checks(tags=[Tags.database], databases=["default"])],
        "pids": {"beat": beat.process.pid},
        "said": {"beat": beat.lines, "worker": worker.lines},
    }


def tick_facts(tick: Any) -> Told:
    from tasks_celery.moments import to_aware

    moment = to_aware(tick.at)
    assert moment
    return {"at": moment.timestamp(), "outcome": tick.outcome, "reason": tick.reason, "id": tick.result_id}


def result_facts(name: str) -> Told:
    from django_celery_results.models import TaskResult

    result = result_of(name)
    celerys = TaskResult.objects.filter(task_id=result.id).first()
    return {
        "id": result.id,
        "status": str(result.status.value),
        "schedule": result.periodic_task_name,
        "celery's": celerys and celerys.periodic_task_name,
        "errors": [error.exception_class_path for error in result.errors],
    }


if __name__ == "__main__":
    main(sys.argv[1])
