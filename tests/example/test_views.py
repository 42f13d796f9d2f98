from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from example.reports import reminders
from example.reports.models import Digest, Reminder, Report
from example.reports.orders import MAX_BYTES
from tasks_celery.compat import task_backends
from tasks_celery.exceptions import EnqueueError

from .conftest import HEADER, ROWS, backend

pytestmark = pytest.mark.django_db


def upload(content: bytes, name: str = "orders.csv") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content, content_type="text/csv")


# --- refusals


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "This file is empty: it has 0 bytes."),
        (b"\x89PNG\r\n\x1a\n", "This is not a text file in UTF-8"),
        (b"date,product\n", "misses the columns “order number”, “quantity”, “unit price”"),
        (HEADER.encode(), "there is no row under the header"),
        ((HEADER + "2025-01-31,A-1,Tea,<b>two</b>,3.50\n").encode(), "Row 2: the quantity “&lt;b&gt;two&lt;/b&gt;”"),
        (b"x" * (MAX_BYTES + 1), "This file is larger than 10 MB."),
    ],
    ids=["0 bytes", "binary", "columns", "no rows", "bad number", "over 10 MB"],
)
def test_a_bad_upload_is_refused_on_the_page_and_not_stored(
    as_ada: Client, settings: Any, content: bytes, says: str
) -> None:
    response = as_ada.post("/reports/", {"orders": upload(content)})
    assert response.status_code == 422
    assert says in response.content.decode()
    assert not Report.objects.exists()
    assert not Path(settings.MEDIA_ROOT).exists()


