"""docs/schedules.md says what the code has; its blocks are run by integration/test_schedules_doc.py."""

from __future__ import annotations

import re
from pathlib import Path

from tasks_celery.beat.options import ScheduleSettings
from tasks_celery.beat.scheduler import LOOK_EVERY

ROOT = Path(__file__).parent.parent.parent
HOW_TO = (ROOT / "docs/schedules.md").read_text()


def test_the_numbers_are_the_defaults() -> None:
    told = re.findall(r'`TASK_SCHEDULES\["(\w+)"\]`[^(]*?\((\d+)\)', HOW_TO)
    assert {name: float(value) for name, value in told} == {
        "RETAKE": ScheduleSettings().retake,
        "GRACE": ScheduleSettings().grace,
        "KEEP": ScheduleSettings().keep,
    }
    assert LOOK_EVERY == 2
    assert "notices within two seconds" in " ".join(HOW_TO.split())


def test_what_it_links_to_is_there_and_the_readme_links_to_it() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", HOW_TO)
    assert links
    assert all((ROOT / "docs" / link).exists() for link in links)
    assert "](docs/schedules.md)" in (ROOT / "README.md").read_text()
