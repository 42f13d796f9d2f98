"""A report as text."""

from __future__ import annotations

from tasks_celery.migrate.report.text import PLACES, WIDTH, as_text, left_as_text
from tasks_celery.migrate.things.task_options import COMPUTED_SERIALIZER
from tests.migrate.report.making import MIXED, MOVES, PERSON, finding, report


def test_a_project_without_celery_is_told_so_and_nothing_else() -> None:
    assert as_text(report()) == "shop: 3 files read\nNothing of Celery was found.\n"


def test_the_summary_comes_first() -> None:
    first, second = as_text(MIXED).splitlines()[:2]
    assert first == "shop: 3 files read"
    assert second == "3 tasks: 2 move by themselves, 1 needs a person."


def test_what_a_computed_serializer_alone_keeps_is_told_first() -> None:
    kept = [finding(line=line, left=[COMPUTED_SERIALIZER]) for line in (1, 2)]
    other = finding(line=3, left=[COMPUTED_SERIALIZER, "it is odd"])
    third = as_text(report(*kept, other)).splitlines()[2]
    assert third == (
        "2 tasks would move but for task_serializer, which is computed: where it is JSON, say --assume-json."
    )
    assert "would move but for" not in as_text(report(other))


def test_one_is_not_many() -> None:
    assert as_text(report(finding(MOVES), files=1)).startswith("shop: 1 file read\n1 task: 1 moves by itself.")


def test_numbers_are_told_by_kind() -> None:
    rows = {
        line.split()[0]: line.split()[1:]
        for line in as_text(MIXED).splitlines()
        if line.startswith(("tasks ", "arguments"))
    }
    assert rows == {"tasks": ["2", "1", "·", "·"], "arguments": ["·", "·", "1", "·"]}


def test_what_is_unsafe_comes_before_what_needs_a_person() -> None:
    text = as_text(MIXED)
    assert (
        text.index("Unsafe today (1)") < text.index("arguments: A set is no JSON.") < text.index("Needs a person (1)")
    )
    assert "shop/views.py:5  shop.tasks.add" in text


def test_many_places_of_one_reason_are_counted() -> None:
    text = as_text(report(*(finding(line=each) for each in range(1, PLACES + 4))))
    assert f"shop/tasks.py:{PLACES} " in text
    assert f"shop/tasks.py:{PLACES + 1} " not in text
    assert "and 3 more" in text


def test_long_reasons_are_wrapped() -> None:
    text = as_text(report(finding(reason="word " * 60)))
    assert max(map(len, text.splitlines())) <= WIDTH


def test_files_are_told_with_what_is_to_do_in_them() -> None:
    assert "  shop/tasks.py: 2 moves, 1 person\n" in as_text(MIXED)
    assert "shop/signals.py" not in as_text(MIXED)


def test_the_next_step_names_the_queues() -> None:
    text = as_text(MIXED)
    assert (
        'TASKS = {"default": {"BACKEND": "tasks_celery.CeleryBackend", "QUEUES": ["celery", "default", "mail"]}}'
        in text
    )
    assert "-Q celery,default,mail" in text


def test_steps_that_there_is_nothing_for_are_left_out() -> None:
    text = as_text(report(finding(PERSON)))
    assert "rewrite PATH" not in text
    assert "Mend" not in text
    assert "1. Name the queues" in text


def test_what_was_left_is_told_by_its_reason() -> None:
    assert left_as_text([]) == ""
    assert "Needs a person (1)\n    1  tasks: It is odd: adopt() it." in left_as_text(MIXED.findings)
