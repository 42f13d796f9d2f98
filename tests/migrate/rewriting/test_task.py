from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from tasks_celery.compat import TaskResultStatus
from tests.migrate.moving import SHARED, moved

DJANGO = "from tasks_celery import task\n\n\n"


def shared(text: str, **given: object) -> str:
    return moved(SHARED + dedent(text).lstrip(), **given)  # type: ignore[arg-type]


# --- what is left alone


@pytest.mark.parametrize(
    "text",
    [
        "def add(a, b):\n    return 1\n",
        "from shop.own import shared_task\n\n\n@shared_task\ndef add():\n    return 1\n",
        "from django.tasks import task\n\n\n@task\ndef add():\n    return 1\n",
        "from tasks_celery import task\n\n\n@task(queue_name='mail')\ndef add():\n    return 1\n",
        "from invoke import task\n\n\n@task\ndef add():\n    return 1\n",
        "try:\n    from celery import shared_task\nexcept ImportError:\n    shared_task = None\n\n\n@shared_task\ndef add():\n    return 1\n",
        "def build(shared_task):\n    @shared_task\n    def add():\n        return 1\n",
        "# from celery import shared_task\n'''\n@shared_task\ndef add(): ...\n'''\n",
        "from celery import shared_task\n\n\n@shared_task(\ndef add():\n",
    ],
    ids=["function", "own", "django", "ours", "invoke", "maybe", "parameter", "text", "broken"],
)
def test_what_is_no_celery_task_for_certain_stays(text: str) -> None:
    from tasks_celery.migrate.rewriting import rewrite

    assert rewrite(text, path="shop/tasks.py").text == text


def test_an_import_that_something_else_uses_stays() -> None:
    text = "@shared_task\ndef add():\n    return 1\n\n\nmaker = shared_task\n"
    assert "from celery import shared_task" in shared(text)


def test_an_import_that_another_module_goes_by_stays() -> None:
    others = {"shop/more.py": "from shop.tasks import shared_task\n"}
    assert "from celery import shared_task" in shared("@shared_task\ndef add():\n    return 1\n", others=others)


def test_the_import_of_an_app_stays_for_what_it_does() -> None:
    others = {"mysite/celery.py": "from celery import Celery\n\napp = Celery('mysite')\n"}
    text = "from mysite.celery import app\n\n\n@app.task\ndef add():\n    return 1\n"
    assert moved(text, others) == (
        "from mysite.celery import app\nfrom tasks_celery import task\n\n\n@task\ndef add():\n    return 1\n"
    )


def test_without_its_context_a_bound_task_is_left() -> None:
    from tasks_celery.migrate.rewriting import rewrite

    text = SHARED + "@shared_task(bind=True)\ndef add(self):\n    return self.request.id\n"
    assert rewrite(text, path="shop/tasks.py", only=["task"]).text == text
    assert rewrite(text, path="shop/tasks.py", only=["context"]).text == text


# --- what is changed


def test_a_decorator_becomes_djangos() -> None:
    assert shared("@shared_task\ndef add(a, b):\n    return 1\n") == DJANGO + "@task\ndef add(a, b):\n    return 1\n"


def test_celerys_own_queue_is_named() -> None:
    assert '@task(queue_name="celery")\n' in shared("@shared_task\ndef add():\n    return 1\n", settings="")


