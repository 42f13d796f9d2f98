"""The reference names what the code has, and nothing else."""

from __future__ import annotations

import re
from ast import literal_eval
from dataclasses import fields
from inspect import signature
from pathlib import Path

from tasks_celery.beat import schedule
from tasks_celery.beat.options import ScheduleSettings
from tasks_celery.channels.options import EventOptions
from tasks_celery.options import Options
from tasks_celery.task import TaskOptions

ROOT = Path(__file__).parent.parent
REFERENCE = (ROOT / "docs/reference.md").read_text()
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()


def section(title: str) -> str:
    found = re.search(rf"^## {title}$(.*?)(?=^## |\Z)", REFERENCE, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def test_every_check_is_in_the_reference_and_no_other() -> None:
    code = "".join(path.read_text() for path in (ROOT / "tasks_celery").rglob("*.py"))
    assert set(re.findall(r'id="(tasks_celery\.[EW]\d+)"', code)) == set(
        re.findall(r"tasks_celery\.[EW]\d+", section("Checks"))
    )


def test_every_option_is_in_the_reference_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| `?([^|`]+)`? \|", section("Options"), re.MULTILINE))
    assert set(rows) == {field.name.upper() for field in fields(Options)}
    for name in ("TIMEOUT", "LEASE", "GRACE", "SWEEP_EVERY"):
        assert float(rows[name]) == getattr(Options(), name.lower())
    assert rows["KEY_PREFIX"].strip('"') == Options().key_prefix


def test_every_option_of_events_is_in_the_reference_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `([^|`]+)` \|", section("Events"), re.MULTILINE)
    defaults = {field.name.upper(): getattr(EventOptions(), field.name) for field in fields(EventOptions)}
    assert {name: literal_eval(default) for name, default in rows} == defaults


def test_every_setting_of_schedules_is_in_the_reference_with_its_default() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| `([^|`]+)` \|", section("Schedules"), re.MULTILINE)
    defaults = {field.name.upper(): getattr(ScheduleSettings(), field.name) for field in fields(ScheduleSettings)}
    assert {name: literal_eval(default) for name, default in rows} == defaults


def test_every_argument_of_a_schedule_is_in_the_reference() -> None:
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", section("Schedules"), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([a-z_]+)`", row)}
    assert named == set(signature(schedule).parameters) - {"when"}


def test_every_task_option_is_in_the_reference() -> None:
    named = re.findall(r"^\| `(\w+)` \|", section("Task options"), re.MULTILINE)
    assert named == [field.name for field in fields(TaskOptions)]


def test_the_changelog_has_the_version() -> None:
    version = re.search(r'^version = "([^"]+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    assert f"## {version[1]}" in CHANGELOG
