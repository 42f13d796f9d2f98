from __future__ import annotations

from textwrap import dedent

import pytest

from tests.migrate.calling import CELERYS, rewritten, same

DB = "from django.db import transaction\n"


@pytest.mark.parametrize(
    "text",
    [
        "transaction.on_commit(waits)\n",
        "transaction.on_commit(lambda: waits.delay(1), using='other')\n".replace("waits.delay", "waits.enqueue"),
        "def f(order):\n    transaction.on_commit(lambda: waits.delay(order))\n",
        "for n in range(3):\n    transaction.on_commit(lambda: print(n))\n",
    ],
)
def test_what_is_not_proven_stays_as_it_is(text: str) -> None:
    assert same(DB + text)


def test_without_its_definition_a_call_stays() -> None:
    text = DB + "transaction.on_commit(lambda: mail.delay(1))\n"
    assert same(text, tasks=CELERYS, moving=("mail",), only=("on-commit", "delay"))


def test_without_the_call_in_it_on_commit_stays() -> None:
    assert same(DB + "transaction.on_commit(lambda: waits.delay(1))\n", only=("on-commit",))


@pytest.mark.parametrize("call", ["mail.delay_on_commit(1)\n", "mail.apply_async_on_commit((1,), countdown=5)\n"])
def test_celerys_own_ways_stay_with_celerys_tasks(call: str) -> None:
    assert same(call, tasks=CELERYS)


def test_on_commit_goes_where_the_task_waits_by_itself() -> None:
    assert rewritten(DB + "transaction.on_commit(lambda: waits.delay(1))\n") == "waits.enqueue(1)\n"


def test_an_import_that_is_used_otherwise_stays() -> None:
    text = DB + "with transaction.atomic():\n    transaction.on_commit(lambda: waits.delay(1))\n"
    assert rewritten(text) == DB + "with transaction.atomic():\n    waits.enqueue(1)\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("transaction.on_commit(waits.delay)", "waits.enqueue()"),
        ("transaction.on_commit(lambda: waits.enqueue(1))", "waits.enqueue(1)"),
        ("transaction.on_commit(partial(waits.delay, 1, b=2))", "waits.enqueue(1, b=2)"),
        (
            "transaction.on_commit(lambda: waits.apply_async((1,), queue='a'))",
            "waits.using(queue_name='a').enqueue(1)",
        ),
        ("waits.delay_on_commit(1, b=2)", "waits.enqueue(1, b=2)"),
        ("waits.apply_async_on_commit((1,), queue='a')", "waits.using(queue_name='a').enqueue(1)"),
        ("waits.delay_on_commit(thing)", "transaction.on_commit(partial(waits.delay, thing))"),
        ("mail.delay_on_commit(1)", "transaction.on_commit(partial(mail.enqueue, 1))"),
        ("mail.delay_on_commit()", "transaction.on_commit(partial(mail.enqueue))"),
        (
            "mail.apply_async_on_commit((thing,), link=other)",
            "transaction.on_commit(partial(mail.apply_async, (thing,), link=other))",
        ),
    ],
)
def test_what_becomes_of_the_ways_to_wait(before: str, after: str) -> None:
    imports = "from functools import partial\n" + DB
    kept = f"{imports}use(transaction, partial)\ndef f(thing, other):\n    "
    assert rewritten(f"{kept}{before}\n").endswith(f"    {after}\n")


def test_what_celerys_own_way_needs_is_imported() -> None:
    after = rewritten("def f(thing):\n    mail.delay_on_commit(thing)\n")
    assert "from django.db import transaction\n" in after
    assert "from functools import partial\n" in after
    assert after.endswith("    transaction.on_commit(partial(mail.delay, thing))\n")


def test_names_that_are_taken_are_left_their_meaning() -> None:
    after = rewritten("transaction = 1\ndef f(thing, partial):\n    mail.delay_on_commit(thing)\n")
    assert after.endswith("    db_transaction.on_commit(functools_partial(mail.delay, thing))\n")


def test_comments_stay() -> None:
    before = """
        from django.db import transaction

        def f(n: int):
            transaction.on_commit(
                # not before
                lambda: waits.delay(
                    n,  # the number
                )  # then
            )
            mail.delay_on_commit(  # one
                n,  # two
                # three
            )
    """
    after = rewritten(before)
    assert "on_commit(\n        # not before" not in after
    assert "waits.enqueue(" in after


def test_calls_move_with_the_definition() -> None:
    text = DB + "transaction.on_commit(lambda: mail.delay(1))\n"
    # Only here, for the definition is not in this file: the tests of the whole have both.
    from tasks_celery.migrate.rewriting import rewrite
    from tests.migrate.calling import IMPORTS, PATH, project_of

    project = project_of(IMPORTS + text, tasks=CELERYS, moving=("mail",))
    assert rewrite(IMPORTS + dedent(text), path=PATH, project=project).text == IMPORTS + "mail.enqueue(1)\n"


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n    return {}",
        "x = {}",
        "f(lambda: {})",
        "print(f'{{{}}}')",
        "try:\n    {}\nexcept kombu.exceptions.OperationalError:\n    pass",
    ],
)
@pytest.mark.parametrize("task", ["mail", "waits"])
def test_what_a_call_on_commit_returns_and_raises_stays(text: str, task: str) -> None:
    head = "import kombu\nfrom functools import partial\nfrom django.db import transaction\n"
    after = rewritten(head + text.format(f"{task}.delay_on_commit(1)"))
    raising = "try:" in text
    assert text.format(f"transaction.on_commit(partial({task}.{'delay' if raising else 'enqueue'}, 1))") in after
