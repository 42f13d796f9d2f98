"""Web process. The one task there is."""

from __future__ import annotations

from tasks_celery import task
from tasks_celery.channels import notify


@notify("text.written", payload=lambda result: {"text": result.args[0]})
@task
def write(text: str) -> None:
    """Do nothing; whoever asked hears of the text."""
