"""Every process. What happened, written down as it does: one line of JSON each."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from django.conf import settings

Note = dict[str, Any]


def note(kind: str, **facts: Any) -> None:
    # One write to the end of a file is not torn by another's.
    with _path().open("a") as file:
        file.write(json.dumps({"kind": kind, "time": time.time(), "pid": os.getpid(), **facts}) + "\n")


def notes(kind: str) -> list[Note]:
    lines = _path().read_text().splitlines() if _path().exists() else []
    return [note for note in map(json.loads, lines) if note["kind"] == kind]


def _path() -> Path:
    return Path(settings.FOLDER) / "notes"
