"""The twin of a Django Task: the Celery task of the same name."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module, reload
from pathlib import Path
from typing import Any

import celery
import pytest
from celery import Celery, shared_task
from django.core.exceptions import ImproperlyConfigured

from tasks_celery import TaskNameClash, TaskOptions, task
from tasks_celery.task import name_of
from tasks_celery.twin import Twin, refuse_clashes, registered, twin_of
from tests.shop import tasks
from tests.shop.running import a_foreign_task, the_app, the_store
from tests.stores.making import a_record


def an_app() -> Celery:
    """Return a Celery app that is nobody's current one."""
    return Celery("another", set_as_current=False, broker="memory://")


def plain(value: int) -> int:
    return value


def with_context(context: Any, value: int) -> int:
    return value


# --- refusals


def test_two_functions_cannot_have_one_name(registry: None) -> None:
    task(name="shop.same")(plain)
    with pytest.raises(TaskNameClash, match=r"tests\.test_twin\.with_context.*tests\.test_twin\.plain.*'shop\.same'"):
        task(name="shop.same", takes_context=True)(with_context)


def test_a_name_that_a_celery_task_has_is_refused_and_says_what_to_do(registry: None) -> None:
    app = an_app()
    a_foreign_task(app, "shop.taken")
    app.finalize()
    with pytest.raises(TaskNameClash, match=r"Remove one of them.*@task\(name='…'\)") as caught:
        task(name="shop.taken")(plain)
    assert "Foreign" in str(caught.value)
    assert isinstance(caught.value, ImproperlyConfigured)


@pytest.mark.filterwarnings("ignore::Warning")  # Celery 5.7 warns, earlier releases say nothing
def test_a_shared_task_of_the_same_name_is_an_error_each_time_it_is_used(registry: None) -> None:
    # Celery calls what is to be done at the end of an app's making in no order: some of the names are the twins'.
    for number in range(12):
        name = f"shop.taken{number}"
        shared_task(name=name)(with_context)
        with suppress(TaskNameClash):
            task(name=name)(plain)
    app = an_app()
    clashes = [made for made in registered().values() if not isinstance(app.tasks[name_of(made)], Twin)]
    assert clashes
    for _ in range(2):
        for made in clashes:
            with pytest.raises(TaskNameClash, match=r"shop\.taken"):
                twin_of(made, app)


@pytest.mark.filterwarnings("ignore::Warning")
def test_a_celery_task_that_takes_the_place_of_a_twin_is_an_error_when_it_is_enqueued(registry: None) -> None:
    made = task(name="shop.taken")(plain)
    a_foreign_task(the_app(), "shop.taken")
    with pytest.raises(TaskNameClash, match=r"shop\.taken"):
        made.enqueue(1)


def test_two_tasks_cannot_share_an_alias(registry: None) -> None:
    task(name="shop.first", aliases=("shop.old",))(plain)
    for taken in (
        {"name": "shop.old"},
        {"name": "shop.second", "aliases": ("shop.old",)},
        {"aliases": ("shop.first",)},
    ):
        with pytest.raises(TaskNameClash, match=r"with_context.*plain both have the name 'shop\.\w+'"):
            task(takes_context=True, **taken)(with_context)
    assert name_of(registered()["shop.old"]) == "shop.first"
    assert "shop.second" not in registered()


def test_an_alias_that_a_celery_task_has_is_refused_and_says_what_to_do(registry: None) -> None:
    app = an_app()
    a_foreign_task(app, "shop.taken")
    app.finalize()
    with pytest.raises(TaskNameClash, match=r"'shop\.taken'.*take it out of its aliases"):
        task(name="shop.free", aliases=("shop.taken",))(plain)


@pytest.mark.filterwarnings("ignore::Warning")  # Celery 5.7 warns, earlier releases say nothing
def test_a_later_app_with_a_celery_task_of_an_aliass_name_has_the_task_all_the_same(
    registry: None, caplog: pytest.LogCaptureFixture
) -> None:
    made = task(name="shop.free", aliases=("shop.taken",))(plain)
    app = Celery("late", set_as_current=False, broker="memory://")
    app._tasks["shop.taken"] = foreign = a_foreign_task(an_app(), "shop.taken")
    app.finalize()
    assert (app.tasks["shop.taken"], twin_of(made, app).name) == (foreign, "shop.free")
    assert "both have the name 'shop.taken'" in caplog.text
    with pytest.raises(TaskNameClash, match=r"shop\.taken"):
        refuse_clashes(made, app)


