"""The settings that a running app goes by."""

from __future__ import annotations

from celery import Celery

from tasks_celery.migrate.finding import Anchor, Finding, Verdict
from tasks_celery.migrate.in_effect import PLACE, find_in_effect, with_those_in_effect


def app(**settings: object) -> Celery:
    made = Celery("shop", set_as_current=False)
    made.conf.update(settings)
    return made


def setting(name: str, path: str = "shop/settings.py", kind: str = "setting") -> Finding:
    return Finding(path=path, anchor=Anchor(3, 0), kind=kind, name=name, verdict=Verdict.STAYS)


def test_defaults_are_not_told() -> None:
    assert list(find_in_effect(app().conf)) == []


def test_what_is_set_is_told_with_what_it_means() -> None:
    found = {each.name: each for each in find_in_effect(app(task_serializer="pickle", task_acks_late=True).conf)}
    assert {name: each.verdict for name, each in found.items()} == {
        "task_serializer": Verdict.UNSAFE,
        "task_acks_late": Verdict.STAYS,
    }
    assert {each.path for each in found.values()} == {PLACE}


def test_what_is_in_effect_takes_the_place_of_what_is_written() -> None:
    written = [
        setting("task_serializer", kind="serializer"),
        setting("task_always_eager", "shop/tests/settings.py"),
        setting("worker_concurrency"),
        setting("add", kind="task"),
    ]
    found = with_those_in_effect(written, app(task_acks_late=True).conf)
    assert [(each.path, each.name) for each in found] == [
        ("shop/tests/settings.py", "task_always_eager"),
        ("shop/settings.py", "worker_concurrency"),
        ("shop/settings.py", "add"),
        (PLACE, "task_acks_late"),
    ]
