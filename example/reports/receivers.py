"""Both. Keeps a report's row true where its task ended without a word: killed, timed out, never started."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from example.reports.models import Report
from tasks_celery.compat import TaskResult, TaskResultStatus


def close_report(sender: type, task_result: TaskResult[Any, Any], **kwargs: Any) -> None:
    """Leave the report of a build that failed as failed, unless the build already did."""
    from example.reports.tasks import STOPPED, build_report, report_id_of

    if task_result.task.module_path != build_report.module_path or task_result.status != TaskResultStatus.FAILED:
        return
    Report.objects.filter(pk=report_id_of(task_result), state__in=Report.PENDING).update(
        state=Report.State.FAILED, reason=STOPPED, finished_at=timezone.now()
    )
