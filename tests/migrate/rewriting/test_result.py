from __future__ import annotations

import pytest

from tests.migrate.calling import rewritten, same

ASYNC = "from celery.result import AsyncResult\n"


@pytest.mark.parametrize(
    "text", ["AsyncResult(id).id\n", "AsyncResult(id).ready()\n", "def f(id):\n    return AsyncResult(id)\n"]
)
def test_a_result_stays_where_ids_may_be_unknown(text: str) -> None:
    assert same(ASYNC + text)


@pytest.mark.parametrize(
    "text",
    [
        "AsyncResult(id).state\n",
        "AsyncResult(id).get()\n",
        "AsyncResult(id, app=app).ready()\n",
        "f(AsyncResult(id))\n",
    ],
)
def test_what_means_something_else_stays(text: str) -> None:
    assert same(ASYNC + text, assume_known_ids=True)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("AsyncResult(id).id", "default_task_backend.get_result(id).id"),
        ("AsyncResult(id=id).task_id", "default_task_backend.get_result(id).id"),
        ("AsyncResult(id).ready()", "default_task_backend.get_result(id).is_finished"),
        ("not AsyncResult(id).failed()", "not (default_task_backend.get_result(id).status == TaskResultStatus.FAILED)"),
        (
            "x = AsyncResult(id).successful()",
            "x = default_task_backend.get_result(id).status == TaskResultStatus.SUCCESSFUL",
        ),
    ],
)
def test_what_means_the_same_is_said_in_djangos_words(before: str, after: str) -> None:
    text = rewritten(f"{ASYNC}{before}\n", assume_known_ids=True)
    assert text.endswith(f"{after}\n")
    assert "celery" not in text
    assert "from django.tasks import" in text
    assert ("import TaskResultStatus" in text) == ("TaskResultStatus" in after)


def test_all_uses_of_a_result_are() -> None:
    text = f"{ASYNC}def f(id):\n    x = AsyncResult(  # by id\n        id,\n    )\n    if x.ready():\n        return x.task_id\n"
    after = rewritten(text, assume_known_ids=True)
    assert after.endswith("    if x.is_finished:\n        return x.id\n")


def test_the_backport_is_imported_where_the_project_has_it() -> None:
    after = rewritten(f"{ASYNC}AsyncResult(id).id\n", assume_known_ids=True, more="from django_tasks import task\n")
    assert "from django_tasks import default_task_backend\n" in after
