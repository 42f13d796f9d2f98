"""Which tasks a project has. What is none comes first."""

from __future__ import annotations

import pytest

from tasks_celery.migrate.finding import Anchor
from tasks_celery.migrate.source import Project

APP = {
    "proj/__init__.py": "from .celery import app as celery_app\n",
    "proj/celery.py": "from celery import Celery\napp = Celery('x')\n",
}


def tasks(text: str, **others: str) -> dict[str, str]:
    files = {f"{path.replace('__', '/')}.py": each for path, each in others.items()}
    project = Project.of({**APP, **files, "shop/tasks.py": text})
    return {origin: task.made_by for origin, task in project.tasks.items()}


@pytest.mark.parametrize(
    "text",
    [
        "@shared_task\ndef add(): ...\n",
        "from elsewhere import shared_task\n@shared_task\ndef add(): ...\n",
        "try:\n    from celery import shared_task\nexcept ImportError:\n    from mine import shared_task\n@shared_task\ndef add(): ...\n",
        "from celery import *\n@shared_task\ndef add(): ...\n",
        "app = object()\n@app.task\ndef add(): ...\n",
        "app = other.Celery()\n@app.task\ndef add(): ...\n",
        "from proj import celery_app\n@celery_app.on_after_configure.connect\ndef add(): ...\n",
        "from celery import Celery\napp = Celery()\napp = 1\n@app.task\ndef add(): ...\n",
        "from celery import Task\nclass Base(Task):\n    abstract = True\n    def run(self): ...\n",
        "from celery import Task\nclass Base(Task):\n    def on_failure(self): ...\n",
        "def make():\n    return 1\napp = make()\n@app.task\ndef add(): ...\n",
        "from celery import Celery\ndef make(x):\n    if x:\n        return 1\n    return Celery()\napp = make()\n@app.task\ndef add(): ...\n",
    ],
)
def test_what_cannot_be_proven_to_be_a_task_is_none(text: str) -> None:
    assert tasks(text) == {}


@pytest.mark.parametrize(
    ("text", "made_by"),
    [
        ("from celery import shared_task\n@shared_task\ndef add(): ...\n", "celery.shared_task"),
        ("from celery import shared_task as st\n@st(bind=True)\nasync def add(): ...\n", "celery.shared_task"),
        ("import celery\n@celery.shared_task\ndef add(): ...\n", "celery.shared_task"),
        ("import celery\n@log\n@celery.shared_task()\n@other\ndef add(): ...\n", "celery.shared_task"),
        ("from celery.task import task\n@task\ndef add(): ...\n", "celery.task"),
        ("from proj import celery_app\n@celery_app.task\ndef add(): ...\n", "celery.Celery.task"),
        ("from proj.celery import app\n@app.task(queue='x')\ndef add(): ...\n", "celery.Celery.task"),
        ("import proj.celery\n@proj.celery.app.task\ndef add(): ...\n", "celery.Celery.task"),
        ("from celery import current_app\n@current_app.task\ndef add(): ...\n", "celery.Celery.task"),
        ("from celery import Celery\nclass Own(Celery): ...\napp = Own()\n@app.task\ndef add(): ...\n", "celery.Celery.task"),
        ("from celery import Celery\ndef make():\n    made = Celery()\n    return made\napp = make()\n@app.task\ndef add(): ...\n", "celery.Celery.task"),
        ("from celery import shared_task\ndef f(): ...\nadd = shared_task(f)\n", "celery.shared_task"),
        ("from celery import shared_task\ndef f(): ...\nadd = shared_task(bind=True)(f)\n", "celery.shared_task"),
        ("from celery import Task\nclass add(Task):\n    def run(self): ...\n", "celery.Task"),
        ("from celery import Task\nclass Base(Task): ...\nclass add(Base):\n    def run(self): ...\n", "celery.Task"),
        ("from proj import celery_app\nclass add(celery_app.Task):\n    def run(self): ...\n", "celery.Task"),
        ("from django.tasks import task\n@task\ndef add(): ...\n", "django.tasks.task"),
        ("from django_tasks import task\n@task()\ndef add(): ...\n", "django_tasks.task"),
        ("from tasks_celery import task\nfrom x import notify\n@notify()\n@task\ndef add(): ...\n", "tasks_celery.task"),
        ("from tasks_celery import adopt\nfrom x import y\nadd = adopt(y)\n", "tasks_celery.adopt"),
        ("if True:\n    from celery import shared_task\n    @shared_task\n    def add(): ...\n", "celery.shared_task"),
    ],
)  # fmt: skip
def test_a_task_is_known_by_what_makes_it(text: str, made_by: str) -> None:
    assert tasks(text)["shop.tasks.add"] == made_by


MADE = "from functools import partial\nfrom celery import shared_task\n"


