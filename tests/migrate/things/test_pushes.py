from __future__ import annotations

from textwrap import indent

import pytest

from tasks_celery.migrate.finding import Verdict
from tasks_celery.migrate.things import pushes
from tests.migrate.moving import findings, moved

HEAD = "from asgiref.sync import async_to_sync\nfrom celery import shared_task\nfrom channels.layers import get_channel_layer\n\n\n"
SEND = "async_to_sync(get_channel_layer().group_send)('all', {'type': 'done'})"


def task(body: str, decorator: str = "@shared_task") -> str:
    return f"{HEAD}{decorator}\ndef export():\n{indent(body, '    ')}\n"


@pytest.mark.parametrize(
    "text", [task(SEND, ""), f"{HEAD}{SEND}\n", f"{HEAD}class A:\n    def b(self):\n        {SEND}\n", "# group_send\n"]
)
def test_what_is_sent_elsewhere_is_no_end_of_a_task(text: str) -> None:
    assert findings(text, kind="push") == []


@pytest.mark.parametrize(
    "body", [f"{SEND}\nprint()", f"for each in [1]:\n    {SEND}", f"if 1:\n    {SEND}\nprint()\nreturn 1"]
)
def test_what_is_sent_on_the_way_stays(body: str) -> None:
    [it] = findings(task(body), kind="push")
    assert (it.verdict, it.reason) == (Verdict.STAYS, pushes.BEFORE_THE_END)


@pytest.mark.parametrize(
    "body",
    [
        SEND,
        f"print()\n{SEND}\nreturn 1",
        f"if 1:\n    {SEND}",
        f"try:\n    print()\nfinally:\n    {SEND}",
        f"with a:\n    {SEND}\nreturn None",
    ],
)
def test_what_is_sent_last_is_a_persons(body: str) -> None:
    [it] = findings(task(body), kind="push")
    assert (it.verdict, it.reason, it.fixer) == (Verdict.PERSON, pushes.LAST, "")


def test_no_fixer_changes_what_is_sent() -> None:
    assert f"    {SEND}\n" in moved(task(SEND))
