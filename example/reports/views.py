"""Web process. The pages: sign in, ask for a report, see one's own, download them, be reminded of something."""

from __future__ import annotations

import logging
from typing import Any, cast

from django.conf import settings
from django.contrib.auth import get_user_model, login, logout
from django.contrib.auth.decorators import login_required
from django.contrib.auth.hashers import make_password
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_GET, require_POST

from example.reports import reminders
from example.reports.forms import DEMO_USERS, SAMPLE, ReminderForm, ReportForm, SignInForm
from example.reports.models import Digest, Reminder, Report
from example.reports.orders import COLUMNS, MAX_BYTES
from example.reports.tasks import build_report
from example.reports.uploads import UploadLimit
from tasks_celery.channels import events_since
from tasks_celery.exceptions import TasksCeleryError

logger = logging.getLogger(__name__)

SHOWN_REPORTS = 50
NOT_QUEUED = "The task queue did not answer, so nothing was started. Please try again in a moment."

#: A report loads nothing and runs nothing, whatever its CSV said.
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; sandbox"


@never_cache
@require_GET
def list_reports(request: HttpRequest) -> HttpResponse:
    """Show the user's reports, or the two ways in."""
    if request.user.is_authenticated:
        return _page(request)
    return render(request, "reports/sign_in.html", {"users": DEMO_USERS, "open": _demo_sign_in()})


@require_POST
def sign_in(request: HttpRequest) -> HttpResponse:
    """Sign in as a demo user, who is made on the first visit. Refused where DEMO_SIGN_IN is off."""
    if not _demo_sign_in():
        raise PermissionDenied("Sign-in by one click is off here: DEMO_SIGN_IN is not set.")
    form = SignInForm(request.POST)
    if not form.is_valid():
        return HttpResponseBadRequest("There is no such demo user; there are: " + ", ".join(DEMO_USERS))
    login(request, _demo_user(form.cleaned_data["user"]), backend="django.contrib.auth.backends.ModelBackend")
    return redirect("reports:list")


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """End the session."""
    logout(request)
    return redirect("reports:list")


# The limit has to be in place before the body is read, and the CSRF check reads it: hence the two steps.
@csrf_exempt
@login_required
def create_report(request: HttpRequest) -> HttpResponse:
    """Take an order for a report and queue it; what cannot be built is shown on the page, and not stored."""
    limit = UploadLimit(MAX_BYTES)
    request.upload_handlers.insert(0, limit)
    return _create_report(request, limit)


@csrf_protect
def _create_report(request: HttpRequest, limit: UploadLimit) -> HttpResponse:
    if request.method != "POST":
        return redirect("reports:list")
    form = ReportForm(request.POST, request.FILES, too_large=limit.exceeded)
    if not form.is_valid():
        return _page(request, form, status=422)
    _queue(form.save(_user_id(request)))
    return redirect("reports:list")


@never_cache
@login_required
@require_GET
def states(request: HttpRequest) -> JsonResponse:
    """Return the state of each report on the user's page; a page asks where it cannot go by its events."""
    return JsonResponse({"reports": [_state(report) for report in _reports_of(request)]})


@login_required
@require_POST
def create_reminder(request: HttpRequest) -> HttpResponse:
    """Have the user reminded of something; where there is no beat to do it, this address is none."""
    if not reminders.are_possible():
        raise Http404
    form = ReminderForm(request.user, request.POST)
    if not form.is_valid():
        return _page(request, reminder_form=form, status=422)
    form.save()
    return redirect("reports:list")


@login_required
@require_POST
def remove_reminder(request: HttpRequest, pk: int) -> HttpResponse:
    """Put a reminder of the user's away, due or not; to others it does not exist."""
    reminders.put_away(get_object_or_404(Reminder, pk=pk, owner_id=_user_id(request)))
    return redirect("reports:list")


@login_required
@require_GET
def download(request: HttpRequest, pk: int) -> HttpResponse:
    """Hand a built report to its owner; to others it does not exist."""
    report = get_object_or_404(Report, pk=pk, owner_id=_user_id(request), state=Report.State.READY)
    with report.built.open("rb") as file:
        headers = {"Content-Security-Policy": REPORT_POLICY, "Cache-Control": "private"}
        return _attachment(file.read(), "text/html; charset=utf-8", report.download_name, headers)


@require_GET
def sample(request: HttpRequest) -> HttpResponse:
    """Hand out the sample, as a pattern for one's own file."""
    return _attachment(SAMPLE.read_bytes(), "text/csv; charset=utf-8", SAMPLE.name, {})


def _attachment(content: bytes, content_type: str, name: str, headers: dict[str, str]) -> HttpResponse:
    disposition = f'attachment; filename="{name}"'
    return HttpResponse(content, content_type=content_type, headers=headers | {"Content-Disposition": disposition})


def _page(
    request: HttpRequest,
    form: ReportForm | None = None,
    reminder_form: ReminderForm | None = None,
    *,
    status: int = 200,
) -> HttpResponse:
    context = {
        # Before all else is read: what ends meanwhile, the page is told.
        "since": events_since(request),
        "form": form or ReportForm(),
        "columns": COLUMNS,
        "reports": _reports_of(request),
        "digest": Digest.objects.filter(owner_id=_user_id(request), day=timezone.localdate()).first(),
        "digest_every": getattr(settings, "DIGEST_EVERY", None),
        "remind": reminders.are_possible(),
        "reminder_form": reminder_form or ReminderForm(request.user),
        "reminders": Reminder.objects.filter(owner_id=_user_id(request)),
    }
    return render(request, "reports/list.html", context, status=status)


def _reports_of(request: HttpRequest) -> list[Report]:
    return list(Report.objects.filter(owner_id=_user_id(request))[:SHOWN_REPORTS])


def _queue(report: Report) -> None:
    """Ask a worker to build `report`, which is in the database by now: the worker finds it.

    In a project with ATOMIC_REQUESTS this would be a matter for `transaction.on_commit`.
    """
    try:
        result = build_report.enqueue(report_id=report.pk)
    except TasksCeleryError:
        logger.exception("Report %s could not be queued", report.pk)
        report.fail(NOT_QUEUED)
    else:
        # This column only: the worker may be writing the others already.
        Report.objects.filter(pk=report.pk).update(task_result_id=result.id)


def _state(report: Report) -> dict[str, Any]:
    return {
        "report": report.pk,
        "state": report.state,
        "title": report.title,
        "download_url": report.download_url if report.state == Report.State.READY else None,
        "reason": report.reason,
    }


def _user_id(request: HttpRequest) -> int:
    # Each caller has seen to it that somebody is signed in.
    return cast("int", request.user.pk)


def _demo_sign_in() -> bool:
    return bool(getattr(settings, "DEMO_SIGN_IN", settings.DEBUG))


def _demo_user(name: str) -> Any:
    known = {"first_name": DEMO_USERS[name], "password": make_password(None)}
    user, _ = get_user_model()._default_manager.get_or_create(username=name, defaults=known)
    return user
