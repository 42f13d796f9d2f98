from __future__ import annotations

import libcst as cst
import pytest

from tasks_celery.migrate.rewriting.fixer import Fixer, Import
from tasks_celery.migrate.rewriting.imports import with_imports

TASK, DELTA = Import("tasks_celery", "task"), Import("datetime", "timedelta")


def imported(text: str, *needed: Import) -> str:
    fixer = Fixer([])
    fixer.imports.update(needed)
    return with_imports(cst.parse_module(text), [fixer], "shop.tasks").code


@pytest.mark.parametrize(
    "text",
    [
        "from tasks_celery import task\n",
        "from tasks_celery import adopt, task\n",
        "from tasks_celery import (\n    adopt,\n    task,\n)\n",
        "import os\n\nfrom tasks_celery import task  # as ever\n\nx = task\n",
    ],
)
def test_what_is_imported_already_is_left(text: str) -> None:
    assert imported(text, TASK) == text


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("from datetime import UTC\n", "from datetime import UTC, timedelta\n"),
        ("from datetime import UTC as U  # here\n", "from datetime import UTC as U, timedelta  # here\n"),
        ("import datetime\n", "import datetime\nfrom datetime import timedelta\n"),
        ("from datetime import *\n", "from datetime import *\nfrom datetime import timedelta\n"),
        ("from .datetime import UTC\n", "from .datetime import UTC\nfrom datetime import timedelta\n"),
        ("from datetime import timedelta as td\n", "from datetime import timedelta as td, timedelta\n"),
        (
            "from datetime import (  # both\n    UTC,\n)\n",
            "from datetime import (  # both\n    UTC,\n)\nfrom datetime import timedelta\n",
        ),
        (
            "import os, sys; import re\n\nx = 1\n",
            "import os, sys; import re\nfrom datetime import timedelta\n\nx = 1\n",
        ),
        (
            '"""Tasks."""\n\nfrom __future__ import annotations\n\nx = 1\n',
            '"""Tasks."""\n\nfrom __future__ import annotations\nfrom datetime import timedelta\n\nx = 1\n',
        ),
        ('"""Tasks."""\n\nx = 1\n', '"""Tasks."""\n\nfrom datetime import timedelta\n\nx = 1\n'),
        ("# Tasks\n\nx = 1\n", "# Tasks\n\nfrom datetime import timedelta\nx = 1\n"),
        (
            "import os\ntry:\n    import re\nexcept ImportError:\n    re = None\nimport sys\n\nx = 1\nimport late\n",
            "import os\ntry:\n    import re\nexcept ImportError:\n    re = None\nimport sys\nfrom datetime import timedelta\n\nx = 1\nimport late\n",
        ),
    ],
)
def test_an_import_joins_its_like_or_comes_after_the_others(text: str, wanted: str) -> None:
    assert imported(text, DELTA) == wanted
    assert imported(wanted, DELTA) == wanted


def test_an_import_may_have_another_name() -> None:
    named = Import("tasks_celery", "task", "django_task")
    assert (
        imported("from tasks_celery import adopt\n", named) == "from tasks_celery import adopt, task as django_task\n"
    )
    assert imported("x = 1\n", named) == "from tasks_celery import task as django_task\nx = 1\n"
