"""What a person may write into a schedule: each field against the task that it is for."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
from django.forms import inlineformset_factory
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from tasks_celery.beat.admin.forms import OptionsForm, OptionsFormSet, ScheduleForm
from tasks_celery.beat.models import ScheduleOptions
from tasks_celery.compat import task_backends

pytestmark = pytest.mark.django_db


@pytest.fixture
def form(db: None) -> Any:
    """Fill the form of a schedule, with some of it changed."""
    hourly = IntervalSchedule.objects.create(every=1, period="hours")

    def fill(**changes: Any) -> ScheduleForm:
        right = {"name": "New", "regtask": "tests.shop.tasks.add", "interval": hourly.pk, "args": "[1]"}
        return ScheduleForm(right | {"task": "", "kwargs": "{}", "headers": "{}"} | changes)

    return fill


@pytest.mark.parametrize(
    ("field", "changes", "says"),
    [
        ("args", {"args": "[1,"}, "Unable to parse JSON"),
        ("args", {"args": '{"a": 1}'}, "it has to be a list"),
        ("args", {"args": "[" * 200_000}, "Unable to parse JSON"),
        ("args", {"args": "[NaN]"}, "NaN is no number of JSON's"),
        ("args", {"args": "[1, 2, 3]"}, "too many positional arguments; it takes (a: "),
        ("args", {"args": '[{"__type__": "date", "__value__": "x"}]'}, "something else to Celery's JSON"),
        ("kwargs", {"kwargs": "[1]"}, "it has to be an object"),
        ("kwargs", {"args": "[]"}, "missing a required argument: 'a'; it takes (a: "),
        ("kwargs", {"kwargs": '{"c": 1}'}, "got an unexpected keyword argument 'c'"),
        ("kwargs", {"kwargs": '{"a": 1}'}, "multiple values for argument 'a'"),
        ("kwargs", {"kwargs": '{"b": {"__type__": "date", "__value__": "x"}}'}, "something else to Celery's JSON"),
        ("args", {"regtask": "tests.shop.tasks.tell", "args": '["note", 2]'}, "it takes (note: "),
        ("queue", {"queue": "elsewhere"}, "QUEUES of the alias 'default' are default, reports"),
        ("headers", {"headers": "[]"}, "it has to be an object of texts"),
        ("headers", {"headers": '{"a": 1}'}, "The header 'a' is 1; it has to be a text."),
        ("headers", {"headers": '{"tasks_celery": "{}"}'}, "give yours another name"),
        ("task", {"regtask": ""}, "Need name of task"),
        ("task", {"regtask": "", "task": "x" * 201}, "at most 200 characters"),
    ],
)
def test_what_a_beat_could_not_send_is_refused_on_its_field(
    form: Any, field: str, changes: dict[str, Any], says: str
) -> None:
    errors = form(**changes).errors
    assert says in errors[field][0]
    assert set(errors) <= {field, "__all__"}


@pytest.mark.parametrize("changes", [{"args": "[1,", "kwargs": "{", "headers": "{"}, {"args": "", "kwargs": "x"}])
def test_texts_that_are_no_json_are_not_compared_with_a_signature(form: Any, changes: dict[str, str]) -> None:
    errors = form(**changes).errors
    assert set(errors) <= set(changes)
    assert all("Unable to parse JSON" in said[0] for said in errors.values())


def test_what_is_written_right_is_taken_as_it_is_written(form: Any) -> None:
    filled = form(args="[ 1 ]", kwargs='{"b":2}', queue="reports", headers='{"a": "b"}')
    assert filled.is_valid(), filled.errors
    assert filled.cleaned_data["task"] == "tests.shop.tasks.add"
    assert [filled.cleaned_data[name] for name in ("args", "kwargs")] == ["[ 1 ]", '{"b":2}']


def test_the_arguments_of_a_task_with_a_context_are_those_that_a_caller_gives(form: Any) -> None:
    assert form(regtask="tests.shop.tasks.tell", args='["note"]').is_valid()


def test_any_queue_is_right_where_queues_names_none(form: Any) -> None:
    with mock.patch.object(task_backends["default"], "queues", set()):
        assert form(queue="elsewhere").is_valid()


def test_tasks_of_others_are_left_as_django_celery_beat_has_them(form: Any) -> None:
    marked = '{"b": {"__type__": "date", "__value__": "x"}}'
    others = form(regtask="", task="another.project", args="[1, 2, 3]", kwargs=marked, queue="any", headers='{"a": 1}')
    assert others.is_valid(), others.errors
    assert "it has to be a list" in form(regtask="", task="another.project", args="1").errors["args"][0]


# --- the options


def options(**given: Any) -> OptionsFormSet:
    made = inlineformset_factory(PeriodicTask, ScheduleOptions, form=OptionsForm, formset=OptionsFormSet)
    management = {"TOTAL_FORMS": 1, "INITIAL_FORMS": 0, "0-catch_up": "once"}
    data = {f"tasks_celery_options-{name}": value for name, value in (management | given).items()}
    return made(data, instance=PeriodicTask(task="tests.shop.tasks.add"))


@pytest.mark.parametrize("priority", ["-101", "101", "much"])
def test_a_priority_that_django_does_not_know_is_refused(priority: str) -> None:
    assert list(options(**{"0-priority": priority}).errors[0]) == ["priority"]


@pytest.mark.parametrize("priority", ["-100", "0", "100", ""])
def test_a_priority_of_djangos_is_right(priority: str) -> None:
    with mock.patch.object(task_backends["default"], "supports_priority", True, create=True):
        assert options(**{"0-priority": priority}).is_valid()


def test_a_priority_where_the_broker_knows_none_is_refused() -> None:
    with mock.patch.object(task_backends["default"], "supports_priority", False, create=True):
        assert "knows no priorities" in options(**{"0-priority": "7"}).errors[0]["priority"][0]
        assert options(**{"0-priority": "0"}).is_valid()