@pytest.mark.parametrize(
    "text",
    [
        f"{MADE}retried = other(acks_late=True)\n@retried\ndef add(): ...\n",
        f"{MADE}retried = shared_task(acks_late=True)\nretried = other\n@retried\ndef add(): ...\n",
        f"{MADE}def make():\n    retried = shared_task(acks_late=True)\n@retried\ndef add(): ...\n",
        f"{MADE}retried = shared_task\n@retried.other\ndef add(): ...\n",
        # A task is called, which makes none of what it gives back.
        f"{MADE}def f(x): ...\nretried = shared_task(f)\n@retried\ndef add(): ...\n",
        # The function that `shared_task(acks_late=True)` gives takes no options: Python fails there.
        f"{MADE}retried = shared_task(acks_late=True)\n@retried(queue='x')\ndef add(): ...\n",
        f"{MADE}retried = partial(other, acks_late=True)\n@retried\ndef add(): ...\n",
        f"{MADE}retried = partial()\n@retried\ndef add(): ...\n",
        f"{MADE}retried = partial(retried)\n@retried\ndef add(): ...\n",
        "from mine import partial\nfrom celery import shared_task\nretried = partial(shared_task)\n@retried\ndef add(): ...\n",
    ],
)
def test_a_decorator_that_is_not_proven_to_be_made_of_celerys_makes_no_task(text: str) -> None:
    assert "shop.tasks.add" not in tasks(text)


@pytest.mark.parametrize(
    ("text", "made_by"),
    [
        (f"{MADE}retried = shared_task(acks_late=True)\n@retried\ndef add(): ...\n", "celery.shared_task"),
        (f"{MADE}retried = shared_task()\nagain = retried\n@log\n@again\ndef add(): ...\n", "celery.shared_task"),
        (f"{MADE}retried = partial(shared_task, acks_late=True)\n@retried\ndef add(): ...\n", "celery.shared_task"),
        (f"{MADE}retried = partial(shared_task)\n@retried(queue='x')\ndef add(): ...\n", "celery.shared_task"),
        (f"{MADE}a = partial(shared_task)\nb = partial(a, queue='x')\n@b\ndef add(): ...\n", "celery.shared_task"),
        (f"{MADE}a = partial(shared_task)\nretried = a(queue='x')\n@retried\ndef add(): ...\n", "celery.shared_task"),
        (f"{MADE}retried = shared_task(acks_late=True)\ndef f(): ...\nadd = retried(f)\n", "celery.shared_task"),
        ("from proj import celery_app\nretried = celery_app.task(acks_late=True)\n@retried\ndef add(): ...\n", "celery.Celery.task"),
        ("from elsewhere.made import retried\n@retried\ndef add(): ...\n", "celery.shared_task"),
        ("from elsewhere import made\n@made.retried\ndef add(): ...\n", "celery.shared_task"),
    ],
)  # fmt: skip
def test_a_decorator_made_by_a_call_makes_a_task(text: str, made_by: str) -> None:
    found = tasks(text, elsewhere__made=f"{MADE}retried = shared_task(acks_late=True)\n")
    assert {origin: by for origin, by in found.items() if origin != "shop.tasks.f"} == {"shop.tasks.add": made_by}


def test_the_options_of_a_decorator_made_by_a_call_are_known_but_not_written_out() -> None:
    text = f"{MADE}a = partial(shared_task, bind=True, queue='x')\nb = a(queue=Q)\n@b\ndef add(self): ...\n"
    task = Project.of({"shop/tasks.py": text}).tasks["shop.tasks.add"]
    assert task.options == {"bind": "True", "queue": "Q", "**": "b"}
    assert (task.anchor, task.name) == (Anchor(6, 4), "shop.tasks.add")


def test_a_name_that_a_decorator_made_by_a_call_may_give_is_not_guessed() -> None:
    for options, name in (("**more", None), ("name=NAME", None), ("name='x.y'", "x.y")):
        text = f"{MADE}retried = shared_task({options})\n@retried\ndef add(): ...\n"
        assert Project.of({"shop/tasks.py": text}).tasks["shop.tasks.add"].name == name


def test_a_task_of_a_decorator_made_by_a_call_is_used_as_any_other_and_its_definition_stays() -> None:
    text = f"{MADE}retried = shared_task(acks_late=True)\n@retried\ndef add(x): ...\n"
    views = "from shop.tasks import add\nadd.delay(1)\napp.send_task('shop.tasks.add')\n"
    project = Project.of({"shop/tasks.py": text, "shop/views.py": views})
    assert [each.how for each in project.uses["shop.tasks.add"]] == ["delay", "name"]
    assert project.moving == set()


def test_a_task_knows_its_options_as_they_are_written_its_place_and_its_name() -> None:
    text = "from celery import shared_task\n@shared_task(queue=f'{Q}ä', name = 'x.y', **more)\ndef   add(): ...\n"
    task = Project.of({"shop/tasks.py": text}).tasks["shop.tasks.add"]
    assert task.options == {"queue": "f'{Q}ä'", "name": "'x.y'", "**": "more"}
    assert (task.anchor, task.name, task.path) == (Anchor(3, 6), "x.y", "shop/tasks.py")


def test_a_name_on_the_wire_that_cannot_be_read_is_not_guessed() -> None:
    for options, name in (
        ("name=NAME", None),
        ("**more", None),
        ("name=None", "shop.tasks.add"),
        ("", "shop.tasks.add"),
    ):
        text = f"from celery import shared_task\n@shared_task({options})\ndef add(): ...\n"
        assert Project.of({"shop/tasks.py": text}).tasks["shop.tasks.add"].name == name
