from __future__ import annotations

import subprocess
import sys
import types
from typing import Any

import pytest
from celery import shared_task

from tasks_celery import task
from tasks_celery.channels import notify
from tasks_celery.channels.notify import RESERVED_NAMES, _rules, event_names, known_rules, rule_for
from tasks_celery.compat import TaskResultStatus
from tests.channels import jobs


@pytest.fixture(autouse=True)
def _rules_are_put_back() -> Any:
    before = dict(_rules)
    yield
    _rules.clear()
    _rules.update(before)


def function(name: str = "made_here") -> types.FunctionType:
    """Return a new function of the same path as every other one of that name."""

    def made() -> None: ...

    made.__qualname__ = name
    return made


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [None, 7, b"report.ready", ["report.ready"]])
def test_a_name_that_is_no_text_is_refused(name: Any) -> None:
    with pytest.raises(TypeError, match=r"a text such as 'report\.ready'"):
        notify(name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "report.", ".ready", "report..ready", "Report.ready", "report ready", "bericht.größe", "a\n", "x" * 101],
)
def test_a_name_of_another_form_is_refused_and_shown(name: str) -> None:
    with pytest.raises(ValueError, match="lower-case letters") as caught:
        notify(name)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("name", sorted(RESERVED_NAMES))
def test_a_name_that_the_connection_uses_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="kept for the connection"):
        notify(name)


def test_the_name_for_failures_is_held_to_the_same() -> None:
    with pytest.raises(ValueError, match=r"notify\(failed='task.ready'\)"):
        notify("report.ready", failed="task.ready")
    with pytest.raises(TypeError, match=r"notify\(failed=3\)"):
        notify("report.ready", failed=3)  # type: ignore[arg-type]


async def later(result: Any) -> dict[str, Any]:
    return {}


@pytest.mark.parametrize("payload", [{"report": 7}, "report", dict, later])
def test_a_payload_that_is_no_plain_function_is_refused(payload: Any) -> None:
    with pytest.raises(TypeError, match=r"notify\(payload=.*plain function"):
        notify("report.ready", payload=payload)


@pytest.mark.parametrize("to", [1.5, {"user": 7}, True, b"7", object(), [7, 1.5], [None], int, later])
def test_an_audience_that_can_be_nobody_is_refused(to: Any) -> None:
    with pytest.raises(TypeError, match=r"notify\(to=.*primary key"):
        notify("report.ready", to=to)


@pytest.mark.parametrize("to", ["", [], (), ["", 7]])
def test_an_empty_audience_is_refused(to: Any) -> None:
    with pytest.raises(ValueError, match="names nobody"):
        notify("report.ready", to=to)


@pytest.mark.parametrize("tenant", ["", 7, later, str])
def test_a_tenant_that_can_be_none_is_refused(tenant: Any) -> None:
    with pytest.raises(TypeError, match=r"notify\(tenant="):
        notify("report.ready", tenant=tenant)


@pytest.mark.parametrize("decorated", ["a text", len, type("Class", (), {}), shared_task(function("of_celery"))])
def test_what_is_neither_task_nor_function_is_refused(decorated: Any) -> None:
    with pytest.raises(TypeError, match="above @task"):
        notify("report.ready")(decorated)


def test_two_rules_for_one_function_are_refused_with_both_named() -> None:
    func = notify("report.ready", failed="report.failed")(function())
    with pytest.raises(ValueError, match=r"'report.ready' and 'report.failed' and cannot announce 'report.done' too"):
        notify("report.done")(func)


# --- what works ----------------------------------------------------------------------------------


def test_a_task_and_a_function_are_given_back_as_they_are() -> None:
    func = function()
    assert notify("report.ready")(func) is func
    known = jobs.tell_nobody
    assert notify("report.ready")(known) is known


def test_the_rule_is_found_for_the_task_for_its_variants_and_below_it() -> None:
    for found in (jobs.tell_both, jobs.tell_both.using(priority=5)):
        rule = rule_for(found.func)
        assert rule is not None
        assert rule.event == "job.done"
    below = rule_for(jobs.decorated_below.func)
    assert below is not None
    assert below.event == "job.below"


def test_a_task_without_rule_announces_nothing() -> None:
    assert rule_for(jobs.tell_nobody.func) is None


def test_the_same_rule_may_be_said_twice() -> None:
    func = notify("report.ready")(function())
    notify("report.ready")(func)


def test_a_module_that_is_loaded_anew_brings_its_new_rule() -> None:
    notify("report.ready")(function())
    func = notify("report.done")(function())
    rule = rule_for(func)
    assert rule is not None
    assert rule.event == "report.done"


def test_an_async_function_can_announce() -> None:
    async def build() -> None: ...

    assert notify("report.ready")(build) is build


def test_each_status_has_its_event_or_none() -> None:
    both, success = rule_for(jobs.tell_both.func), rule_for(jobs.tell_success.func)
    assert both is not None
    assert success is not None
    assert both.event_for(TaskResultStatus.SUCCESSFUL) == "job.done"
    assert both.event_for(TaskResultStatus.FAILED) == "job.failed"
    assert both.event_for(TaskResultStatus.RUNNING) is None
    assert success.event_for(TaskResultStatus.FAILED) is None


def test_one_name_may_tell_both_outcomes() -> None:
    notify("report.ended", failed="report.ended")(function())


def test_a_rule_may_name_its_tenant() -> None:
    for tenant in (None, "a", lambda result: "a"):
        rule = rule_for(notify("report.ready", tenant=tenant)(function()))
        assert rule is not None
        assert rule.tenant is tenant


def test_all_names_are_known_sorted_and_once() -> None:
    notify("job.done")(function("one"))
    names = event_names()
    assert names == sorted(set(names))
    assert {"job.done", "job.failed", "job.below"} <= set(names)
    assert len(known_rules()) == len(_rules)


def test_tasks_module_imports_without_channels_and_without_settings() -> None:
    code = (
        "import sys; sys.modules['channels'] = sys.modules['redis'] = None\n"
        "from tasks_celery.channels import notify\n"
        "notify('report.ready')(lambda: None)\n"
        "from django.conf import settings; import threading\n"
        "assert not settings.configured and threading.active_count() == 1"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_our_task_takes_the_decorator_too() -> None:
    made = notify("report.ready")(task(jobs.tell_nobody.func))
    assert rule_for(made.func) is not None
