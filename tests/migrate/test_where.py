"""Which folder is the project that a path belongs to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks_celery.migrate.where import WrongPathError, where


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in (
        "site/manage.py",
        "site/shop/__init__.py",
        "site/shop/tasks.py",
        "site/shop/sub/__init__.py",
        "site/notes.txt",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return tmp_path / "site"


def test_nothing_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongPathError, match=r"There is no .*/away: name a folder"):
        where(tmp_path / "away")


def test_what_is_no_python_is_refused(tree: Path) -> None:
    with pytest.raises(WrongPathError, match=r"notes.txt is neither a folder nor a Python file"):
        where(tree / "notes.txt")


def test_a_folder_that_is_no_package_is_a_project(tree: Path) -> None:
    assert where(tree) == (tree, "")
    assert where(tree.parent) == (tree.parent, "")


@pytest.mark.parametrize("under", ["shop/tasks.py", "shop", "shop/sub"])
def test_a_package_or_a_file_belongs_to_the_project_above(tree: Path, under: str) -> None:
    assert where(tree / under) == (tree, under)


def test_without_any_mark_the_outermost_package_says_where_it_begins(tree: Path) -> None:
    (tree / "manage.py").unlink()
    assert where(tree / "shop/sub") == (tree, "shop/sub")


def test_only_what_was_asked_for_is_covered(tree: Path) -> None:
    asked = where(tree / "shop")
    assert asked.covers("shop/tasks.py")
    assert not asked.covers("shopping/tasks.py")
    assert where(tree / "shop/tasks.py").covers("shop/tasks.py")
    assert where(tree).covers("anything.py")