def test_a_file_of_exactly_10_mb_is_no_reason_to_refuse(as_ada: Client) -> None:
    row = "2025-01-31,A-1,Tea,2,3.50\n"
    content = (HEADER + row * ((MAX_BYTES - len(HEADER)) // len(row))).encode()
    content += b"\n" * (MAX_BYTES - len(content))
    assert as_ada.post("/reports/", {"orders": upload(content)}).status_code == 302


def test_no_file_and_no_button_is_refused(as_ada: Client) -> None:
    response = as_ada.post("/reports/", {})
    assert response.status_code == 422
    assert "No file is chosen." in response.content.decode()
    assert not Report.objects.exists()


def test_a_post_without_its_csrf_token_is_refused(ada: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)
    assert client.post("/reports/", {"sample": "1"}).status_code == 403
    assert client.post("/sign-in/", {"user": "ada"}).status_code == 403
    assert not Report.objects.exists()


def test_sign_in_is_refused_where_the_demo_is_off(client: Client, settings: Any) -> None:
    settings.DEMO_SIGN_IN = False
    assert client.post("/sign-in/", {"user": "ada"}).status_code == 403
    assert not User.objects.exists()
    page = client.get("/").content.decode()
    assert "DEMO_SIGN_IN" in page
    assert 'name="user"' not in page


def test_sign_in_as_somebody_else_is_refused(client: Client) -> None:
    User.objects.create_superuser("root")
    response = client.post("/sign-in/", {"user": "root"})
    assert response.status_code == 400
    assert "ada, grace" in response.content.decode()
    assert "_auth_user_id" not in client.session


@pytest.mark.parametrize("path", ["/reports/", "/reports/states/", "/reports/1/download/"])
def test_who_is_not_signed_in_is_sent_to_the_front_page(client: Client, settings: Any, path: str) -> None:
    settings.LOGIN_URL = "reports:list"
    response = client.get(path)
    assert response.status_code == 302
    assert response.headers["Location"].startswith("/?next=")


def test_a_report_is_its_owners_only(
    ada: User, as_ada: Client, as_grace: Client, report_of: Callable[..., Any]
) -> None:
    report = report_of(ada, title="Secret of Ada")
    report.succeed("<p>hello</p>", _no_totals())
    assert as_ada.get(report.download_url).status_code == 200
    assert as_grace.get(report.download_url).status_code == 404
    assert "Secret of Ada" in as_ada.get("/").content.decode()
    assert "Secret of Ada" not in as_grace.get("/").content.decode()
    assert as_grace.get("/reports/states/").json() == {"reports": []}


def test_a_report_that_is_not_built_cannot_be_downloaded(
    ada: User, as_ada: Client, report_of: Callable[..., Any]
) -> None:
    assert as_ada.get(report_of(ada).download_url).status_code == 404


def test_a_queue_that_does_not_answer_fails_the_report_with_a_word(
    as_ada: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise EnqueueError

    monkeypatch.setattr(type(task_backends["default"]), "enqueue", refuse)
    page = as_ada.post("/reports/", {"sample": "1"}, follow=True).content.decode()
    assert 'data-state="failed"' in page
    assert "The task queue did not answer" in page


def test_without_a_beat_there_are_no_reminders(as_ada: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reminders, "are_possible", lambda: False)
    page = as_ada.get("/").content.decode()
    assert "Your reports" in page
    assert "reminder" not in page.lower()
    soon = timezone.now() + timedelta(hours=1)
    assert as_ada.post("/reminders/", {"text": "Call", "at": soon.isoformat()}).status_code == 404
    assert not Reminder.objects.exists()


# --- what works


def test_signing_in_takes_one_click_and_makes_the_user(client: Client) -> None:
    assert 'value="grace"' in client.get("/").content.decode()
    page = client.post("/sign-in/", {"user": "grace"}, follow=True).content.decode()
    assert "Grace" in page
    assert not User.objects.get(username="grace").has_usable_password()
    client.post("/sign-out/")
    client.post("/sign-in/", {"user": "grace"})
    assert User.objects.count() == 1


@pytest.mark.parametrize(
    ("fields", "title"), [({"sample": "1"}, "Sample orders"), ({"fail": "1"}, "Sample with a damaged row")]
)
def test_a_button_takes_a_file_that_ships_with_the_example(as_ada: Client, fields: dict[str, str], title: str) -> None:
    response = as_ada.post("/reports/", fields)
    assert response.headers["Location"] == "/"
    report = Report.objects.get()
    assert (report.title, report.state) == (title, "waiting")


def test_a_button_needs_no_good_upload(as_ada: Client) -> None:
    assert as_ada.post("/reports/", {"sample": "1", "orders": upload(b"")}).status_code == 302


def test_an_upload_is_stored_and_queued_with_the_id_of_its_result(as_ada: Client, ada: User) -> None:
    as_ada.post("/reports/", {"orders": upload((HEADER + ROWS).encode(), "../my_orders.csv")})
    report = Report.objects.get()
    assert (report.owner, report.title) == (ada, "my orders")
    assert report.orders.name.startswith("orders/")
    (queued,) = task_backends["default"].results  # type: ignore[attr-defined]
    assert queued.id == report.task_result_id
    assert queued.kwargs == {"report_id": report.pk}


@pytest.mark.parametrize(("fields", "state"), [({"sample": "1"}, "ready"), ({"fail": "1"}, "failed")])
def test_a_worker_faster_than_the_view_has_the_last_word(
    as_ada: Client, settings: Any, fields: dict[str, str], state: str
) -> None:
    settings.TASKS = backend("immediate.ImmediateBackend")
    page = as_ada.post("/reports/", fields, follow=True).content.decode()
    report = Report.objects.get()
    assert report.state == state
    assert report.task_result_id
    assert f'data-report="{report.pk}" data-state="{state}"' in page
    assert (report.download_url in page) == (state == "ready")
    assert ("Row 119: the quantity “a dozen” is not a whole number." in page) == (state == "failed")


def test_states_are_told_as_the_page_needs_them(as_ada: Client, ada: User, report_of: Callable[..., Any]) -> None:
    waiting, ready = report_of(ada), report_of(ada)
    ready.succeed("<p>hello</p>", _no_totals())
    told = {state["report"]: state for state in as_ada.get("/reports/states/").json()["reports"]}
    assert told[waiting.pk] == {
        "report": waiting.pk,
        "state": "waiting",
        "title": "Orders",
        "download_url": None,
        "reason": "",
    }
    assert told[ready.pk]["download_url"] == f"/reports/{ready.pk}/download/"


def test_a_report_comes_as_a_file_that_may_do_nothing(as_ada: Client, ada: User, report_of: Callable[..., Any]) -> None:
    report = report_of(ada, title="Café, 2025")
    report.succeed("<p>hello</p>", _no_totals())
    response = as_ada.get(report.download_url)
    assert response.content == b"<p>hello</p>"
    assert response.headers["Content-Disposition"] == f'attachment; filename="cafe-2025-{report.pk}.html"'
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert "sandbox" in response.headers["Content-Security-Policy"]


def test_the_sample_can_be_had(client: Client) -> None:
    assert client.get("/reports/sample/").content.startswith(HEADER.encode())


def test_a_title_is_escaped_on_the_page(as_ada: Client, ada: User, report_of: Callable[..., Any]) -> None:
    report_of(ada, title="<img src=x>")
    page = as_ada.get("/").content.decode()
    assert "<img" not in page
    assert "&lt;img src=x&gt;" in page


def test_the_digest_of_the_day_stands_at_the_foot(as_ada: Client, ada: User) -> None:
    Digest.objects.create(owner=ada, day=timezone.localdate(), report_count=2, order_count=216, total="12345.6")
    page = as_ada.get("/").content.decode()
    assert "2 reports, 216 orders, 12,345.60 in total" in page


def test_health_is_told_to_anyone(client: Client) -> None:
    assert client.get("/healthz/").content == b"ok"


def _no_totals() -> Any:
    from example.reports.totals import Totals

    return Totals()