def test_options_stay_as_they_are_written() -> None:
    before = """
        @shared_task(
            name='shop.add',  # on the wire
            autoretry_for=( OSError,ValueError ),
            max_retries=2+3,

            # a minute
            default_retry_delay = 60,
            queue="mail",
        )
        # below
        def add(a, b):  # beside
            '''Add.'''
            return 1
    """
    after = dedent(before).lstrip().replace("shared_task", "task").replace("queue=", "queue_name=")
    assert shared(before) == DJANGO + after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("()", "()"),
        ("(bind=False)", "()"),
        ('(serializer="json", max_retries=5)', "(max_retries=5)"),
        ('(max_retries=5, serializer="json")', "(max_retries=5)"),
        ("(\n    max_retries=5,\n    typing=True,\n)", "(\n    max_retries=5,\n)"),
        ("(\n    typing=True,\n    max_retries=5\n)", "(\n    max_retries=5\n)"),
        ("(queue=settings.MAILS)", "(queue_name=settings.MAILS)"),
        ('(autoretry_for=(OSError,), retry_kwargs={"max_retries": 5})', "(autoretry_for=(OSError,), max_retries=5)"),
        (
            '(\n    autoretry_for=(OSError,),\n    retry_kwargs={"countdown": 7, "max_retries": 2 * 3},\n)',
            "(\n    autoretry_for=(OSError,),\n    default_retry_delay=7,\n    max_retries=2 * 3,\n)",
        ),
        (
            '(\n    retry_kwargs={"countdown": 7},\n    autoretry_for=(OSError,)\n)',
            "(\n    autoretry_for=(OSError,),\n    default_retry_delay=7\n)",
        ),
    ],
)
def test_what_says_the_same_otherwise(before: str, after: str) -> None:
    head = "from celery import shared_task\nfrom django.conf import settings\n\n\n"
    body = "\ndef add():\n    return 1\n"
    changed = moved(f"{head}@shared_task{before}{body}")
    assert changed.endswith(f"\n\n\n@task{after}{body}")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("@shared_task", '@task(queue_name="mail")'),
        ("@shared_task()", '@task(queue_name="mail")'),
        ("@shared_task(max_retries=5)", '@task(max_retries=5, queue_name="mail")'),
        ("@shared_task(max_retries=5,)", '@task(max_retries=5, queue_name="mail",)'),
        ("@shared_task(\n    max_retries=5,\n)", '@task(\n    max_retries=5,\n    queue_name="mail",\n)'),
        ("@shared_task(\n    max_retries=5\n)", '@task(\n    max_retries=5,\n    queue_name="mail"\n)'),
        ("@shared_task(queue='own')", "@task(queue_name='own')"),
    ],
)
def test_a_route_becomes_the_queue_of_its_task(before: str, after: str) -> None:
    routes = 'CELERY_TASK_ROUTES = {"shop.tasks.*": {"queue": "mail"}}\n'
    assert after + "\ndef add" in shared(f"{before}\ndef add():\n    return 1\n", settings=routes)


@pytest.mark.parametrize(
    ("imports", "decorator"),
    [
        ("import celery", "celery.shared_task"),
        ("from celery import shared_task as celery_task", "celery_task"),
        ("from celery import shared_task as task", "task"),
        ("from shop.again import shared_task", "shared_task"),
    ],
)
def test_the_decorator_is_known_by_what_its_name_refers_to(imports: str, decorator: str) -> None:
    others = {"shop/again.py": "from celery import shared_task\n"}
    changed = moved(f"{imports}\n\n\n@{decorator}\ndef add():\n    return 1\n", others)
    assert "from tasks_celery import task" in changed
    assert "task\ndef add" in changed


@pytest.mark.parametrize(
    "taken",
    ["def task():\n    return 1\n", "from shop.models import task\n", "task = 1\n", "from shop.star import *\n"],
)
def test_a_name_that_is_taken_is_gone_round(taken: str) -> None:
    others = {"shop/star.py": "", "shop/models.py": "def task(): ..."}
    changed = moved(f"{SHARED}{taken}\n\n@shared_task\ndef add():\n    return 1\n", others)
    assert "from tasks_celery import task as django_task\n" in changed
    assert "@django_task\ndef add" in changed
    assert taken.splitlines()[0] in changed


