"""What a dotted name of a module leads to. What must not be proven comes first."""

from __future__ import annotations

import pytest

from tasks_celery.migrate.source import Project

TASKS = {"shop/tasks.py": "def add(): ...\ndef sub(): ...\n"}


def leads(views: str, name: str, *, init: str = "", **others: str) -> str | None:
    """Return where a name of ``shop/views.py`` leads to; `others` are files of the project, ``__`` for a slash."""
    files = {f"{path.replace('__', '/')}.py": text for path, text in others.items()}
    return Project.of({**TASKS, "shop/__init__.py": init, "shop/views.py": views, **files}).resolve("shop.views", name)


@pytest.mark.parametrize(
    "views",
    [
        "try:\n    from shop.tasks import add\nexcept ImportError:\n    add = None\n",
        "try:\n    from shop.tasks import add\nexcept ImportError:\n    from shop.tasks import sub as add\n",
        "from shop.tasks import add\nadd = wrapped(add)\n",
        "from shop.tasks import add\ndel add\n",
        "from shop.tasks import add\nadd += 1\n",
        "from shop.tasks import add\nfor add in []: ...\n",
        "from shop.tasks import add\nwith open() as add: ...\n",
        "from shop.tasks import add\nwith open() as (_, [add, *rest]): ...\n",
        "from shop.tasks import add\ntry: ...\nexcept ValueError as add: ...\n",
        "from shop.tasks import add\nif (add := 1): ...\n",
        "from shop.tasks import add\n[add := 1 for _ in ()]\n",
        "from shop.tasks import add\nmatch 1:\n    case add: ...\n",
        "from shop.tasks import add\nmatch 1:\n    case {**add}: ...\n",
        "from shop.tasks import add\ndef f():\n    global add\n    add = 1\n",
        "from shop.tasks import add\ndef add(): ...\n",
        "from shop.tasks import add\nclass add: ...\n",
        "from shop.tasks import add\nx, add = 1, 2\n",
        "from shop.tasks import add\nfrom elsewhere import *\n",
        "from shop.tasks import add\nfrom .other import *\n",
        "from shop.tasks import add\nglobals()['add'] = 1\n",
        "from shop.tasks import add\nglobals().update(x)\n",
        "from shop.tasks import add\nexec(text)\n",
        "if DEBUG:\n    from shop.tasks import add\nelse:\n    from elsewhere import add\n",
        "def __getattr__(name): ...\n",
        "from elsewhere import *\n",
        "from shop.tasks import *\nfrom elsewhere import *\n",
        "from shop.tasks import *\nfrom .other import *\n",
        "from ....tasks import add\n",
        "from shop.tasks import nothing as add\n",
        "from shop.nothing import add\n",
        "class A:\n    from shop.tasks import add\n",
        "def f():\n    from shop.tasks import add\n",
        "add = [1]\nadd[0] = lambda: 0\nadd = 2\n",
    ],
)
def test_a_name_that_may_be_something_else_is_not_proven(views: str) -> None:
    assert leads(views, "add", shop__other="add = 1\n") is None


@pytest.mark.parametrize(
    "elsewhere",
    [
        "import shop.tasks\nshop.tasks.add = 1\n",
        "from shop import tasks\ntasks.add = 1\n",
        "from shop import tasks\ntasks.add: int = 1\n",
        "from shop import tasks\ndef f():\n    tasks.add = 1\n",
        "def f():\n    from shop import tasks as t\n    t.add = 1\n",
        "from shop import tasks\nsetattr(tasks, 'add', 1)\n",
        "from shop import tasks\nsetattr(tasks, name, 1)\n",
        "from shop import tasks\ndel tasks.add\n",
        "from shop import tasks\ndelattr(tasks, 'add')\n",
        "from shop import tasks\nfor tasks.add in (): ...\n",
    ],
)
def test_a_name_that_another_module_replaces_is_not_proven(elsewhere: str) -> None:
    assert leads("from shop.tasks import add\n", "add", patching=elsewhere) is None
    assert leads("from shop.tasks import sub\n", "add", patching=elsewhere) is None


def test_a_star_import_after_a_definition_makes_it_doubtful_only_where_it_may_bring_the_name() -> None:
    text = "def add(): ...\nfrom shop.other import *\n"
    assert leads(text, "add", shop__other="def add(): ...\n") is None
    assert leads(text, "add", shop__other="from foreign import *\n") is None
    assert leads(text, "add", shop__other="__all__ = ['add']\n") is None
    assert leads(text, "add", shop__other="def sub(): ...\n") == "shop.views.add"
    assert leads(text, "add", shop__other="def add(): ...\n__all__ = ['sub']\n") == "shop.views.add"
    assert leads("from shop.other import *\ndef add(): ...\n", "add", shop__other="add = 1\n") == "shop.views.add"


