from __future__ import annotations

import pytest

from tasks_celery.migrate.finding import Verdict
from tests.migrate.calling import CELERYS, found, left

# --- what is left


@pytest.mark.parametrize(
    "text",
    [
        "timer.delay(1)",
        "def f(add):\n    add.delay(1)",
        "for add in adds:\n    add.delay(1)",
        "tasks['add'].delay(1)",
        "Add().delay(1)",
    ],
)
def test_a_call_of_what_is_no_task_for_certain_is_left(text: str) -> None:
    assert "cannot be proven" in left(text).reason


def test_a_method_of_the_projects_own_is_no_call_of_a_task() -> None:
    assert not found("class Timer:\n    @classmethod\n    def delay(cls): ...\nTimer.delay(1)")


@pytest.mark.parametrize(
    "text", ["add.s(1).delay()", "(add.s(1) | mail.s()).apply_async()", "add.s(1).set(queue='a').delay()"]
)
def test_the_sending_of_canvas_is_no_call_of_a_task(text: str) -> None:
    assert not found(text)


def test_the_sending_of_a_canvas_that_has_a_name_is_no_call_of_a_task() -> None:
    assert not found("from celery import chain\ndef f():\n    job = chain(add.s(1), mail.s())\n    job.delay()")


def test_the_calls_of_a_task_that_stays_celerys_stay() -> None:
    finding = left("add.delay(1)", tasks=CELERYS)
    assert finding.verdict is Verdict.STAYS
    assert "adopt()" in finding.reason


@pytest.mark.parametrize(
    "patch", ["@patch('shop.tasks.add.delay')", "@patch('shop.tasks.add')", "@patch.object(add, 'delay')"]
)
def test_the_calls_of_a_task_that_tests_patch_are_left(patch: str) -> None:
    test = f"from unittest.mock import patch\nfrom shop.tasks import add\n{patch}\ndef test(mock): ..."
    assert left("add.delay(1)", test_views=test).reason.startswith("Tests patch shop.tasks.add")


def test_a_patch_of_the_task_itself_is_said_so() -> None:
    test = (
        "from unittest.mock import patch\n@patch('shop.tasks.add')\n@patch('shop.tasks.add.delay')\ndef test(a, b): ..."
    )
    reason = left("add.delay(1)", test_views=test).reason
    assert reason.startswith("Tests patch shop.tasks.add itself and shop.tasks.add.delay, and would not see")


@pytest.mark.parametrize("assume_json", [False, True])
@pytest.mark.parametrize(
    "call",
    [
        "add.delay({1, 2}, 3)",
        "add.delay(a={1, 2})",
        "add.delay(b'text')",
        "add.delay(datetime.now())",
        "add.delay([{1}])",
        "add.delay(*[{1}, 2])",
        "add.delay(**{'a': {1}})",
        "add.apply_async(({1, 2}, 3))",
        "add.apply_async([{1, 2}])",
        "add.apply_async(kwargs={'a': {1, 2}})",
        "transaction.on_commit(partial(add.delay, {1, 2}))",
        "transaction.on_commit(lambda: add.delay({1, 2}))",
    ],
)
def test_what_is_proven_to_be_no_json_keeps_a_call_whatever_annotations_say(call: str, assume_json: bool) -> None:
    imports = "from datetime import datetime\nfrom django.db import transaction\nfrom functools import partial\n"
    tasks = "from tasks_celery import task\n@task(enqueue_on_commit=True)\ndef add(a: int = 0, b: int = 0): ...\n"
    assert "known to be JSON" in left(imports + call, tasks=tasks, assume_json=assume_json).reason


@pytest.mark.parametrize(
    "argument",
    ["order", "order.total", "now()", "uuid4()", "{1, 2}", "b'text'", "*orders", "**more", "[order]", "{'a': order}"],
)
def test_a_call_whose_arguments_are_not_known_to_be_json_is_left(argument: str) -> None:
    assert "known to be JSON" in left(f"def f(order, orders, more):\n    add.delay({argument})").reason