def test_what_is_imported_already_is_used() -> None:
    text = (
        "from celery import shared_task\nfrom tasks_celery import task as background\n\n\n"
        "@background\ndef one():\n    return 1\n\n\n@shared_task\ndef two():\n    return 2\n"
    )
    changed = moved(text)
    assert changed.count("@background") == 2
    assert "shared_task" not in changed


def test_one_task_moves_beside_one_that_does_not() -> None:
    changed = shared("@shared_task\ndef one():\n    return 1\n\n\n@shared_task(base=Base)\ndef two():\n    return 2\n")
    assert "@task\ndef one" in changed
    assert "@shared_task(base=Base)\ndef two" in changed
    assert "from celery import shared_task" in changed


def test_what_a_transaction_is_put_around_moves() -> None:
    text = (
        "from celery import shared_task\nfrom django.db import transaction\n\n\n"
        "@shared_task\n@transaction.atomic\ndef add():\n    return 1\n"
    )
    assert "@task\n@transaction.atomic\ndef add" in moved(text)


# --- the rewritten file runs


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("moved_tasks", None)


def test_a_rewritten_module_is_imported_and_its_tasks_run(folder: Path) -> None:
    text = moved(
        SHARED
        + dedent(
            """
            @shared_task(max_retries=5, retry_backoff=True, autoretry_for=(OSError,))
            def add(a: int, b: int):
                return str(a + b)


            @shared_task(bind=True, name="moved.whoami")
            def whoami(self, times: int = 1):
                return [self.request.id, int(self.request.retries)]
            """
        ).lstrip()
    )
    (folder / "moved_tasks.py").write_text(text)
    import moved_tasks  # type: ignore[import-not-found]

    assert moved_tasks.add.options.max_retries == 5
    assert moved_tasks.add.module_path == "moved_tasks.add"
    sent = moved_tasks.add.enqueue(1, b=2)
    assert (sent.status, sent.task.module_path) == (TaskResultStatus.READY, "moved_tasks.add")
    assert moved_tasks.add.celery.apply([1], {"b": 2}).get() == "3"
    assert moved_tasks.whoami.celery.name == "moved.whoami"
    assert moved_tasks.whoami.celery.apply(task_id="one").get() == ["one", 0]


@pytest.mark.parametrize(
    ("head", "after"),
    [
        ("from celery import shared_task\n\nimport os\n", "import os\n"),
        ("from celery import shared_task\n\n\n# why\nimport os\n", "# why\nimport os\n"),
        ("# top\n\nfrom celery import shared_task\n\nimport os\n", "# top\n\n\nimport os\n"),
        ("\nfrom celery import shared_task\nimport os\n", "\nimport os\n"),
        ("import os\n\nfrom celery import shared_task\n", "import os\nfrom tasks_celery"),
        ("from celery import shared_task\n", "from tasks_celery import task\n"),
    ],
)
def test_no_blank_line_is_left_at_the_top_where_the_first_import_went(head: str, after: str) -> None:
    text = head + "\n\n@shared_task\ndef add(a):\n    print(os)\n"
    assert moved(text).startswith(after)


@pytest.mark.parametrize(
    ("head", "stays"),
    [
        ("from celery import shared_task  # ours\n", False),
        ("from celery import shared_task\n\n__all__ = ['shared_task']\n", True),
        ("from celery import shared_task\n\nkept = shared_task\n", True),
        ("from celery import shared_task, Celery\n\nprint(Celery)\n", False),
        ("import os\n# why\nfrom celery import shared_task\n", False),
        ("from celery import shared_task as shared_task\n", False),
        ("from celery import (\n    shared_task,\n)\n", False),
        ("print('shared_task'); from celery import shared_task\n", False),
    ],
)
def test_an_import_goes_only_where_nothing_uses_it(head: str, stays: bool) -> None:
    after = moved(head + "\n\n@shared_task\ndef add(a):\n    print(a)\n")
    imported = [each for each in after.splitlines() if "shared_task" in each and "import" in each]
    assert bool(imported) is stays
    assert "\n@task\n" in after
