from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from celery.exceptions import MaxRetriesExceededError

from tests.migrate.moving import SHARED, moved


def bound(body: str, options: str = "bind=True", arguments: str = "self, a: int = 1", head: str = "") -> str:
    """Return the text of one bound task."""
    lines = dedent(body).strip().replace("\n", "\n    ")
    return f"{head}{SHARED}@shared_task({options})\ndef add({arguments}):\n    {lines}\n"


# --- what is left alone, decorator and all


@pytest.mark.parametrize(
    "body",
    [
        "self.update_state(state='PROGRESS')",
        "print(self.name)",
        "print(self.request.delivery_info)",
        "print(self.request)",
        "print(self)",
        "self.request.id = 1",
        "self.counter = 1",
        "del self.counter",
        "self.request.id()",
        "self = 1",
        "for self in []:\n    pass",
        "import self",
        "def inner(self): ...",
        "print(lambda: self.request.id)",
        "def inner():\n    raise self.retry()",
        "context = 1",
        "print(context)",
        "retry = self.retry",
        "self.retry(countdown=1) or print()",
        "error = self.retry(throw=False)",
        "raise self.retry(max_retries=1)",
        "raise self.retry([1], countdown=1)",
        "raise self.retry(**options)",
        "raise self.retry(*options)",
        "raise self.retry(queue='mail')",
        "raise self.retry(countdown=-1)",
        "raise self.retry(countdown=1, eta=moment)",
        "raise self.retry(eta=moment)",
        "raise self.retry(exc='late')",
        "try:\n    print()\nexcept OSError:\n    raise self.retry()",
        "try:\n    self.retry()\nexcept Exception:\n    pass",
        "try:\n    self.retry()\nexcept:\n    raise",
        "try:\n    self.retry()\nexcept self.MaxRetriesExceededError:\n    pass",
        "try:\n    self.retry()\nexcept MaxRetriesExceededError:\n    pass",
        "try:\n    self.retry()\nexcept (OSError, Retry):\n    pass",
        "try:\n    self.retry()\nexcept ERRORS:\n    pass",
        "try:\n    try:\n        self.retry()\n    finally:\n        print()\nexcept Exception:\n    pass",
        "try:\n    self.retry()\nfinally:\n    return",
        "with suppress(Exception):\n    self.retry()",
        "with anything:\n    self.retry()",
    ],
)
def test_a_function_with_one_use_that_has_no_counterpart_stays_as_it_is(body: str) -> None:
    head = (
        "from contextlib import suppress\nfrom celery.exceptions import MaxRetriesExceededError, Retry\n"
        "ERRORS = (Exception,)\n"
    )
    text = bound(f"print(self.request.id)\n{body}", head=head)
    assert moved(text) == text


@pytest.mark.parametrize(
    "arguments", ["", "*args", "*, self", "self=None", "self, self_=1, context=2", "self, *context"]
)
def test_a_first_parameter_that_cannot_be_the_context_stays(arguments: str) -> None:
    text = bound("return 1", arguments=arguments)
    assert moved(text) == text


def test_another_function_of_the_file_is_not_touched() -> None:
    other = "\n\nclass Cart:\n    def add(self):\n        return self.request.id\n"
    assert moved(bound("return self.request.id") + other).endswith(other)


# --- what is changed


