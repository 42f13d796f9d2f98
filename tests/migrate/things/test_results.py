from __future__ import annotations

import pytest

from tasks_celery.migrate.finding import Verdict
from tests.migrate.calling import found, left

ASYNC = "from celery.result import AsyncResult\n"


@pytest.mark.parametrize("text", ["Result(1)", "own.Result(1)", "x: 'AsyncResult'", "AsyncResult = 1\nAsyncResult(1)"])
def test_what_is_no_result_of_celerys_is_not_found(text: str) -> None:
    assert not found(text, kind="result")


@pytest.mark.parametrize(
    "text",
    [
        f"{ASYNC}AsyncResult(id).id",
        f"{ASYNC}AsyncResult(id).ready()",
        "from celery import result\nresult.AsyncResult(id).state",
        "from celery import Celery\napp = Celery()\napp.AsyncResult(id).get()",
        "add.AsyncResult(id).successful()",
        f"{ASYNC}def f(id):\n    return AsyncResult(id)",
        f"{ASYNC}def f(id):\n    x = AsyncResult(id)\n    return x.state, x.result",
    ],
)
def test_a_result_is_left_for_what_an_unknown_id_means(text: str) -> None:
    finding = left(text, kind="result")
    assert finding.verdict is Verdict.PERSON
    assert "TaskResultDoesNotExist" in finding.reason


@pytest.mark.parametrize(
    ("used", "instead"),
    [
        (".state", ".state is .status"),
        (".ready()", ".ready is .is_finished"),
        (".result", ".result is .return_value"),
        (".get(timeout=1)", ".get is .refresh()"),
        (".revoke()", ".revoke is .cancel()"),
        (".build_graph()", ".build_graph has no like"),
    ],
)
def test_the_reason_says_what_to_write_instead(used: str, instead: str) -> None:
    assert instead in left(f"{ASYNC}AsyncResult(id){used}", kind="result").reason


def test_the_results_of_a_group_stay() -> None:
    finding = left("from celery.result import GroupResult\nGroupResult(id, [])", kind="result")
    assert finding.verdict is Verdict.STAYS


@pytest.mark.parametrize(
    "text",
    [
        "AsyncResult(id).state",
        "AsyncResult(id, app=app).id",
        "AsyncResult(id).ready",
        "AsyncResult(id).get()",
        "x = AsyncResult(id)",
    ],
)
def test_what_means_something_else_is_left_though_ids_are_known(text: str) -> None:
    assert left(ASYNC + text, kind="result", assume_known_ids=True).verdict is Verdict.PERSON


def test_a_result_that_is_made_in_two_ways_is_left() -> None:
    text = f"{ASYNC}def f(id, sure):\n    x = None\n    if sure:\n        x = AsyncResult(id)\n    return x.ready()"
    assert left(text, kind="result", assume_known_ids=True)


@pytest.mark.parametrize("text", ["AsyncResult(id).id", "AsyncResult(id=id).ready()", "not AsyncResult(id).failed()"])
def test_what_means_the_same_moves_where_ids_are_known(text: str) -> None:
    [finding] = found(ASYNC + text, kind="result", assume_known_ids=True)
    assert (finding.verdict, finding.fixer) == (Verdict.MOVES, "result")


@pytest.mark.parametrize(("use", "said"), [("ready()", True), ("id", True), ("get()", False), ("state", False)])
def test_a_result_that_would_move_by_its_known_id_says_how(use: str, said: bool) -> None:
    finding = left(f"from celery.result import AsyncResult\nAsyncResult(id).{use}\n", kind="result")
    assert ("--assume-known-ids" in finding.reason) is said