# --- the twin


def test_a_task_has_a_twin_of_its_name_in_the_app() -> None:
    twin = tasks.add.celery
    assert isinstance(twin, Twin)
    assert (twin.name, twin.django_task.func) == ("tests.shop.tasks.add", tasks.add.func)
    assert the_app().tasks["tests.shop.tasks.add"] is twin
    assert tasks.add.using(priority=3).celery is twin


def test_a_twin_can_have_a_name_of_its_own() -> None:
    assert name_of(tasks.renamed) == tasks.renamed.celery.name == "shop.renamed"
    assert "tests.shop.tasks.renamed" not in the_app().tasks


def test_a_twin_is_known_by_its_aliases_in_every_app(registry: None) -> None:
    before = an_app()
    before.finalize()
    made = task(name="shop.new", aliases=("shop.old", "shop.older"))(plain)
    for app in (before, an_app(), the_app()):
        twin = twin_of(made, app)
        assert app.tasks["shop.old"] is app.tasks["shop.older"] is app.tasks["shop.new"] is twin
        assert twin.name == "shop.new"
    assert registered()["shop.old"] is registered()["shop.new"] is made


def test_a_worker_logs_a_task_under_its_own_name(registry: None) -> None:
    # Celery makes a tracer for each name that an app knows, and the last one is what runs (celery/app/trace.py).
    made = task(name="shop.new", aliases=("shop.old",))(plain)
    for app in (an_app(), the_app()):
        twin = twin_of(made, app)
        assert [name for name, each in app.tasks.items() if each is twin] == ["shop.old", "shop.new"]


def test_a_result_of_an_old_name_is_the_tasks(registry: None) -> None:
    made = task(name="shop.new", aliases=("shop.old",))(plain)
    the_store().create(a_record(id="of-old", name="shop.old", path="shop.gone.plain"), lifetime=60)
    result = made.get_result("of-old")
    assert (result.task.func, result.task.module_path) == (made.func, "tests.test_twin.plain")


def test_every_app_of_the_process_has_the_twin_whenever_it_is_made(registry: None) -> None:
    before = an_app()
    before.finalize()
    task(name="shop.everywhere")(plain)
    after = an_app()
    assert isinstance(before.tasks["shop.everywhere"], Twin)
    assert isinstance(after.tasks["shop.everywhere"], Twin)
    assert before.tasks["shop.everywhere"] is not after.tasks["shop.everywhere"]


def test_the_options_are_the_twins(registry: None) -> None:
    made = task(
        name="shop.options", max_retries=7, rate_limit="3/m", time_limit=9, acks_late=True, autoretry_for=(KeyError,)
    )(plain)
    twin = made.celery
    assert (twin.max_retries, twin.rate_limit, twin.time_limit, twin.acks_late) == (7, "3/m", 9, True)
    assert twin.autoretry_for == (KeyError,)
    assert tasks.add.celery.max_retries == celery.Task.max_retries


def test_what_was_not_asked_for_is_the_projects(registry: None) -> None:
    app = an_app()
    app.conf.task_acks_late = True
    assert app.tasks["tests.shop.tasks.add"].acks_late is True
    assert TaskOptions().for_celery() == {}


def test_an_option_of_zero_or_false_is_asked_for() -> None:
    assert TaskOptions(max_retries=0, acks_late=False).for_celery() == {"max_retries": 0, "acks_late": False}


def test_a_module_that_is_loaded_again_brings_its_new_function(
    registry: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loaded_twice.py").write_text("def again():\n    return object()\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = import_module("loaded_twice")
    first = task(module.again)
    second = task(reload(module).again)
    assert first.func is not second.func
    assert second.celery.django_task.func is second.func
    assert an_app().tasks["loaded_twice.again"].django_task.func is second.func


def test_a_twin_called_directly_is_just_the_function() -> None:
    assert tasks.add.celery(1, b=2) == 3


def test_a_twin_can_be_signed_and_chained() -> None:
    chain = tasks.add.celery.s(1) | tasks.add.celery.s(b=2)
    assert [step.task for step in chain.tasks] == ["tests.shop.tasks.add"] * 2


def test_our_messages_are_json_whatever_the_project_sends(registry: None) -> None:  # contract 53
    app = an_app()
    app.conf.task_serializer = "pickle"
    assert app.tasks["tests.shop.tasks.add"].serializer == "json"
    assert app.conf.task_serializer == "pickle"
