"""Every use of a task. What is none comes first."""

from __future__ import annotations

import pytest

from tasks_celery.migrate.finding import Anchor
from tasks_celery.migrate.source import Project

TASKS = """\
from celery import shared_task
@shared_task
def add(a, b): ...
@shared_task(name="named")
def other(): ...
"""


def uses(text: str, task: str = "add") -> list[str]:
    files = {
        "shop/__init__.py": "",
        "shop/tasks.py": TASKS,
        "shop/api.py": "from .tasks import add\n",
        "shop/views.py": text,
    }
    found = Project.of(files).uses.get(f"shop.tasks.{task}", [])
    assert {each.path for each in found} <= {"shop/views.py"}
    return [each.how + ("!" if each.on_commit else "") for each in found]


@pytest.mark.parametrize(
    "text",
    [
        "from shop.tasks import add\n",
        "from shop.tasks import add as plus\nagain = plus\n",
        "from shop.tasks import add\n@add.on_bound\ndef f(): ...\n",
        "from shop.tasks import add\ndef f(add):\n    add.delay()\n",
        "from shop.tasks import add\ndef f():\n    add = 1\n    return add.delay\n",
        "from shop.tasks import add\nlambda add: add.delay()\n",
        "from shop.tasks import add\n[add.delay() for add in x]\n",
        "from shop.tasks import add\n{add: 1 for x, (add, *_) in y}\n",
        "from shop.tasks import add\ndef f():\n    for add in x: add.delay()\n",
        "from shop.tasks import add\ndef f():\n    with x as add: add.delay()\n",
        "from shop.tasks import add\ndef f():\n    try: ...\n    except E as add: add.delay()\n",
        "from shop.tasks import add\ndef f():\n    if add := g(): add.delay()\n",
        "from shop.tasks import add\ndef f():\n    match x:\n        case [add, *_]: add.delay()\n",
        "from shop.tasks import add\ndef f(*add, **kw):\n    def g(): add.delay()\n",
        "from shop.tasks import add\nclass A:\n    add = 1\n    x = add.delay\n",
        "from shop.tasks import add\ndef f():\n    import add\n    add.delay()\n",
        "from shop.tasks import add\ndef f():\n    from shop.tasks import add\n    from x import add\n    add.delay()\n",
        "def f():\n    from shop.tasks import add\ndef g():\n    add.delay()\n",
        "class A:\n    from shop.tasks import add\n    def f(self): add.delay()\n",
        "self.add.delay()\n",
        "x = 'shop.tasks'\ny = 'add'\n",
    ],
)
def test_what_is_no_use_of_it_is_none(text: str) -> None:
    assert uses(text) == []


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("add.delay(1)", "delay"),
        ("add(1)", "()"),
        ("add", ""),
        ("f(add)", ""),
        ("f(x=add)", ""),
        ("x = [add]", ""),
        ("add.apply_async((1,), countdown=2)", "apply_async"),
        ("add.s(1).on_error(x)", "s"),
        ("f(add.delay)", "delay"),
        ("add.request.id", "request.id"),
        ("def f(x=add): ...", ""),
        ("def f(add=add.delay()): ...", "delay"),
        ("[x for add in add.map(y)]", "map"),
        ("class A:\n    add = 1\n    def f(self): add.delay()", "delay"),
        ("class A:\n    add = 1\n    x = [add.delay() for _ in y]", "delay"),
        ("lambda x=add.delay(): 1", "delay"),
        ("@f(add)\ndef g(): ...", ""),
        ("getattr(add, 'delay')", ""),
        ("add.rate_limit = 1", "patch:rate_limit"),
        ("def f():\n    from .tasks import add as add\n    add.delay()", "delay"),
        ("def f():\n    global add\n    add.delay()", "delay"),
    ],
)
def test_a_use_says_what_is_done_with_it(text: str, how: str) -> None:
    assert uses(f"from shop.tasks import add\n{text}\n") == [how]


