from __future__ import annotations

import pytest

from tasks_celery.migrate.finding import Verdict
from tests.migrate.moving import SHARED, findings


def bound(body: str, options: str = "bind=True") -> str:
    return f"{SHARED}@shared_task({options})\ndef add(self):\n    {body}\n"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("self.update_state(state='A')", "It uses self.update_state:"),
        ("print(self.request.delivery_info)", "It uses self.request.delivery_info:"),
        ("print(self.max_retries, self.name)", "It uses self.max_retries, it uses self.name:"),
        ("print(self)", "It passes self on:"),
        ("self.a = 1", "It assigns to self.a:"),
        ("print(lambda: self.request.id)", "in a function within:"),
        ("self = 1", "It binds self once more, it passes self on:"),
        ("raise self.retry(max_retries=1, throw=False)", "It gives self.retry() max_retries, throw:"),
        ("raise self.retry(1)", "arguments by position:"),
        ("raise self.retry(**more)", "It gives self.retry() **:"),
        ("x = self.retry()", "It goes on after self.retry():"),
    ],
)
def test_what_the_context_cannot_do_is_told(body: str, why: str) -> None:
    [it] = findings(bound(body), kind="context")
    assert it.verdict is Verdict.PERSON
    assert why in it.reason


def test_a_context_goes_with_its_decorator() -> None:
    [it] = findings(bound("print(self.request.id)", "bind=True, base=Own"), kind="context")
    assert (it.verdict, it.fixer) == (Verdict.STAYS, "")


def test_a_task_that_is_not_bound_has_no_context() -> None:
    assert findings(bound("pass", "bind=False"), kind="context") == []


def test_both_findings_need_each_other() -> None:
    text = bound("print(self.request.id)")
    [context], [task] = findings(text, kind="context"), findings(text, kind="task")
    assert (context.fixer, context.facts["needs"]) == ("context", ["task"])
    assert (task.fixer, task.facts["needs"]) == ("task", ["context"])
