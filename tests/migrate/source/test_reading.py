"""A project read from its folder: every file that is its own, whatever is in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks_celery.migrate.finding import Anchor, Verdict
from tasks_celery.migrate.source import Project
from tasks_celery.migrate.source.pool import each
from tasks_celery.migrate.source.prefilter import Words, words_of_tasks
from tasks_celery.migrate.source.reading import find_all, read
from tasks_celery.migrate.source.tree import LARGEST, tree_of

TASK = "from celery import shared_task\n@shared_task\ndef add(): ...\n"


def write(folder: Path, **files: str | bytes) -> None:
    for name, content in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def test_what_others_wrote_and_what_is_made_is_not_read(tmp_path: Path) -> None:
    for path in (
        ".git/a",
        "node_modules/a",
        "x/__pycache__/a",
        "x/site-packages/a",
        "build/a",
        ".tox/a",
        "own/lib/a",
        "env/a",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{path}.py").touch()
    (tmp_path / "own/pyvenv.cfg").touch()
    write(tmp_path, shop__build__tasks="", shop__a="", b="", shop__migrations__a="")
    (tmp_path / "shop/build/__init__.py").touch()
    (tmp_path / "note.txt").touch()
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "round").symlink_to(tmp_path)
    assert tree_of(tmp_path).files == [
        "b.py",
        "shop/a.py",
        "shop/build/__init__.py",
        "shop/build/tasks.py",
        "shop/migrations/a.py",
    ]


@pytest.mark.parametrize("processes", [1, None])
def test_a_file_that_cannot_be_read_is_found_and_hides_no_other(tmp_path: Path, processes: int | None) -> None:
    write(
        tmp_path,
        shop__tasks=TASK,
        a="def (\n",
        b=b"# coding: nothing\n",
        c=b"x = 1\ny = '\xff'\n",
        d="x = '\0'\n",
        e=b"\xef\xbb\xbfx = 1\n",
    )
    write(
        tmp_path,
        f="# coding: latin-1\nx = '\xe4'\n".encode("latin-1"),
        g="#" * (LARGEST + 1),
        h="x = " + "(" * 500,
    )
    (tmp_path / "i.py").symlink_to(tmp_path / "nowhere.py")
    project = read(tmp_path, processes=processes)
    assert list(project.tasks) == ["shop.tasks.add"]
    found = [each for each in find_all(project, processes=processes) if each.kind == "unreadable"]
    assert [each.path for each in found] == ["a.py", "b.py", "c.py", "d.py", "g.py", "h.py", "i.py"]
    assert all(each.verdict is Verdict.PERSON and each.reason for each in found)
    assert [each.anchor for each in found][2] == Anchor(2, 0)


def test_a_folder_is_read_as_its_texts_are(tmp_path: Path) -> None:
    texts = {
        "shop/tasks.py": TASK,
        "shop/views.py": "from . import tasks\nplus = tasks.add\n",
        "shop/jobs.py": "from .views import plus\nplus.delay()\n",
        "shop/more.py": "def f():\n    from .views import plus as p\n    p.delay()\n",
        "tests/a.py": "mock.patch('shop.views.plus.delay')\n",
        "tests/b.py": "mock.patch(f'{x}.add.delay')\n",
        "settings.py": "CELERY_TASK_DEFAULT_QUEUE = 'x'\n",
    }
    write(tmp_path, **{path.removesuffix(".py").replace("/", "__"): text for path, text in texts.items()})
    told: list[tuple[int, int]] = []
    read_, made = read(tmp_path, progress=lambda done, total: told.append((done, total))), Project.of(texts)
    assert (read_.tasks, read_.settings, read_.moving) == (made.tasks, made.settings, made.moving)
    assert {task: sorted(uses, key=str) for task, uses in read_.uses.items()} == {
        task: sorted(uses, key=str) for task, uses in made.uses.items()
    }
    assert len(made.uses["shop.tasks.add"]) == 4
    assert told[-1] == (len(texts), len(texts))


def test_several_processes_find_what_one_does_in_the_same_order(tmp_path: Path) -> None:
    for number in range(6):
        text = f"from .tasks{(number + 1) % 6} import add\ndef f(x):\n    add.delay(x)\n    add.delay({number})\n"
        write(tmp_path, **{f"shop__tasks{number}": TASK, f"shop__views{number}": text})
    write(tmp_path, shop__odd="def (\n", settings="CELERY_TASK_DEFAULT_QUEUE = 'x'\n")
    one, two = read(tmp_path, processes=1), read(tmp_path, processes=2)
    assert (two.tasks, two.uses, two.settings, two.moving) == (one.tasks, one.uses, one.settings, one.moving)
    told: list[tuple[int, int]] = []
    found = find_all(two, processes=2, progress=lambda done, total: told.append((done, total)))
    assert found == find_all(one, processes=1)
    assert {"unreadable", "task", "call"} <= {each.kind for each in found}
    assert told == [(done, 14) for done in range(1, 15)]


def test_a_file_is_passed_over_only_where_no_word_of_it_can_lead_to_a_task() -> None:
    texts = {
        "shop/tasks.py": TASK,
        "a.py": "from shop.tasks import add as plus\n",
        "b.py": "from a import plus\nmore = plus\n",
        "c.py": "x = y\n",
    }
    words = words_of_tasks(Project.of(texts))
    assert words.may_be_in(b"import b\nb.more.delay()")
    assert words.may_be_in("from shop.tasks import \N{FULLWIDTH LATIN SMALL LETTER A}dd".encode())
    assert not words.may_be_in(b"import c\nc.x.delay(address)")
    assert Words(["ä"]).may_be_in(b"nothing")


def _twice(shared: int, path: str) -> str:
    return path * shared


def _raises(_shared: None, path: str) -> str:
    raise LookupError(path)


def test_what_comes_of_many_files_comes_in_their_order() -> None:
    told: list[tuple[int, int]] = []
    found = each(_twice, 2, ["b", "a"], processes=1, progress=lambda done, total: told.append((done, total)))
    assert list(found) == ["bb", "aa"]
    assert told == [(1, 2), (2, 2)]


def test_an_error_of_the_work_itself_is_not_hidden() -> None:
    with pytest.raises(LookupError, match="a"):
        list(each(_raises, None, ["a"], processes=1, progress=None))
