from __future__ import annotations

import pytest

from tasks_celery.migrate.finding import Verdict
from tasks_celery.migrate.things.commits import wants_on_commit
from tests.migrate.calling import CELERYS, IMPORTS, found, left, project_of

DB = "from django.db import transaction\n"
LAMBDA = DB + "transaction.on_commit(lambda: mail.delay(1))\n"


def wanted(text: str, task: str = "mail", **given: object) -> str | bool | None:
    return wants_on_commit(project_of(IMPORTS + text, **given), f"shop.tasks.{task}")  # type: ignore[arg-type]


# --- whether the task may wait for the commit by itself


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mail.delay(1)\n",
        LAMBDA + "mail.delay(1)\n",
        LAMBDA + "mail.apply_async((1,))\n",
        LAMBDA + "mail.s(1)\n",
        LAMBDA + "run(mail)\n",
        LAMBDA + "app.send_task('shop.tasks.mail')\n",
        LAMBDA + "chain(mail.si(1))\n",
        "own.on_commit(lambda: mail.delay(1))\n",
    ],
)
def test_a_task_that_is_sent_without_a_commit_too_does_not_wait(text: str) -> None:
    assert wanted(text, tasks=CELERYS) is None


def test_what_is_no_task_does_not_wait() -> None:
    assert wanted(LAMBDA, "nothing", tasks=CELERYS) is None


def test_a_task_that_has_moved_waits_if_it_says_so() -> None:
    assert wanted(LAMBDA) is None
    assert wanted(LAMBDA, "waits") is True


@pytest.mark.parametrize(
    "text",
    [
        LAMBDA,
        LAMBDA + "mail(1)\n",
        DB + "from functools import partial\ntransaction.on_commit(partial(mail.delay, 1))\n",
        DB + "transaction.on_commit(mail.delay)\n",
        "mail.delay_on_commit(1)\nmail.apply_async_on_commit((1,))\n",
    ],
)
def test_a_task_that_is_only_sent_on_commit_waits(text: str) -> None:
    assert wanted(text, tasks=CELERYS) is True


# --- calls that stay


@pytest.mark.parametrize(
    "text", ["transaction.on_commit(f)\n", "transaction.on_commit(lambda: print(1))\n", "own.on_commit(add.delay)\n"]
)
def test_what_sends_no_task_is_not_of_interest(text: str) -> None:
    assert not found(DB + text, kind="commit")


@pytest.mark.parametrize(
    "text",
    [
        "transaction.on_commit(lambda: add.delay(1))",  # which does not wait by itself
        "transaction.on_commit(lambda: waits.delay(1), using='other')",
        "transaction.on_commit(lambda: waits.delay(1), robust=True)",
        "transaction.on_commit(lambda: waits.delay(1), 'other')",
        "x = transaction.on_commit(lambda: waits.delay(1))",
        "f(transaction.on_commit(lambda: waits.delay(1)))",
        "def f(order):\n    transaction.on_commit(lambda: waits.delay(order))",
        "transaction.on_commit(partial(waits.apply_async, (1,)))",
        # What is looked up late.
        "def f(n: int):\n    transaction.on_commit(lambda: waits.delay(n))\n    n = 2",
        "def f(ns: list[int]):\n    transaction.on_commit(lambda: waits.delay(ns))",
        "def f(ns: list[int]):\n    transaction.on_commit(partial(waits.delay, ns))",
        "def f(order):\n    transaction.on_commit(lambda: waits.delay(order.pk))",
        "def f(order):\n    transaction.on_commit(lambda: waits.delay(order.pk))\n    order.save()",
        "def f(order):\n    order.save()\n    transaction.on_commit(lambda: waits.delay(order.pk))\n    order.delete()",
        "def f(order):\n    order.save()\n    transaction.on_commit(lambda: waits.delay(order.pk))\n    order.pk = None",
        "def f(sure, order):\n    if sure:\n        order.save()\n    transaction.on_commit(lambda: waits.delay(order.pk))",
        "def f(order):\n    order.save()\n    transaction.on_commit(lambda: waits.delay(order.customer_id))",
        "def f(request):\n    transaction.on_commit(lambda: waits.delay(request.GET.get('n')))",
        "def f():\n    n = 1\n    def g():\n        nonlocal n\n        n = 2\n    transaction.on_commit(lambda: waits.delay(n))",
    ],
)
def test_a_call_whose_meaning_might_change_stays(text: str) -> None:
    assert left(f"{DB}from functools import partial\n{text}", kind="commit").verdict is not Verdict.UNSAFE


