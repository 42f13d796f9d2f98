"""What is written at the place of a use, in whichever file that is."""

from __future__ import annotations

from tasks_celery.migrate.source import Project, Use
from tasks_celery.migrate.source.parsing import NEWLINES, UnreadableError, decode


def written_from(project: Project, use: Use) -> str:
    """Return the text of a use's file from the last name of the use on; "" where it cannot be read any more."""
    try:
        lines = NEWLINES.split(decode(project.data(use.path)))
    except (OSError, UnreadableError):
        return ""
    line, column = use.anchor
    return "\n".join([lines[line - 1][column:], *lines[line:]]) if line <= len(lines) else ""
