"""What was found, counted and grouped."""

from __future__ import annotations

from tests.migrate.report.making import MIXED, MOVES, PERSON, STAYS, UNSAFE, finding, report


def test_a_thing_that_two_finders_found_counts_once() -> None:
    assert len(report(finding(), finding()).findings) == 1
    assert len(report(finding(), finding(reason="Another.")).findings) == 2


def test_findings_are_in_the_order_of_files_and_lines() -> None:
    made = report(finding(line=9), finding(line=2), finding(path="a.py", line=5))
    assert [(each.path, each.anchor.line) for each in made.findings] == [
        ("a.py", 5),
        ("shop/tasks.py", 2),
        ("shop/tasks.py", 9),
    ]


def test_kinds_come_in_their_order_and_only_where_something_was_found() -> None:
    assert list(MIXED.kinds()) == ["task", "argument", "signal", "queue"]
    assert list(report(finding(kind="new"), finding()).kinds()) == ["task", "new"]


def test_verdicts_are_counted_of_one_kind_or_of_all() -> None:
    assert MIXED.verdicts() == {MOVES: 2, PERSON: 1, UNSAFE: 1, STAYS: 2}
    assert MIXED.verdicts("task") == {MOVES: 2, PERSON: 1}


def test_the_most_frequent_reason_comes_first() -> None:
    made = report(finding(line=1, reason="A."), finding(line=2, reason="B."), finding(line=3, reason="B."))
    assert [(group.reason, len(group.findings)) for group in made.groups(PERSON)] == [("B.", 2), ("A.", 1)]
    assert made.groups(UNSAFE) == []


def test_what_has_several_reasons_is_counted_for_each() -> None:
    made = report(
        finding(line=1, reason="A; b.", left=["a", "b (shop/x.py:3)"]),
        finding(line=2, reason="B.", left=["b (shop/y.py:77)"]),
    )
    assert [(group.reason, len(group.findings)) for group in made.groups(PERSON)] == [("B.", 2), ("A.", 1)]


def test_reasons_that_name_their_task_are_one() -> None:
    made = report(
        finding(line=1, name="shop.tasks.add", reason="A."),
        finding(line=1, name="shop.tasks.add_all", reason="A."),
        finding(kind="call", line=2, reason="Tests patch shop.tasks.add."),
        finding(kind="call", line=3, reason="Tests patch shop.tasks.add_all."),
    )
    assert [(group.reason, len(group.findings)) for group in made.groups(PERSON)] == [
        ("Tests patch the task.", 2),
        ("A.", 2),
    ]


def test_files_with_nothing_to_do_are_not_listed() -> None:
    assert list(MIXED.by_file()) == ["shop/tasks.py", "shop/views.py"]


def test_what_each_fixer_would_change_is_counted() -> None:
    assert MIXED.fixers() == {"task": 2}


def test_queues_are_those_named_with_celerys_default_and_djangos() -> None:
    assert MIXED.queues() == ["celery", "default", "mail"]
    assert report(finding(), default_queue="main").queues() == ["default", "main"]


def test_queues_of_tests_and_of_a_project_without_tasks_are_left_out() -> None:
    assert report(finding(STAYS, "queue", path="shop/tests/test_x.py", queue="mail")).queues() == ["default"]