def test_the_reason_names_the_arguments_that_are_not_known() -> None:
    finding = left("def f(order, user):\n    add.delay(order, 1, b=user)")
    assert finding.reason.startswith("The arguments 1, b are not known to be JSON")


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n    return add.delay(1)",
        "def f():\n    x = add.delay(1)\n    return x",
        "def f():\n    x = add.delay(1)\n    use(x)",
        "def f():\n    x = add.delay(1)\n    return x.id, x.state",
        "def f():\n    global x\n    x = add.delay(1)\n    return x.id",
        "def f():\n    x = add.delay(1)\n    return str(x)",
        "def f():\n    x = add.delay(1)\n    return lambda: x.get()",
        "def f(self):\n    self.x = add.delay(1)",
        "def f():\n    return [add.delay(n) for n in range(3)]",
        "def f():\n    if x := add.delay(1):\n        return x.id",
        "def f():\n    xs.append(add.delay(1))",
        "def f():\n    x = y = add.delay(1)",
        "def f():\n    yield add.delay(1)",
        "def f():\n    return lambda: add.delay(1)",
        "class C:\n    x = add.delay(1)\n    y = x.id",
        "x = add.delay(1)",
        "add.delay(1).get()",
        "print(add.delay(1).status)",
        "async def f():\n    await add.delay(1)",
    ],
)
def test_a_call_whose_result_is_used_beyond_its_id_is_left(text: str) -> None:
    assert left(text).verdict is Verdict.PERSON


def test_the_reason_says_what_a_result_has_instead() -> None:
    assert ".get is .refresh() until .is_finished" in left("add.delay(1).get(timeout=3)").reason


@pytest.mark.parametrize(
    ("imports", "caught"),
    [
        ("from kombu.exceptions import OperationalError", "OperationalError"),
        ("import celery.exceptions", "(ValueError, celery.exceptions.CeleryError)"),
        ("", "ConnectionError"),
        ("ERRORS = make()", "ERRORS[0]"),
    ],
)
def test_a_call_around_which_the_brokers_trouble_is_caught_is_left(imports: str, caught: str) -> None:
    finding = left(f"{imports}\ntry:\n    add.delay(1)\nexcept {caught}:\n    pass")
    assert "EnqueueError" in finding.reason


def test_a_call_around_which_the_brokers_trouble_is_suppressed_is_left() -> None:
    text = "from kombu.exceptions import OperationalError\nimport contextlib\n"
    assert "EnqueueError" in left(text + "with contextlib.suppress(OperationalError):\n    add.delay(1)").reason


@pytest.mark.parametrize(
    "text", ["callback = add.delay", "run(add.delay)", "signal.connect(add.delay)", "partial(add.delay, 1)"]
)
def test_what_is_passed_on_to_be_called_is_left(text: str) -> None:
    assert "passed on" in left(f"from functools import partial\n{text}").reason


# --- what moves


@pytest.mark.parametrize(
    "text",
    [
        "add.delay(1)",
        "def f(a: int, b: str | None):\n    add.delay(a, b=b)",
        "def f(order):\n    add.delay(order.pk, [order.customer_id])",
        "def f():\n    x = add.delay(1)\n    return x.id",
        "def f():\n    return add.delay(1).id",
        "def f():\n    x = add.delay(1)\n    print(f'{x.id}')\n    return lambda: x.id",
        "try:\n    add.delay(1)\nexcept ValueError:\n    pass",
        "try:\n    add.delay(1)\nexcept Exception:\n    pass",
        "from kombu.exceptions import OperationalError\ntry:\n    pass\nexcept OperationalError:\n    add.delay(1)",
        "[add.delay(each) for each in range(3)]",
        "def f(sure):\n    sure and add.delay(1)",
        "def f(sure):\n    add.delay(1) if sure else mail",
        "from django.db import transaction\ntransaction.on_commit(lambda: add.delay(1), robust=True)",
        "from django.db import transaction\ntransaction.on_commit(add.delay)",
        "from django.db.transaction import on_commit\nfrom functools import partial\non_commit(partial(add.delay, 1))",
    ],
)
def test_a_call_moves(text: str) -> None:
    [finding] = found(text)
    assert (finding.verdict, finding.fixer, finding.name) == (Verdict.MOVES, "delay", "shop.tasks.add.delay")
    assert "needs" not in finding.facts


def test_a_call_moves_together_with_the_definition() -> None:
    [finding] = found("add.delay(1)", tasks=CELERYS, moving=("add",))
    assert finding.verdict is Verdict.MOVES
    assert finding.facts["needs"] == ["task"]


def test_what_is_assumed_to_be_json_is_not_asked_about() -> None:
    [finding] = found("def f(order, orders, more):\n    add.delay(order, *orders, **more)", assume_json=True)
    assert finding.verdict is Verdict.MOVES


def test_what_is_proven_to_be_no_json_is_not_assumed_to_be() -> None:
    assert "known to be JSON" in left("add.delay({1, 2})", assume_json=True).reason


def test_now_is_naive_where_the_project_has_no_time_zones() -> None:
    text = "from django.utils import timezone\nadd.apply_async((1,), eta=timezone.now())"
    assert "time zone" in left(text, use_tz=False).reason
    assert found(text)[0].verdict is Verdict.MOVES