@pytest.mark.parametrize(
    "text",
    [
        "import shop.tasks\nshop.tasks.add.delay()\n",
        "from . import tasks as t\nt.add.delay()\n",
        "from shop.api import add\nadd.delay()\n",
        "def f():\n    from shop import tasks\n    tasks.add.delay()\n",
        "def f():\n    from shop import tasks\n    def g():\n        tasks.add.delay()\n",
        "if TYPE_CHECKING:\n    from shop.tasks import add\nadd.delay()\n",
    ],
)
def test_a_task_is_found_however_it_is_imported(text: str) -> None:
    assert uses(text) == ["delay"]


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("transaction.on_commit(lambda: add.delay(1))", "delay!"),
        ("transaction.on_commit(partial(add.delay, 1))", "delay!"),
        ("transaction.on_commit(add.delay)", "delay!"),
        ("on_commit(lambda: add.apply_async())", "apply_async!"),
        ("add.delay_on_commit(1)", "delay_on_commit!"),
        ("transaction.on_commit(lambda: add.delay(1), using='other')", "delay"),
        ("transaction.on_commit(lambda: add.delay(1), robust=True)", "delay"),
        ("transaction.on_commit(lambda: f(add.delay(1)))", "delay"),
        ("transaction.on_commit(partial(f, add))", ""),
        ("mine.on_commit(lambda: add.delay(1))", "delay"),
    ],
)
def test_what_a_commit_calls_is_known(text: str, how: str) -> None:
    imports = "from functools import partial\nfrom django.db import transaction\nfrom django.db.transaction import on_commit\n"
    assert uses(f"{imports}from shop.tasks import add\n{text}\n") == [how]


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("mock.patch('shop.tasks.add')", "patch:"),
        ("mock.patch('shop.tasks.add.delay')", "patch:delay"),
        ("mock.patch(target='shop.tasks.add.delay')", "patch:delay"),
        ("mock.patch('shop.api.add.delay')", "patch:delay"),
        ("@patch('shop.views.add.apply_async', autospec=True)\ndef f(): ...", "patch:apply_async"),
        ("patch.object(add, 'delay')", "patch:delay"),
        ("patch.object(tasks, 'add')", "patch:"),
        ("patch.object(tasks.add, 'delay')", "patch:delay"),
        ("patch.multiple('shop.tasks', add=1)", "patch:"),
        ("patch.multiple(tasks, add=1)", "patch:"),
        ("monkeypatch.setattr(add, 'delay', f)", "patch:delay"),
        ("monkeypatch.setattr('shop.tasks.add.delay', f)", "patch:delay"),
        ("monkeypatch.setattr(tasks, 'add', f)", "patch:"),
        ("mocker.patch(f'{here}.add.delay')", "patch:delay"),
        ("mocker.patch(HERE + '.add.delay')", "patch:delay"),
    ],
)
def test_what_a_test_patches_is_known(text: str, how: str) -> None:
    assert uses(
        f"from shop.tasks import add\nfrom shop import tasks\nfrom unittest import mock\nfrom unittest.mock import patch\n{text}\n"
    ) == [how]


@pytest.mark.parametrize(
    "text",
    [
        "app.send_task('shop.tasks.add')",
        "signature('shop.tasks.add', args=(1,))",
        "CELERY_BEAT_SCHEDULE = {'x': {'task': 'shop.tasks.add', 'schedule': 1}}",
        "CELERY_TASK_ROUTES = {'shop.tasks.add': {'queue': 'x'}}",
    ],
)
def test_a_name_on_the_wire_is_a_use(text: str) -> None:
    assert uses(f"{text}\n") == ["name"]
    assert uses("f('named')\n", "other") == ["name"]


def test_what_is_adopted_is_no_value_that_is_passed_on() -> None:
    assert uses("from tasks_celery import adopt\nfrom shop.tasks import add\nadded = adopt(add)\n") == ["adopt"]


def test_a_task_taken_by_its_name_from_a_module_is_used_as_a_value() -> None:
    assert uses("from shop import tasks\ngetattr(tasks, 'add').delay()\n") == [""]


def test_a_use_is_anchored_at_the_last_name() -> None:
    files = {"shop/tasks.py": TASKS, "v.py": "import shop.tasks as ä\nx = 'ö'; ä.add \\\n  .delay(1)\n"}
    assert [each.anchor for each in Project.of(files).uses["shop.tasks.add"]] == [Anchor(3, 3)]
