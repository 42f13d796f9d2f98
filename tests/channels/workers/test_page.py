"""The blocks of docs/from-channels-workers.md, run."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.management import load_command_class

from tasks_celery.compat import TaskResultStatus
from tests.shop.running import eagerly

PAGE = (Path(__file__).parents[3] / "docs/from-channels-workers.md").read_text()
BLOCKS = [
    (kind, dedent(text)) for kind, text in re.findall(r"^ *```(\w+)\n(.*?)^ *```$", PAGE, re.MULTILINE | re.DOTALL)
]

pytestmark = pytest.mark.django_db


@pytest.fixture
def made(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The project of the page; what it has made thumbnails of."""
    made: list[int] = []
    asgi = ModuleType("asgi_of_the_page")
    vars(asgi)["make_thumbnails"] = made.append
    exec(the_block("proj/asgi.py"), vars(asgi))
    monkeypatch.setitem(sys.modules, asgi.__name__, asgi)
    settings.ASGI_APPLICATION = f"{asgi.__name__}.application"
    said: dict[str, Any] = {}
    exec(the_block("settings.py"), said)
    settings.TASK_EVENTS = said["TASK_EVENTS"]
    settings.TASKS = {"default": {**settings.TASKS["default"], "QUEUES": ["default", "thumbnails"]}}
    with eagerly():
        yield made


def the_block(word: str) -> str:
    (text,) = [text for kind, text in BLOCKS if word in text]
    return text


def test_every_block_is_run_here() -> None:
    assert [kind for kind, _ in BLOCKS] == ["python", "python", "sh", "python", "python"]


def test_the_listener_is_started_as_it_says() -> None:
    _, _, name, *channels = the_block("manage.py").split()
    command = load_command_class("tasks_celery.channels", name)
    assert command.create_parser("manage.py", name).parse_args(channels).channels == ["thumbnails"]


def test_an_async_sender_has_its_event_handled(made: list[int]) -> None:
    names: dict[str, Any] = {}
    exec(the_block("async def uploaded"), names)
    async_to_sync(names["uploaded"])(5)
    assert made == [5]


def test_a_sync_sender_has_a_result(made: list[int]) -> None:
    names: dict[str, Any] = {}
    exec(the_block("enqueue_event("), names)
    assert made == [7]
    assert names["result"].status == TaskResultStatus.SUCCESSFUL
    assert names["result"].task.queue_name == "thumbnails"
