from __future__ import annotations

import pytest

from tasks_celery.migrate.finding import Finding, Verdict
from tasks_celery.migrate.source import Names, Project
from tasks_celery.migrate.things import schedules
from tests.migrate.moving import PATH, SETTINGS, SHARED, texts_of

TASK = f"{SHARED}@shared_task\ndef digest(days=1):\n    return 1\n"
HEAD = (
    "from datetime import timedelta\nfrom celery.schedules import crontab, schedule, solar\n"
    f"{SETTINGS}INSTALLED_APPS = ['tasks_celery.beat']\n"
    "CELERY_BEAT_SCHEDULER = 'django_celery_beat.schedulers:DatabaseScheduler'\n"
)


def project_of(entry: str, head: str = HEAD, text: str = TASK, **more: str) -> Project:
    settings = f"{head}CELERY_BEAT_SCHEDULE = {{'digest': {entry}}}\n"
    return Project.of(texts_of(text, more, settings))


def found(project: Project, path: str = "mysite/settings.py") -> list[Finding]:
    return list(schedules.find(Names.of(path, project.texts[path], project)))


def entry(schedule: str = "300", more: str = "") -> str:
    return f"{{'task': 'shop.tasks.digest', 'schedule': {schedule}{more}}}"


# --- what is left


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (entry("EVERY"), "when it is due"),
        (entry("settings.EVERY"), "when it is due"),
        (entry("0"), "when it is due"),
        (entry("True"), "when it is due"),
        (entry("crontab(hour=HOUR)"), "when it is due"),
        (entry("crontab(hour=25)"), "when it is due"),
        (entry("crontab(day_of_week='monday')"), "when it is due"),
        (entry("crontab(day_of_month=31, month_of_year=2)"), "when it is due"),
        (entry("crontab(nowfun=now)"), "when it is due"),
        (entry("crontab(**HOURS)"), "when it is due"),
        (entry("timedelta(milliseconds=5)"), "when it is due"),
        (entry("timedelta(0)"), "when it is due"),
        (entry("timedelta()"), "when it is due"),
        (entry("timedelta(minutes=EVERY)"), "when it is due"),
        (entry("solar('sunset', LATITUDE, 13.4)"), "when it is due"),
        (entry("schedule(run_every=5, relative=True)"), "when it is due"),
        ("{'task': 'shop.tasks.digest'}", "when it is due"),
        (entry(more=", 'args': (DAYS,)"), "its args are not written as JSON"),
        (entry(more=", 'kwargs': {'days': {1, 2}}"), "its kwargs are not written as JSON"),
        (entry(more=", 'options': OPTIONS"), "its options are computed"),
        (entry(more=", 'options': {'priority': 3}"), "its option priority has no counterpart"),
        (entry(more=", 'options': {'expires': 60}"), "its option expires is one that django-celery-beat leaves out"),
        (entry(more=", 'enabled': False"), "it has enabled"),
        (entry(more=", 'relative': True"), "it is relative"),
        ("ENTRY", "computed"),
        ("{**ENTRY}", "computed"),
        ("{TASK: 'shop.tasks.digest'}", "computed"),
    ],
)
def test_an_entry_that_schedule_does_not_say_alike_is_a_persons(given: str, why: str) -> None:
    project = project_of(given)
    [it] = found(project)
    assert it.verdict is Verdict.PERSON
    assert why in it.reason
    assert project.scheduled == {}
    assert found(project, PATH) == []


@pytest.mark.parametrize(
    ("given", "head", "text", "reason"),
    [
        (
            entry(),
            HEAD.replace("django_celery_beat.schedulers:DatabaseScheduler", "celery.beat:PersistentScheduler"),
            TASK,
            schedules.NO_ROWS,
        ),
        (entry(), SETTINGS, TASK, schedules.NO_ROWS),
        (entry(), HEAD.replace("tasks_celery.beat", "django_celery_beat"), TASK, schedules.NOT_INSTALLED),
        (entry(), HEAD, TASK.replace("@shared_task", "@shared_task(base=Own)"), schedules.TASK_STAYS),
        ("{'task': 'other.tasks.sync', 'schedule': 5}", HEAD, TASK, schedules.TASK_STAYS),
        ("{'task': NAME, 'schedule': 5}", HEAD, TASK, schedules.TASK_STAYS),
        ("{'schedule': 5}", HEAD, TASK, schedules.TASK_STAYS),
    ],
)
def test_what_beat_goes_on_sending_stays(given: str, head: str, text: str, reason: str) -> None:
    project = project_of(given, head, text)
    [it] = found(project)
    assert (it.verdict, it.reason) == (Verdict.STAYS, reason)
    assert found(project, PATH) == []


