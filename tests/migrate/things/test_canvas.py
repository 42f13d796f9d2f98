from __future__ import annotations

import pytest

from tasks_celery.migrate.finding import Verdict
from tests.migrate.calling import CELERYS, found, left

CELERY = "from celery import chain, chord, group, signature\nimport celery\n"


@pytest.mark.parametrize(
    "text",
    [
        "s(1)",
        "thing.s(1)",
        "add.delay(1)",
        "{1} | {2}",
        "int | str",
        "chain = 1",
        "def f(group):\n    group(1)",
        "add.map",
        "xs.map(1)",
    ],
)
def test_what_is_no_canvas_for_certain_is_not_found(text: str) -> None:
    assert not found(text, kind="canvas")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("chain(1)", "chain"),
        ("celery.group([])", "group"),
        ("from celery.canvas import chord as c\nc([])", "chord"),
        ("add.s(1)", "shop.tasks.add.s"),
        ("add.si(1)", "shop.tasks.add.si"),
        ("add.signature((1,))", "shop.tasks.add.signature"),
        ("signature('shop.tasks.add')", "signature"),
        ("app.send_task('shop.tasks.add')", "app.send_task"),
    ],
)
@pytest.mark.parametrize("tasks", [CELERYS, None])
def test_canvas_stays(text: str, name: str, tasks: str | None) -> None:
    finding = left(CELERY + text, kind="canvas", **({"tasks": tasks} if tasks else {}))
    assert (finding.name, finding.verdict) == (name, Verdict.STAYS)


def test_the_bars_of_a_chain_are_one_chain() -> None:
    findings = found("job = add.s(1) | mail.s() | add.s(2)", kind="canvas")
    assert [each.name for each in findings].count("chain") == 1
    assert {each.verdict for each in findings} == {Verdict.STAYS}


@pytest.mark.parametrize("name", ["chunks", "map", "starmap", "subtask"])
def test_what_a_django_task_does_not_answer_needs_a_person(name: str) -> None:
    text = f"add.{name}([1], 2)"
    before, after = left(text, kind="canvas", tasks=CELERYS), left(text, kind="canvas")
    assert (before.verdict, after.verdict) == (Verdict.PERSON, Verdict.UNSAFE)
    assert f"no .{name}" in before.reason


@pytest.mark.parametrize("name", ["chunks", "subtask"])
def test_an_adopted_task_answers_as_before(name: str) -> None:
    tasks = "from celery import shared_task\nfrom tasks_celery import adopt\n@shared_task\ndef old(): ...\nadd = adopt(old)\nmail = waits = 1\n"
    assert left(f"add.{name}([1], 2)", kind="canvas", tasks=tasks).verdict is Verdict.STAYS


def test_what_is_sent_by_its_name_goes_on_by_its_name() -> None:
    assert "by its name" in left("app.send_task('shop.tasks.add')", kind="canvas").reason
