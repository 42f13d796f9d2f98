from __future__ import annotations

from textwrap import dedent

import pytest

from tests.migrate.calling import CELERYS, left, rewritten, same

DELTA = "from datetime import timedelta\n"

# --- what stays


@pytest.mark.parametrize(
    "options",
    [
        "priority=5",
        "link=mail.s()",
        "link_error=[mail.s()]",
        "headers={'a': 1}",
        "serializer='pickle'",
        "task_id='x'",
        "producer=p",
        "connection=c",
        "retry=False",
        "retry_policy={}",
        "shadow='x'",
        "routing_key='x'",
        "exchange='x'",
        "whatever=1",
        "**options",
        "countdown=wait",
        "countdown=settings.WAIT",
        "countdown=5, eta=now()",
        "eta=when",
        "eta=datetime.now()",
        "eta=datetime.now(None)",
        "eta=datetime.utcnow()",
        "eta=timezone.now().replace(tzinfo=None)",
        "expires=0",
        "expires=soon",
        "queue=queue",
        "queue=Queue('fast')",
        "time_limit=limit",
        "ignore_result=flag",
        "compression=name",
        "soft_time_limit=0",
    ],
)
def test_an_option_that_using_cannot_say_keeps_the_call(options: str) -> None:
    imports = "from datetime import datetime\nfrom django.utils import timezone\nfrom django.conf import settings\n"
    text = f"{imports}def f(wait, when, soon, queue, limit, flag, name, options, p, c):\n    add.apply_async((1,), {options})\n"
    assert same(text)
    assert left(text).reason


@pytest.mark.parametrize(
    "arguments",
    [
        "(order,)",
        "[1, order]",
        "args",
        "args=args",
        "(1,), kwargs",
        "kwargs=kwargs",
        "kwargs={'order': order}",
        "kwargs={'self': 1}",
        "kwargs={order: 1}",
        "kwargs={**kwargs}",
        "(*args,)",
        "(x for x in range(3))",
        "(1,), {}, 'id'",
        "*args",
        "order.args",
    ],
)
def test_arguments_that_are_not_known_keep_the_call(arguments: str) -> None:
    text = f"def f(order, args, kwargs):\n    add.apply_async({arguments})\n"
    assert same(text)


def test_a_list_that_something_else_may_change_keeps_the_call() -> None:
    assert same("def f():\n    args = [1]\n    fill(args)\n    add.apply_async(args)\n")


def test_a_list_on_one_way_only_keeps_the_call() -> None:
    assert same("def f(sure):\n    args = None\n    if sure:\n        args = [1]\n    add.apply_async(args)\n")


def test_a_countdown_that_may_be_none_keeps_the_call() -> None:
    assert same("def f(wait: int = None):\n    add.apply_async((1,), countdown=wait)\n")
    assert same("def f(sure):\n    add.apply_async((1,), countdown=5 if sure else None)\n")


def test_the_result_is_looked_at_as_with_delay() -> None:
    assert same("def f():\n    return add.apply_async((1,), countdown=5)\n")


def test_calls_of_what_stays_a_celery_task_stay() -> None:
    assert same("add.apply_async((1,))\n", tasks=CELERYS)


def test_priority_tells_how_djangos_counts() -> None:
    assert "-100 to 100" in left("add.apply_async((1,), priority=5)").reason


# --- what moves


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("()", "add.enqueue()"),
        ("(), {}", "add.enqueue()"),
        ("None, None", "add.enqueue()"),
        ("[]", "add.enqueue()"),
        ("(1,)", "add.enqueue(1)"),
        ("[1, 2]", "add.enqueue(1, 2)"),
        ("args=(1, 2)", "add.enqueue(1, 2)"),
        ("kwargs={'a': 1, 'b': 2}", "add.enqueue(a=1, b=2)"),
        ("(1,), {'b': 2}", "add.enqueue(1, b=2)"),
        ("kwargs={'b': 2}, args=[1]", "add.enqueue(1, b=2)"),
        ("kwargs=dict(a=1)", "add.enqueue(**dict(a=1))"),
        ("(1,), countdown=0", "add.enqueue(1)"),
        ("(1,), countdown=None, eta=None, queue=None", "add.enqueue(1)"),
        ("(1,), queue='fast'", "add.using(queue_name='fast').enqueue(1)"),
        ("(1,), queue=f'q{1}'", "add.using(queue_name=f'q{1}').enqueue(1)"),
        ("(1,), expires=60 * 5", "add.using(expires=60 * 5).enqueue(1)"),
        ("(1,), time_limit=5, soft_time_limit=4", "add.using(time_limit=5, soft_time_limit=4).enqueue(1)"),
        (
            "(1,), compression='gzip', ignore_result=True",
            "add.using(compression='gzip', ignore_result=True).enqueue(1)",
        ),
        ("queue='fast', args=[1]", "add.using(queue_name='fast').enqueue(1)"),
    ],
)
def test_a_call_becomes_enqueue(before: str, after: str) -> None:
    call = f"add.apply_async({before})\n" if before != "()" else "add.apply_async()\n"
    assert rewritten(call) == after + "\n"


