"""The command line: what it says, what it writes, and its exit codes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tasks_celery.migrate.__main__ import main

TASKS = """\
from celery import shared_task


@shared_task
def add(a: int, b) -> int:
    return a
"""
VIEWS = """\
from shop.tasks import add


def view(request):
    add.delay(1, 2)  # soon
    add.delay(1, {1, 2})
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A small project, which must not be imported."""
    root = tmp_path / "site"
    texts = {
        "manage.py": "raise SystemExit('imported')\n",
        "shop/__init__.py": "raise SystemExit('imported')\n",
        "shop/tasks.py": TASKS,
        "shop/views.py": VIEWS,
        "shop/plain.py": "a = 1\n",
    }
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text.encode())
    return root


def state(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([str(each) for each in arguments]) == 2
    said = capsys.readouterr()
    assert not said.out
    return said.err


@pytest.mark.parametrize(
    "arguments", [[], ["move"], ["report"], ["report", ".", "--fail-on", "all"], ["rewrite", "--json", "x", "."]]
)
def test_a_wrong_command_line_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["report", "rewrite"])
def test_a_path_that_is_not_there_is_said(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "There is no" in refused(capsys, command, tmp_path / "away")


def test_an_unknown_fixer_is_said_with_those_there_are(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "rewrite", shop, "--only", "dealy")
    assert "'dealy'" in said
    assert "delay" in said


def test_a_file_that_cannot_be_written_is_said(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(shop), "--html", str(shop / "away/x.html")]) == 2
    assert "x.html cannot be written: No such file" in capsys.readouterr().err


def test_without_libcst_rewrite_says_what_to_install(
    shop: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(sys.modules):
        if name.startswith(("tasks_celery.migrate.rewriting", "tasks_celery.migrate.changing")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "libcst", None)
    assert "pip install 'tasks-celery[migrate]'" in refused(capsys, "rewrite", shop)
    assert main(["report", str(shop)]) == 0


@pytest.mark.parametrize("command", ["report", "rewrite"])
def test_help_says_the_exit_codes(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    assert "Exit code: 0" in capsys.readouterr().out


def test_a_report_changes_nothing_and_imports_nothing(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = state(shop)
    assert main(["report", str(shop)]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("site: 5 files read\n1 task: 1 ")
    assert said.err == ""
    assert state(shop) == before
    assert "shop.tasks" not in sys.modules


def test_a_report_of_one_file_still_knows_the_others(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["report", str(shop / "shop/views.py"), "--json", "-"])
    made = json.loads(capsys.readouterr().out)
    assert (made["title"], made["files"]) == ("views.py", 1)
    assert {each["path"] for each in made["findings"]} == {"shop/views.py"}
    assert all(each["name"].startswith("shop.tasks.add") for each in made["findings"])
    assert made["findings"]


def test_a_report_is_written_as_json_and_html_too(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(shop), "--json", str(tmp_path / "r.json"), "--html", str(tmp_path / "r.html")]) == 0
    assert json.loads((tmp_path / "r.json").read_text())["version"] == 1
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
    assert capsys.readouterr().out.startswith("site: 5 files read")


@pytest.mark.parametrize(("verdicts", "code"), [([], 0), (["unsafe"], 1), (["moves"], 1), (["person", "unsafe"], 1)])
def test_the_exit_code_says_whether_there_is_any(shop: Path, verdicts: list[str], code: int) -> None:
    assert main(["report", str(shop), *(word for each in verdicts for word in ("--fail-on", each))]) == code


def test_the_exit_code_is_0_where_there_is_none(shop: Path) -> None:
    assert main(["report", str(shop / "shop/plain.py"), "--fail-on", "unsafe", "--fail-on", "person"]) == 0


def test_rewrite_without_write_lists_and_changes_nothing(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = state(shop)
    assert main(["rewrite", str(shop)]) == 0
    said = capsys.readouterr().out
    assert "shop/tasks.py: 1 task\n" in said
    assert "2 files would be changed (--write changes them)." in said
    assert "A set is no JSON" in said
    assert state(shop) == before


def test_rewrite_writes_what_its_diff_says(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rewrite", str(shop), "--diff", "--write"]) == 0
    diff = capsys.readouterr().out
    assert diff.startswith("--- a/shop/tasks.py\n+++ b/shop/tasks.py\n")
    assert "-    add.delay(1, 2)  # soon\n+    add.enqueue(1, 2)  # soon\n" in diff
    after = state(shop)
    assert b"add.enqueue(1, 2)  # soon" in after["shop/views.py"]
    assert b"add.delay(1, {1, 2})" in after["shop/views.py"]
    assert b"shared_task" not in after["shop/tasks.py"]
    assert main(["rewrite", str(shop), "--write"]) == 0
    assert "0 files changed." in capsys.readouterr().out
    assert state(shop) == after


def test_only_what_was_asked_for_is_rewritten(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = state(shop)
    assert main(["rewrite", str(shop / "shop/tasks.py"), "--write", "--only", "task"]) == 0
    after = state(shop)
    assert {name for name in after if after[name] != before[name]} == {"shop/tasks.py"}


def test_the_default_queue_can_be_said(shop: Path) -> None:
    main(["rewrite", str(shop), "--write", "--queue", "usual"])
    assert b'queue_name="usual"' in state(shop)["shop/tasks.py"]


def test_what_is_computed_can_be_assumed_to_be_json(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app = "from celery import Celery\napp = Celery()\napp.conf.task_serializer = pick()\n"
    (shop / "shop/celery.py").write_text(app)
    main(["rewrite", str(shop)])
    assert "shop/tasks.py: 1 task\n" not in capsys.readouterr().out
    main(["rewrite", str(shop), "--assume-json"])
    assert "shop/tasks.py: 1 task\n" in capsys.readouterr().out
    main(["report", str(shop), "--assume-json"])
    assert "1 task: 1 moves by itself." in capsys.readouterr().out


def test_newlines_and_encodings_are_kept(shop: Path) -> None:
    text = "# coding: latin-1\n" + TASKS + "name = 'ä'\n"
    (shop / "shop/tasks.py").write_bytes(text.replace("\n", "\r\n").encode("latin-1"))
    assert main(["rewrite", str(shop), "--write"]) == 0
    after = (shop / "shop/tasks.py").read_bytes()
    assert b"@task" in after
    assert b"'\xe4'\r\n" in after
    assert after.count(b"\n") == after.count(b"\r\n")


def test_a_file_that_cannot_be_replaced_is_said_and_the_others_are_done(
    shop: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks_celery.migrate import changing, writing

    def replace_file(path: Path, before: bytes, after: bytes) -> None:
        if path.name == "tasks.py":
            path.write_bytes(before + b"# by another\n")
        writing.replace_file(path, before, after)

    monkeypatch.setattr(changing, "replace_file", replace_file)
    assert main(["rewrite", str(shop), "--write"]) == 1
    said = capsys.readouterr()
    assert "shop/tasks.py is left: it was changed meanwhile" in said.err
    assert "1 file changed." in said.out
    assert state(shop)["shop/tasks.py"].endswith(b"# by another\n")
    assert b"enqueue" in state(shop)["shop/views.py"]


def test_calls_stay_where_their_task_is_not_rewritten_with_them(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = state(shop)
    assert main(["rewrite", str(shop / "shop/views.py"), "--write"]) == 0
    assert "0 files changed." in capsys.readouterr().out
    assert state(shop) == before


@pytest.mark.parametrize("arguments", [["shop/tasks.py"], [".", "--only", "task"], [".", "--only", "on-commit"]])
def test_a_task_stays_where_calls_would_break_that_are_not_rewritten_with_it(shop: Path, arguments: list[str]) -> None:
    (shop / "shop/views.py").write_text(VIEWS + "    add.delay_on_commit(1, 2)\n")
    before = state(shop)
    path, *others = arguments
    assert main(["rewrite", str(shop / path), "--write", *others]) == 0
    assert state(shop) == before


def test_a_task_moves_with_its_calls_on_commit(shop: Path) -> None:
    (shop / "shop/views.py").write_text(VIEWS + "    add.delay_on_commit(1, 2)\n")
    assert main(["rewrite", str(shop), "--write", "--only", "task", "--only", "on-commit"]) == 0
    assert b"transaction.on_commit(partial(add.enqueue, 1, 2))" in state(shop)["shop/views.py"]
    assert b"@task" in state(shop)["shop/tasks.py"]


SCHEDULED = """\
CELERY_BEAT_SCHEDULER = "django"
INSTALLED_APPS = ["tasks_celery.beat"]
CELERY_BEAT_SCHEDULE = {"add": {"task": "shop.tasks.add", "schedule": 30.0, "args": [1, 2]}}
"""


@pytest.mark.parametrize("path", ["site/settings.py", "shop/tasks.py"])
def test_a_schedule_stays_where_settings_and_task_are_not_rewritten_together(shop: Path, path: str) -> None:
    for name in ("site/__init__.py", "site/settings.py"):
        (shop / name).parent.mkdir(exist_ok=True)
        (shop / name).write_text(SCHEDULED if name.endswith("settings.py") else "")
    before = state(shop)
    assert main(["rewrite", str(shop / path), "--write"]) == 0
    after = state(shop)
    assert after["site/settings.py"] == before["site/settings.py"]
    assert b"@schedule" not in after["shop/tasks.py"]
    assert main(["rewrite", str(shop), "--write"]) == 0
    assert b"@schedule" in state(shop)["shop/tasks.py"]
    assert state(shop)["site/settings.py"] != before["site/settings.py"]


def test_a_schedule_is_judged_by_what_is_assumed(shop: Path) -> None:
    (shop / "site").mkdir()
    (shop / "site/__init__.py").write_text("")
    (shop / "site/settings.py").write_text(SCHEDULED + "CELERY_TASK_SERIALIZER = pick()\n")
    main(["rewrite", str(shop), "--write"])
    assert b"@schedule" not in state(shop)["shop/tasks.py"]
    main(["rewrite", str(shop), "--write", "--assume-json"])
    assert b"@schedule" in state(shop)["shop/tasks.py"]
    assert b'"add"' not in state(shop)["site/settings.py"]


def test_ids_can_be_assumed_to_be_known(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "from celery.result import AsyncResult\n\n\ndef done(id):\n    return AsyncResult(id).ready()\n"
    (shop / "shop/plain.py").write_text(text)
    main(["rewrite", str(shop), "--write"])
    assert state(shop)["shop/plain.py"] == text.encode()
    main(["report", str(shop), "--assume-known-ids"])
    assert "1  result" in capsys.readouterr().out
    main(["rewrite", str(shop), "--write", "--assume-known-ids"])
    after = state(shop)["shop/plain.py"].decode()
    assert after.startswith("from django.tasks import default_task_backend\n")
    assert "default_task_backend.get_result(id).is_finished" in after
