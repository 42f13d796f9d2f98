from __future__ import annotations

from tasks_celery.migrate.rewriting import rewrite
from tasks_celery.migrate.source import Project
from tests.migrate.moving import PATH, moved, texts_of
from tests.migrate.things.test_schedules import HEAD, TASK

SETTINGS = "mysite/settings.py"
BOTH = HEAD + (
    "CELERY_BEAT_SCHEDULE = {\n"
    "    # of others\n"
    '    "other": {"task": "other.tasks.sync", "schedule": 5},\n'
    '    "digest": {"task": "shop.tasks.digest", "schedule": crontab(hour=3, minute=0)},  # at night\n'
    '    "weekly": {"task": "shop.tasks.digest", "schedule": timedelta(weeks=1), "kwargs": {"days": 7}},\n'
    "}\n"
    "AFTER = 1\n"
)


def test_without_the_fixer_of_its_task_an_entry_stays_in_both_files() -> None:
    texts = texts_of(TASK, None, BOTH)
    project = Project.of(texts)
    for path in (PATH, SETTINGS):
        assert rewrite(texts[path], path=path, project=project, only=["schedule"]).text == texts[path]


def test_an_entry_of_a_beat_without_rows_stays() -> None:
    settings = BOTH.replace("django_celery_beat", "mysite")
    assert moved(TASK, None, settings, SETTINGS) == settings
    assert "schedule" not in moved(TASK, None, settings)


def test_entries_go_from_the_settings() -> None:
    assert moved(TASK, None, BOTH, SETTINGS) == HEAD + (
        "CELERY_BEAT_SCHEDULE = {\n"
        "    # of others\n"
        '    "other": {"task": "other.tasks.sync", "schedule": 5},\n'
        "}\n"
        "AFTER = 1\n"
    )


def test_the_last_entry_leaves_an_empty_dict() -> None:
    one = f'{HEAD}CELERY_BEAT_SCHEDULE = {{\n    "digest": {{"task": "shop.tasks.digest", "schedule": 5}},\n}}\n'
    assert moved(TASK, None, one, SETTINGS) == f"{HEAD}CELERY_BEAT_SCHEDULE = {{}}\n"


def test_entries_come_above_their_task() -> None:
    assert moved(TASK, None, BOTH) == (
        "from tasks_celery import task\nfrom tasks_celery.beat import crontab, every, schedule\n\n\n"
        '@schedule(crontab(hour=3, minute=0), name="digest")\n'
        "@schedule(every(weeks=1), name=\"weekly\", kwargs={'days': 7})\n"
        "@task\ndef digest(days=1):\n    return 1\n"
    )


def test_a_name_that_is_taken_is_gone_round() -> None:
    changed = moved(f"{TASK}\n\nschedule = 1\n", None, BOTH)
    assert "@django_schedule(crontab(" in changed
    assert "schedule as django_schedule" in changed