@pytest.mark.parametrize(
    "loop",
    [
        "for n in range(3):\n        transaction.on_commit(lambda: waits.delay(n))",
        "for each in range(3):\n        n = each + 1\n        transaction.on_commit(lambda: waits.delay(n))",
        "while True:\n        n = 1\n        transaction.on_commit(lambda: waits.delay(n))",
        "for n in range(3):\n        transaction.on_commit(lambda: waits.delay(n.pk))",
    ],
)
def test_a_lambda_that_looks_up_a_loops_variable_is_wrong_today(loop: str) -> None:
    finding = left(f"{DB}def f(n: int):\n    {loop}", kind="commit")
    assert finding.verdict is Verdict.UNSAFE
    assert "the last" in finding.reason


@pytest.mark.parametrize("call", ["mail.delay_on_commit(1)", "mail.apply_async_on_commit((1,))"])
def test_celerys_own_ways_stay_with_celerys_tasks(call: str) -> None:
    assert left(call, kind="commit", tasks=CELERYS).verdict is Verdict.STAYS


def test_celerys_own_way_that_is_passed_on_is_left() -> None:
    assert "passed on" in left("f(mail.delay_on_commit)", kind="commit").reason


# --- calls that move


@pytest.mark.parametrize(
    "text",
    [
        "transaction.on_commit(lambda: waits.delay(1))",
        "transaction.on_commit(lambda: waits.apply_async((1,), countdown=5))",
        "transaction.on_commit(lambda: waits.enqueue(1))",
        "transaction.on_commit(func=lambda: waits.delay(1))",
        "transaction.on_commit(waits.delay)",
        "def f(n: int):\n    transaction.on_commit(partial(waits.delay, n, b=f'{n}'))",
        "def f(n: int):\n    transaction.on_commit(lambda: waits.delay(n))",
        "def f(n: int | None, order_id):\n    transaction.on_commit(lambda: waits.delay([n], {'a': str(n)}))",
        "def f():\n    for n in range(3):\n        transaction.on_commit(partial(waits.delay, str(n)))",
        "def f(order):\n    transaction.on_commit(partial(waits.delay, order.pk))",
        "def f(order):\n    order.save()\n    transaction.on_commit(lambda: waits.delay(order.pk))",
        "def f(order, sure):\n    order.save()\n    if sure:\n        transaction.on_commit(lambda: waits.delay(order.pk))",
        "def f():\n    order = Order.objects.create()\n    transaction.on_commit(lambda: waits.delay(order.id))",
    ],
)
def test_a_call_whose_task_waits_by_itself_moves(text: str) -> None:
    [finding] = found(f"{DB}from functools import partial\n{text}", kind="commit")
    assert (finding.verdict, finding.fixer) == (Verdict.MOVES, "on-commit"), finding


def test_a_call_moves_together_with_its_definition_and_what_it_calls() -> None:
    [finding] = found(LAMBDA, kind="commit", tasks=CELERYS, moving=("mail",))
    assert finding.facts["needs"] == ["task", "delay"]


@pytest.mark.parametrize(
    "given", ["lambda: waits.delay(1)", "partial(waits.delay, 1)", "waits.delay", "func=waits.delay"]
)
def test_what_is_caught_around_on_commit_keeps_the_call(given: str) -> None:
    head = f"{DB}import kombu\nfrom functools import partial\n"
    text = f"{head}try:\n    transaction.on_commit({given})\nexcept kombu.exceptions.OperationalError: ...\n"
    assert "caught around" in left(text, kind="commit").reason
    assert "caught around" in left(text).reason