@pytest.mark.parametrize(
    "seconds",
    [
        "60",
        "1.5",
        "60 * wait",
        "int(wait)",
        "random.randint(1, 5)",
        "wait or 5",
        "5 if wait else 6",
        "delta.total_seconds()",
        "-1",
    ],
)
def test_a_countdown_becomes_the_time_to_run_after(seconds: str) -> None:
    text = f"import random\ndef f(wait, delta):\n    add.apply_async((1,), countdown={seconds})\n"
    after = f"    add.using(run_after=timedelta(seconds={seconds})).enqueue(1)\n"
    assert rewritten(text).splitlines(keepends=True)[-1] == after
    assert DELTA in rewritten(text)


@pytest.mark.parametrize(
    ("body", "wait"),
    [
        ("wait = 5", "wait"),
        ("wait = 5\n    wait += 5", "wait"),
        ("wait = 5 * n", "wait"),
        ("pass", "n"),
    ],
)
def test_a_name_is_a_countdown_where_it_is_a_number_for_certain(body: str, wait: str) -> None:
    text = f"{DELTA}def f(n: int):\n    {body}\n    add.apply_async((1,), countdown={wait})\n"
    assert rewritten(text).endswith(f"    add.using(run_after=timedelta(seconds={wait})).enqueue(1)\n")


@pytest.mark.parametrize(
    ("imports", "written"),
    [
        ("from datetime import timedelta", "timedelta"),
        ("from datetime import timedelta as delta", "delta"),
        ("import datetime", "datetime.timedelta"),
        ("import datetime as dt", "dt.timedelta"),
    ],
)
def test_timedelta_is_called_as_the_file_calls_it(imports: str, written: str) -> None:
    after = rewritten(f"{imports}\nadd.apply_async((1,), countdown=5)\n")
    assert after == f"{imports}\nadd.using(run_after={written}(seconds=5)).enqueue(1)\n"


def test_timedelta_gets_another_name_where_its_own_is_taken() -> None:
    after = rewritten("timedelta = 5\nadd.apply_async((1,), countdown=timedelta * 2)\n")
    assert "from datetime import timedelta as datetime_timedelta\n" in after
    assert "run_after=datetime_timedelta(seconds=timedelta * 2)" in after


@pytest.mark.parametrize(
    "eta",
    [
        "timezone.now()",
        "timezone.now() + delta",
        "delta + timezone.now()",
        "timezone.localtime().replace(hour=3)",
        "timezone.make_aware(moment)",
        "datetime.now(UTC)",
        "datetime.now(tz=UTC) + delta",
    ],
)
def test_an_aware_eta_is_the_time_to_run_after(eta: str) -> None:
    imports = "from datetime import UTC, datetime\nfrom django.utils import timezone\n"
    text = f"{imports}def f(delta, moment):\n    add.apply_async((1,), eta={eta})\n"
    assert rewritten(text) == f"{imports}def f(delta, moment):\n    add.using(run_after={eta}).enqueue(1)\n"


def test_a_name_of_an_aware_time_is_the_time_to_run_after() -> None:
    text = "from django.utils import timezone\ndef f(delta):\n    when = timezone.now()\n    when += delta\n    add.apply_async(eta=when)\n"
    assert rewritten(text).endswith("    add.using(run_after=when).enqueue()\n")


def test_names_of_lists_and_dicts_are_spread() -> None:
    text = (
        "def f():\n    args, more = 1, 2\n    given = [1, 2]\n    named = {'b': 2}\n    add.apply_async(given, named)\n"
    )
    assert rewritten(text).endswith("    add.enqueue(*given, **named)\n")


def test_comments_stay_with_what_they_are_about() -> None:
    before = """
        def f():
            x = add.apply_async(  # first
                # the arguments
                args=[1, 2],  # a pair
                # and then
                countdown=60,  # a minute
                queue="fast",
            )
            return x.id
    """
    after = """
        from datetime import timedelta

        def f():
            x = add.using(
                run_after=timedelta(seconds=60),  # a minute
                queue_name="fast",
            ).enqueue(
                # first
                # the arguments
                1,
                2,  # a pair
                # and then
            )
            return x.id
    """
    assert rewritten(before).strip() == dedent(after).strip()


def test_comments_in_lists_and_dicts_stay() -> None:
    before = """
        add.apply_async(
            [
                1,  # one
                2,
            ],  # the pair
            {
                # more
                "c": 3,  # three
            },
        )
    """
    rewritten(before)  # asks for the comments itself


def test_comments_in_calls_that_begin_in_their_line_stay() -> None:
    rewritten("add.apply_async((1,  # one\n                 2), countdown=5,  # five\n                queue='fast')\n")
    rewritten("add.apply_async((1, 2),\n                countdown=5  # five\n                )\n")


def test_a_call_of_several_lines_keeps_its_lines() -> None:
    before = """
        add.apply_async(
            args=[1, 2],
            kwargs={"c": 3},
            queue="fast",
        )
    """
    after = """
        add.using(
            queue_name="fast",
        ).enqueue(
            1,
            2,
            c=3,
        )
    """
    assert rewritten(before) == dedent(after)


def test_calls_within_calls_move_both() -> None:
    assert rewritten("add.apply_async((mail.delay(1).id,), queue='a')\n") == (
        "add.using(queue_name='a').enqueue(mail.enqueue(1).id)\n"
    )
