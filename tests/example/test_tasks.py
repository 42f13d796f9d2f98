from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.utils import timezone

from example.reports import tasks
from example.reports.models import Digest, Report
from example.reports.tasks import BROKEN, STOPPED, build_report, digest_owners, nightly_digest, report_payload
from tasks_celery.beat.declare import declared

from .conftest import HEADER, ROWS, backend

pytestmark = pytest.mark.django_db
Make = Callable[..., Report]


@pytest.fixture(autouse=True)
def _at_once(settings: Any) -> None:
    settings.TASKS = backend("immediate.ImmediateBackend")


def test_a_bad_row_fails_the_task_and_the_report_says_which(ada: User, report_of: Make) -> None:
    report = report_of(ada, HEADER + ROWS + "2025-02-02,A-4,Tea,many,1\n")
    result = build_report.enqueue(report_id=report.pk)
    report.refresh_from_db()
    reason = "Row 6: the quantity “many” is not a whole number."
    assert result.status == "FAILED"
    assert (report.state, report.reason) == ("failed", reason)
    assert report.finished_at is not None
    assert report_payload(result) == {"report": report.pk, "title": "Orders", "reason": reason}


def test_a_fault_of_ours_is_not_shown_to_the_user(ada: User, report_of: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("secret path")

    monkeypatch.setattr(tasks, "render_report", fault)
    report = report_of(ada)
    result = build_report.enqueue(report_id=report.pk)
    report.refresh_from_db()
    assert (report.state, report.reason) == ("failed", BROKEN)
    assert report_payload(result)["reason"] == BROKEN


def test_a_build_that_was_killed_leaves_its_report_failed(
    ada: User, report_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*args: Any, **kwargs: Any) -> None:
        raise SystemError("as if the process had gone without a word")

    monkeypatch.setattr(Report, "start", killed)
    report = report_of(ada)
    result = build_report.enqueue(report_id=report.pk)
    assert report_payload(result)["reason"] == STOPPED
    report.refresh_from_db()
    assert (report.state, report.reason) == ("failed", STOPPED)


def test_a_report_is_built_from_its_orders(ada: User, report_of: Make) -> None:
    report = report_of(ada)
    result = build_report.enqueue(report.pk)
    report.refresh_from_db()
    assert result.return_value == {"orders": 3, "total": "10.50"}
    assert (report.state, report.reason, report.order_count, report.total) == ("ready", "", 3, Decimal("10.50"))
    assert "January 2025" in report.built.open().read().decode()
    assert report_payload(result) == {
        "report": report.pk,
        "title": "Orders",
        "download_url": f"/reports/{report.pk}/download/",
    }


def test_a_digest_sums_up_each_users_day_and_again_changes_nothing(ada: User, grace: User, report_of: Make) -> None:
    old = report_of(ada)
    for report in (report_of(ada), report_of(ada), report_of(grace), old):
        build_report.enqueue(report_id=report.pk)
    Report.objects.filter(pk=old.pk).update(finished_at=timezone.now() - timedelta(days=3))
    report_of(ada)  # still waiting: counts for nothing
    for _ in range(2):
        result = nightly_digest.enqueue()
        assert result.return_value == {"digests": 2, "owners": [ada.pk, grace.pk]}
        assert digest_owners(result) == [ada.pk, grace.pk]
    digest = Digest.objects.get(owner=ada)
    assert (digest.day, digest.report_count, digest.order_count, digest.total) == (
        timezone.localdate(),
        2,
        6,
        Decimal("21.00"),
    )
    assert Digest.objects.get(owner=grace).report_count == 1


def test_a_digest_of_the_night_closes_the_day_before(ada: User, report_of: Make) -> None:
    report = report_of(ada)
    build_report.enqueue(report_id=report.pk)
    yesterday = timezone.now() - timedelta(days=1)
    Report.objects.update(finished_at=yesterday)
    nightly_digest.enqueue()
    assert Digest.objects.get().day == timezone.localdate(yesterday)


def test_nobody_is_told_of_a_digest_that_has_no_owner(ada: User) -> None:
    assert digest_owners(nightly_digest.enqueue()) == []


def test_the_digest_is_declared_for_three_at_night_in_the_sites_zone() -> None:
    nightly = {declaration.name: declaration for declaration in declared()}["Digest, nightly"]
    assert nightly.task == "example.reports.tasks.nightly_digest"
    assert str(nightly.when) == f"crontab 0 3 * * * {django_settings.TIME_ZONE}"
