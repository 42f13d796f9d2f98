"""What was worked out from Celery's configuration is worked out again once that changes, and not before."""

from __future__ import annotations

import gc
import itertools
import weakref
from typing import Any

import pytest
from celery import Celery
from django.test import override_settings

from tasks_celery.remembered import remembered


@pytest.fixture
def app() -> Celery:
    return Celery("remembering", set_as_current=False)


class Asked:
    """Counts how often a priority is read."""

    def __init__(self, app: Celery) -> None:
        self.app, self.times = app, 0

    def __call__(self) -> Any:
        self.times += 1
        return self.app.conf.task_default_priority

    def now(self) -> Any:
        return remembered(self.app, "priority", self)


CHANGES = {
    "update": lambda app: app.conf.update(task_default_priority=7),
    "attribute": lambda app: setattr(app.conf, "task_default_priority", 7),
    "key": lambda app: app.conf.__setitem__("task_default_priority", 7),
    "another configuration": lambda app: app.config_from_object({"task_default_priority": 7}, force=True),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_of_the_configuration_is_seen(app: Celery, change: Any) -> None:
    asked = Asked(app)
    assert asked.now() is None
    change(app)
    assert asked.now() == 7


def test_a_value_is_worked_out_once_where_nothing_changed(app: Celery) -> None:
    asked = Asked(app)
    assert [asked.now() for _ in range(3)] == [None] * 3
    assert asked.times == 1


def test_a_change_back_is_seen(app: Celery) -> None:
    asked = Asked(app)
    told = []
    for priority in (1, 2, 1):
        app.conf.task_default_priority = priority
        told.append(asked.now())
    assert told == [1, 2, 1]


def test_settings_that_a_test_overrides_are_seen_while_it_does(app: Celery) -> None:
    app.config_from_object("django.conf:settings", namespace="CELERY")
    asked = Asked(app)
    told = [asked.now()]
    with override_settings(CELERY_TASK_DEFAULT_PRIORITY=7):
        told.append(asked.now())
    assert [*told, asked.now()] == [None, 7, None]


def test_an_app_and_a_name_have_values_of_their_own(app: Celery) -> None:
    other = Celery("other", set_as_current=False)
    numbers = itertools.count()
    told = [remembered(each, name, lambda: next(numbers)) for each in (app, other) for name in ("one", ("two", 2))]
    assert told == [0, 1, 2, 3]
    other.close()


def test_what_could_not_be_worked_out_is_tried_again(app: Celery) -> None:
    def fail() -> None:
        raise ValueError("not yet")

    for _ in range(2):
        with pytest.raises(ValueError, match="not yet"):
            remembered(app, "priority", fail)
    assert Asked(app).now() is None


def test_an_app_that_is_gone_is_forgotten() -> None:
    app = Celery("brief", set_as_current=False)
    Asked(app).now()
    gone = weakref.ref(app)
    app.close()
    del app
    gc.collect()
    assert gone() is None
