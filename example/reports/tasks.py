"""Worker process. What the example does in the background, and what a user's page hears of it."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from example.reports.models import Digest, Reminder, Report
from example.reports.orders import OrdersError
from example.reports.page import render_report
from example.reports.totals import add_up
from tasks_celery import task
from tasks_celery.beat import crontab, every, schedule
from tasks_celery.channels import notify
from tasks_celery.compat import TaskResult, TaskResultStatus

logger = logging.getLogger(__name__)

BROKEN = "Something went wrong on our side while this report was built. Please try it once more."
STOPPED = "The build was stopped before it was done. Please try it once more."


def report_payload(result: TaskResult[Any, Any]) -> dict[str, Any]:
    """Return what the page may see of a build that ended: the link, or the reason. Never a traceback."""
    report = Report.objects.get(pk=report_id_of(result))
    facts = {"report": report.pk, "title": report.title}
    if result.status == TaskResultStatus.SUCCESSFUL:
        return facts | {"download_url": report.download_url}
    return facts | {"reason": report.reason or STOPPED}


def report_id_of(result: TaskResult[Any, Any]) -> int:
    """Return the report that a build is about."""
    return int(result.kwargs["report_id"] if "report_id" in result.kwargs else result.args[0])


@notify("report.ready", failed="report.failed", payload=report_payload)
@task(queue_name="reports")
def build_report(report_id: int) -> dict[str, Any]:
    """Build a report from its orders, and leave its row saying how that went."""
    report = Report.objects.get(pk=report_id)
    report.start()
    with _failure_recorded(report):
        with _lasting(getattr(settings, "REPORT_SECONDS", 0)):
            totals = add_up(report.read_orders())
            html = render_report(report.title, totals, built_at=timezone.now())
        report.succeed(html, totals)
    return {"orders": totals.order_count, "total": str(report.total)}


@contextmanager
def _failure_recorded(report: Report) -> Iterator[None]:
    """Record a failure in the row and let it go on: the task fails too."""
    try:
        yield
    except OrdersError as error:
        report.fail(str(error))
        raise
    except Exception:
        report.fail(BROKEN)
        raise


@contextmanager
def _lasting(seconds: float) -> Iterator[None]:
    """Let a block last at least so long, so that a person sees the page change by itself."""
    started = time.monotonic()
    try:
        yield
    finally:
        time.sleep(max(0.0, started + seconds - time.monotonic()))


def digest_owners(result: TaskResult[Any, Any]) -> list[int]:
    """Return whose digests were written."""
    owners: list[int] = result.return_value["owners"]
    return owners


# Without a payload: each of them is told the same, and fetches what is theirs.
@notify("digest.ready", to=digest_owners)
@schedule(crontab("0 3 * * *", timezone=settings.TIME_ZONE), name="Digest, nightly")
@task
def nightly_digest() -> dict[str, Any]:
    """Sum up every user's reports of yesterday and of today so far.

    The run at 03:00 closes yesterday; those of a demo in between keep today's digest fresh. Each run
    starts from the reports, so running it twice or missing one changes nothing.
    """
    today = timezone.localdate()
    digests = [digest for day in (today - timedelta(days=1), today) for digest in _digests_of(day)]
    for digest in digests:
        logger.info(
            "Digest of %s for %s: %d reports, %d orders, %s in total",
            digest.day,
            digest.owner,
            digest.report_count,
            digest.order_count,
            digest.total,
        )
    return {"digests": len(digests), "owners": sorted({digest.owner_id for digest in digests})}


# For those who watch the demo and have no night to wait for.
if DIGEST_EVERY := getattr(settings, "DIGEST_EVERY", None):
    # Where no worker takes one in time, the next does the same: they need not pile up.
    schedule(every(seconds=DIGEST_EVERY), name="Digest, often", expires=DIGEST_EVERY)(nightly_digest)


def _digests_of(day: date) -> list[Digest]:
    by_owner: dict[int, list[Report]] = defaultdict(list)
    for report in Report.objects.filter(state=Report.State.READY, finished_at__date=day):
        by_owner[report.owner_id].append(report)
    return [_digest(owner_id, day, reports) for owner_id, reports in by_owner.items()]


def _digest(owner_id: int, day: date, reports: list[Report]) -> Digest:
    digest, _ = Digest.objects.update_or_create(
        owner_id=owner_id,
        day=day,
        defaults={
            "report_count": len(reports),
            "order_count": sum(report.order_count for report in reports),
            # Added here, as SQLite adds decimals as floats.
            "total": sum(report.total for report in reports),
        },
    )
    return digest


def reminder_payload(result: TaskResult[Any, Any]) -> dict[str, Any] | None:
    """Return what the page shows of a reminder; nothing of one that was taken back at the last moment."""
    reminder = Reminder.objects.filter(pk=result.kwargs["reminder_id"]).first()
    return {"reminder": reminder.pk, "text": reminder.text} if reminder else None


# Who is told is said by the schedule, which was made for one user.
@notify("reminder.due", payload=reminder_payload)
@task
def remind(reminder_id: int) -> None:
    """Record that a reminder is due; that its owner is told of it is all there is to do."""
    Reminder.objects.filter(pk=reminder_id).update(told_at=timezone.now())
