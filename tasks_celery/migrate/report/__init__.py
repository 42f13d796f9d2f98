"""What was found, to be read: as text, JSON, and a page of HTML."""

from __future__ import annotations

from tasks_celery.migrate.report.counting import Group, Report

__all__ = ["Group", "Report"]