USES = [
    ("return 1", "return 1"),
    ("return self.request.id", "return context.task_result.id"),
    ("print( self . request . id )", "print( context.task_result.id )"),
    (
        "print((self.request.id), f'{self.request.id!r}')",
        "print((context.task_result.id), f'{context.task_result.id!r}')",
    ),
    ("return self.request.id.upper()", "return context.task_result.id.upper()"),
    ("print([self.request.id for each in range(2)])", "print([context.task_result.id for each in range(2)])"),
    ("print(self.request.retries)", "print(context.retries)"),
    ("print(2 ** self.request.retries)", "print(2 ** context.retries)"),
    ("if self.request.retries == 2:\n    pass", "if context.retries == 2:\n    pass"),
    ("print(-(self.request.retries))", "print(-(context.retries))"),
    ("raise self.retry()", "raise context.retry()"),
    ("self.retry(countdown=5)  # soon", "context.retry(countdown=5)  # soon"),
    ("return self.retry(countdown=5)", "return context.retry(countdown=5)"),
    (
        "try:\n    print()\nexcept OSError as error:\n    raise self.retry(exc=error, countdown=2 ** self.request.retries) from error",
        "try:\n    print()\nexcept OSError as error:\n    raise context.retry(exc=error, countdown=2 ** context.retries) from error",
    ),
    (
        "raise self.retry(\n    # later\n    countdown=60,\n)",
        "raise context.retry(\n    # later\n    countdown=60,\n)",
    ),
    (
        "raise self.retry(eta=timezone.now() + timedelta(hours=1))",
        "raise context.retry(eta=timezone.now() + timedelta(hours=1))",
    ),
    (
        "try:\n    self.retry()\nexcept (OSError, ValueError):\n    pass",
        "try:\n    context.retry()\nexcept (OSError, ValueError):\n    pass",
    ),
    (
        "with transaction.atomic():\n    raise self.retry()",
        "with transaction.atomic():\n    raise context.retry()",
    ),
    ("def inner(this):\n    return this.request.id", "def inner(this):\n    return this.request.id"),
    ("print('self.request.id')  # self.retry", "print('self.request.id')  # self.retry"),
]


@pytest.fixture(scope="module")
def functions() -> list[str]:
    """What became of a function for each use: all in one file, for a rewrite takes its time."""
    head = "from datetime import timedelta\nfrom django.db import transaction\nfrom django.utils import timezone\n"
    first, *others = [bound(before) for before, _ in USES]
    named = [each.removeprefix(SHARED).replace("def add(", f"def add{number}(") for number, each in enumerate(others)]
    _, *changed = moved(head + "\n\n".join([first, *named])).split("\n\n\n@")
    return changed


@pytest.mark.parametrize("number", range(len(USES)), ids=[before for before, _ in USES])
def test_a_use_becomes_the_contexts(functions: list[str], number: int) -> None:
    _, lines = functions[number].split("):\n", 1)
    assert "def add" in functions[number]
    assert functions[number].startswith("task(takes_context=True)\n")
    assert lines.rstrip() == bound(USES[number][1]).split("):\n", 1)[1].rstrip()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("self", "context"),
        ("task, /, a", "context, /, a"),
        ("self: Task, a: int", "context, a: int"),
        ("\n    self,\n    a=1,\n", "\n    context,\n    a=1,\n"),
        ("context, a", "context, a"),
    ],
)
def test_the_first_parameter_is_called_context(before: str, after: str) -> None:
    assert f"\ndef add({after}):\n" in moved(bound("return 1", arguments=before))


def test_a_task_of_two_that_does_more_stays_alone() -> None:
    text = bound("return self.request.id") + "\n\n@shared_task(bind=True)\ndef two(self):\n    return self.name\n"
    changed = moved(text)
    assert "def add(context, a" in changed
    assert "@shared_task(bind=True)\ndef two(self):\n    return self.name\n" in changed


# --- the rewritten file runs


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("moved_contexts", None)


def test_a_rewritten_task_is_tried_again_as_before(folder: Path) -> None:
    text = moved(
        bound("SEEN.append(self.request.retries)\nself.retry(countdown=0)", "bind=True, max_retries=2", "self")
    )
    (folder / "moved_contexts.py").write_text(f"SEEN = []\n{text}")
    import moved_contexts  # type: ignore[import-not-found]

    ended = moved_contexts.add.celery.apply()
    assert moved_contexts.SEEN == [0, 1, 2]
    assert isinstance(ended.result, MaxRetriesExceededError)
