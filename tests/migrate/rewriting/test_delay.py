from __future__ import annotations

import pytest

from tests.migrate.calling import CELERYS, rewritten, same


@pytest.mark.parametrize(
    "text",
    [
        "timer.delay(1)\n",
        "def f(add):\n    add.delay(1)\n",
        "def f(order):\n    add.delay(order)\n",
        "add.delay(1).get()\n",
        "callback = add.delay\n",
        "from shop.other import mail\nmail.delay(1)\n",
        "add.s(1).delay()\n",
        "# add.delay(1)\n'add.delay(1)'\n",
        "add.enqueue(1)\n",
    ],
)
def test_what_is_not_proven_stays_as_it_is(text: str) -> None:
    assert same(text)


def test_calls_of_what_stays_a_celery_task_stay() -> None:
    assert same("add.delay(1)\n", tasks=CELERYS)


def test_calls_stay_where_the_definition_is_not_to_be_changed() -> None:
    assert same("add.delay(1)\n", tasks=CELERYS, moving=("add",), only=("delay",))


def test_delay_becomes_enqueue() -> None:
    assert rewritten("add.delay(1, b=2)\n") == "add.enqueue(1, b=2)\n"


def test_calls_move_with_the_definition() -> None:
    assert rewritten("add.delay(1)\n", tasks=CELERYS, moving=("add",)) == "add.enqueue(1)\n"


@pytest.mark.parametrize(
    ("imports", "called"),
    [
        ("from shop import tasks", "tasks.add"),
        ("import shop.tasks", "shop.tasks.add"),
        ("import shop.tasks as t", "t.add"),
        ("from . import tasks", "tasks.add"),
        ("from .tasks import add as plus", "plus"),
        ("from .api import add as plus", "plus"),
    ],
)
def test_a_task_is_known_by_whatever_name_it_has(imports: str, called: str) -> None:
    after = rewritten(f"{imports}\n{called}.delay(1)\n", api="from shop.tasks import add\n")
    assert after == f"{imports}\n{called}.enqueue(1)\n"


def test_a_task_that_a_function_imports_is_known_in_it() -> None:
    text = "def f():\n    from shop.tasks import mail as post\n    post.delay(1)\n"
    assert rewritten(text) == text.replace("delay", "enqueue")


def test_layout_and_comments_stay() -> None:
    text = """
        add . delay(  # later
            1,
            # the second
            b = 2,  # two
        )
        (
            add
            .delay(1)
        )
    """
    from textwrap import dedent

    assert rewritten(text) == dedent(text).replace("delay", "enqueue")


def test_what_is_called_on_commit_is_enqueued_on_commit() -> None:
    text = "from django.db import transaction\ndef f(order):\n    transaction.on_commit(lambda: add.delay(order.pk))\n"
    assert rewritten(text) == text.replace("delay", "enqueue")


def test_what_a_partial_calls_on_commit_is_enqueued_on_commit() -> None:
    text = "from functools import partial\nfrom django.db import transaction\ntransaction.on_commit(partial(add.delay, 1))\n"
    assert rewritten(text) == text.replace("delay", "enqueue")