@pytest.mark.parametrize(
    "more",
    [
        "CELERY_BEAT_SCHEDULE['more'] = {}\n",
        "CELERY_BEAT_SCHEDULE.update({})\n",
        "NAMES = list(CELERY_BEAT_SCHEDULE)\n",
    ],
)
def test_entries_that_are_used_further_down_stay(more: str) -> None:
    settings = f"{HEAD}CELERY_BEAT_SCHEDULE = {{'digest': {entry()}}}\n{more}"
    project = Project.of(texts_of(TASK, None, settings))
    assert all(it.verdict is Verdict.PERSON for it in found(project))
    assert project.scheduled == {}


def test_entries_that_several_places_set_stay() -> None:
    other = {"mysite/production.py": f"CELERY_BEAT_SCHEDULE = {{'digest': {entry('60')}}}\n"}
    settings = f"{HEAD}CELERY_BEAT_SCHEDULE = {{'digest': {entry()}}}\n"
    project = Project.of(texts_of(TASK, other, settings))
    assert [it.verdict for it in found(project)] == [Verdict.PERSON]
    assert project.scheduled == {}


def test_entries_that_are_computed_are_a_persons() -> None:
    project = Project.of(texts_of(TASK, None, f"{HEAD}CELERY_BEAT_SCHEDULE = entries()\n"))
    [it] = found(project)
    assert "computed" in it.reason


def test_a_periodic_task_that_is_added_as_beat_starts_is_a_persons() -> None:
    text = f"{TASK}\n\ndef go(sender, **kwargs):\n    sender.add_periodic_task(10.0, digest.s())\n"
    project = Project.of(texts_of(text))
    [it] = found(project, PATH)
    assert (it.verdict, it.name) == (Verdict.PERSON, "add_periodic_task")


# --- what moves


@pytest.mark.parametrize(
    ("given", "decorator"),
    [
        (entry(), 'schedule(every(seconds=300), name="digest")'),
        (entry("60 * 5.0"), 'schedule(every(seconds=60 * 5.0), name="digest")'),
        (entry("timedelta(minutes=5)"), 'schedule(every(minutes=5), name="digest")'),
        (entry("timedelta(1, 30)"), 'schedule(every(days=1, seconds=30), name="digest")'),
        (entry("schedule(run_every=timedelta(hours=2))"), 'schedule(every(hours=2), name="digest")'),
        (entry("crontab()"), 'schedule(crontab(), name="digest")'),
        (entry("crontab(minute='*/5', hour=3)"), 'schedule(crontab(minute="*/5", hour=3), name="digest")'),
        (
            entry("crontab('0', '4', 'sun')"),
            'schedule(crontab(minute="0", hour="4", day_of_week="sun"), name="digest")',
        ),
        (entry("solar('sunset', -37.8, 144.9)"), "schedule(solar('sunset', -37.8, 144.9), name=\"digest\")"),
        (entry(more=", 'args': (7,)"), 'schedule(every(seconds=300), name="digest", args=(7,))'),
        (
            entry(more=", 'args': (), 'kwargs': {}, 'options': {}, 'relative': False"),
            'schedule(every(seconds=300), name="digest")',
        ),
        (
            entry(more=", 'kwargs': {'days': 7}, 'options': {'queue': 'mail', 'expire_seconds': 60}"),
            'schedule(every(seconds=300), name="digest", kwargs={\'days\': 7}, queue="mail", expires=60)',
        ),
    ],
)
def test_an_entry_is_said_at_its_task(given: str, decorator: str) -> None:
    project = project_of(given)
    [away], [it] = found(project), found(project, PATH)
    assert (away.verdict, away.reason, it.verdict) == (Verdict.MOVES, schedules.ROW, Verdict.MOVES)
    assert it.facts["decorators"] == [decorator]
    assert away.facts["needs"] == it.facts["needs"] == ["task"]


def test_the_entry_of_a_task_that_has_moved_needs_nothing_more() -> None:
    project = project_of(
        entry(), text=TASK.replace("celery import shared_task", "tasks_celery import task").replace("@shared_", "@")
    )
    [away], [it] = found(project), found(project, PATH)
    assert "needs" not in away.facts
    assert "needs" not in it.facts