def test_a_star_of_the_project_brings_a_name_where_no_other_can() -> None:
    assert leads("from shop.tasks import *\n", "add") == "shop.tasks.add"
    assert leads("from shop.tasks import *\n", "_add", shop__tasks="def _add(): ...\n") is None
    assert leads("from shop.tasks import *\n", "add", shop__tasks="def add(): ...\n__all__ = ['x']\n") is None
    assert leads("from shop.tasks import *\n", "add", shop__tasks="def add(): ...\n__all__ = names()\n") is None
    assert (
        leads("from shop.tasks import *\n", "add", shop__tasks="__all__ = ['add']\n__all__ += x\ndef add(): ...")
        is None
    )


def test_a_package_with_a_name_and_a_submodule_of_that_name_proves_nothing() -> None:
    assert leads("from shop import tasks\n", "tasks.add", init="tasks = object()\n") is None
    assert leads("import shop.tasks as tasks\n", "tasks.add", init="from elsewhere import tasks\n") is None
    # Where the module itself is named, it is that one.
    assert leads("from shop.tasks import add\n", "add", init="tasks = object()\n") == "shop.tasks.add"
    # The usual proj/__init__.py: the name is taken from the submodule, so that is loaded already.
    init, tasks = "from .tasks import tasks\n", "def tasks(): ...\n"
    assert leads("from shop import tasks\n", "tasks", init=init, shop__tasks=tasks) == "shop.tasks.tasks"


def test_what_goes_round_in_a_circle_is_not_proven() -> None:
    assert leads("from shop.other import add\n", "add", shop__other="from shop.views import add\n") is None
    assert leads("add = sub\nsub = add\n", "add") is None
    assert leads("from shop.other import *\n", "add", shop__other="from shop.views import *\n") is None


@pytest.mark.parametrize(
    ("views", "name"),
    [
        ("from shop.tasks import add\n", "add"),
        ("from shop.tasks import add as plus\n", "plus"),
        ("from .tasks import add\n", "add"),
        ("from . import tasks\n", "tasks.add"),
        ("from . import tasks as t\n", "t.add"),
        ("import shop.tasks\n", "shop.tasks.add"),
        ("import shop.tasks\nimport shop.other\n", "shop.tasks.add"),
        ("import shop.tasks as t\n", "t.add"),
        ("from shop import tasks\n", "tasks.add"),
        ("from shop.tasks import add\nplus = add\n", "plus"),
        ("from shop.tasks import add\nfrom .tasks import add\n", "add"),
        ("try:\n    from shop.tasks import add\nexcept ImportError:\n    from .tasks import add\n", "add"),
        ("if TYPE_CHECKING:\n    from shop.tasks import add\n", "add"),
        ("try:\n    from shop.tasks import add\nfinally: ...\n", "add"),
        ("from shop.api import add\n", "add"),
        ("from shop.api import again\n", "again"),
        ("from shop.tasks import add\nclass A:\n    add = 1\n", "add"),
        ("from shop.tasks import add\ndef f(add):\n    add = 1\n    for add in (): ...\n", "add"),
        ("from shop.tasks import add\nif 1:\n    def f():\n        add = 1\n", "add"),
    ],
)
def test_a_name_is_followed_to_where_it_is_defined(views: str, name: str) -> None:
    api = "from .tasks import add\nfrom . import tasks\nagain = tasks.add\n"
    assert leads(views, name, shop__api=api, shop__other="") == "shop.tasks.add"
    assert leads(views, f"{name}.delay", shop__api=api, shop__other="") == "shop.tasks.add.delay"


def test_what_is_not_of_the_project_is_named_as_it_is_imported() -> None:
    assert leads("import celery\n", "celery.app.task.Task") == "celery.app.task.Task"
    assert leads("from celery import shared_task as st\n", "st") == "celery.shared_task"
    assert leads("from celery.utils import log\n", "log.get_task_logger") == "celery.utils.log.get_task_logger"


def test_an_alias_of_what_follows_a_definition_keeps_it() -> None:
    assert leads("from shop.tasks import add\nsend = add.delay\n", "send") == "shop.tasks.add.delay"


def test_who_imports_what_is_known_by_where_it_leads_to_as_it_is_written() -> None:
    project = Project.of(
        {
            "shop/__init__.py": "",
            "shop/tasks.py": "import os\n",
            "shop/views.py": "def f():\n    from .tasks import add as plus\n",
            "shop/models.py": "from . import tasks\n",
            "jobs.py": "from shop.tasks import *\nfrom .... import nothing\n",
        }
    )
    assert project.importing == {
        "os:": {"shop.tasks"},
        "shop.tasks:add": {"shop.views"},
        "shop:tasks": {"shop.models"},
        "shop.tasks:*": {"jobs"},
    }
