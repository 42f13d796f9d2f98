"""What modules are named by their paths."""

from __future__ import annotations

import pytest

from tasks_celery.migrate.source import Project
from tasks_celery.migrate.source.modules import module_names, other_names

TASK = "from celery import shared_task\n@shared_task\ndef add(): ...\n"


@pytest.mark.parametrize(
    ("paths", "name"),
    [
        (["shop/tasks.py"], "shop.tasks"),
        (["shop/tasks.py", "shop/__init__.py"], "shop.tasks"),
        (["src/shop/tasks.py", "src/shop/__init__.py"], "shop.tasks"),
        (["src/shop/tasks.py"], "shop.tasks"),
        (["mysite/shop/tasks.py", "mysite/shop/__init__.py", "mysite/manage.py"], "shop.tasks"),
        (["mysite/shop/tasks.py", "mysite/manage.py"], "shop.tasks"),
        (["a/b/shop/tasks.py", "a/b/shop/__init__.py"], "shop.tasks"),
        (["shop/__init__.py"], "shop"),
        (["tasks.py"], "tasks"),
        (["my-docs/conf.py"], "my-docs.conf"),
    ],
)
def test_a_module_is_named_from_the_folder_it_is_imported_from(paths: list[str], name: str) -> None:
    assert module_names(paths)[paths[0]][0] == name


def test_a_module_of_a_namespace_answers_to_its_longer_names_where_they_are_its_alone() -> None:
    names = module_names(["ns/shop/__init__.py", "ns/shop/tasks.py"])
    assert other_names(names) == {"ns.shop": "shop", "ns.shop.tasks": "shop.tasks"}


def test_a_script_takes_no_name_from_what_is_installed() -> None:
    project = Project.of({"tools/celery.py": "", "shop/tasks.py": TASK})
    assert list(project.tasks) == ["shop.tasks.add"]


def test_two_projects_in_one_tree_do_not_answer_for_each_other() -> None:
    files = {}
    for one in ("one", "two"):
        files |= {f"{one}/shop/__init__.py": "", f"{one}/shop/tasks.py": TASK}
        files[f"{one}/shop/views.py"] = (
            "from shop.tasks import add\nfrom . import tasks\nadd.delay()\ntasks.add.delay()\n"
        )
    project = Project.of(files)
    assert set(project.tasks) == {"one.shop.tasks.add", "two.shop.tasks.add"}
    for one in ("one", "two"):
        task = project.tasks[f"{one}.shop.tasks.add"]
        assert (task.path, task.name) == (f"{one}/shop/tasks.py", "shop.tasks.add")
        assert [each.path for each in project.uses[task.origin]] == [f"{one}/shop/views.py"] * 2


def test_a_namespace_is_followed() -> None:
    project = Project.of(
        {"ns/shop/tasks.py": TASK, "ns/web/views.py": "from ns.shop import tasks\ntasks.add.delay()\n"}
    )
    assert [each.how for each in project.uses["ns.shop.tasks.add"]] == ["delay"]
