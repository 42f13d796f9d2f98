from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import DatabaseError
from django.test import Client
from django.utils import timezone

from example.reports import reminders
from example.reports.forms import MOST_REMINDERS, ReminderForm
from example.reports.models import Reminder
from example.reports.tasks import remind, reminder_payload

from .conftest import backend

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(not apps.is_installed("tasks_celery.beat"), reason="django-celery-beat is not installed"),
]
SOON = timedelta(minutes=5)


def at(ahead: timedelta) -> str:
    """Return a time from now, as a field of type datetime-local in UTC writes it."""
    return (datetime.now(UTC) + ahead).strftime("%Y-%m-%dT%H:%M:%S")


def fields(**changes: str) -> dict[str, str]:
    return {"text": "Call the bank", "at": at(SOON), "zone": "UTC"} | changes


def schedules() -> Any:
    from django_celery_beat.models import PeriodicTask

    return PeriodicTask.objects


def nothing_is_made() -> bool:
    return not Reminder.objects.exists() and not schedules().exists()


# --- refusals


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"text": ""}, "Say what you want to be reminded of."),
        ({"text": "  "}, "Say what you want to be reminded of."),
        ({"text": "x" * 201}, "This text has 201 characters; it may have 200."),
        ({"text": "a\0b"}, "Null characters are not allowed."),
        ({"at": ""}, "Choose a time."),
        ({"at": "tomorrow"}, "This is not a time such as 2025-01-31 14:30."),
        ({"at": "2025-02-30T10:00"}, "This is not a time"),
        ({"at": at(timedelta(seconds=-1))}, "This time has passed. Choose one to come."),
        ({"at": at(timedelta(days=366))}, "This is more than a year ahead."),
        ({"at": "9999-12-31T23:59"}, "This is more than a year ahead."),
        ({"zone": "Mars/Olympus"}, "The time zone of your browser is not known here."),
        ({"zone": "../../etc/passwd"}, "The time zone of your browser is not known here."),
        ({"zone": "Europe"}, "The time zone of your browser is not known here."),
    ],
)
def test_what_cannot_be_a_reminder_is_refused_on_the_page_and_not_made(
    as_ada: Client, changes: dict[str, str], says: str
) -> None:
    response = as_ada.post("/reminders/", fields(**changes))
    assert response.status_code == 422
    assert says in response.content.decode()
    assert nothing_is_made()


def test_a_refused_reminder_keeps_what_was_typed_escaped(as_ada: Client) -> None:
    page = as_ada.post("/reminders/", fields(text='"><script>', at="later")).content.decode()
    assert 'value="&quot;&gt;&lt;script&gt;"' in page
    assert 'value="later"' in page
    assert "<script>" not in page


def test_there_is_a_most_that_one_user_may_have(as_ada: Client, as_grace: Client, ada: User) -> None:
    Reminder.objects.bulk_create(
        Reminder(owner=ada, text=str(number), at=timezone.now()) for number in range(MOST_REMINDERS)
    )
    response = as_ada.post("/reminders/", fields())
    assert response.status_code == 422
    assert f"You have {MOST_REMINDERS} reminders" in response.content.decode()
    assert not schedules().exists()
    assert as_grace.post("/reminders/", fields()).status_code == 302


def test_a_post_without_its_csrf_token_is_refused(ada: User) -> None:
    kept = reminders.remind_at(timezone.now() + SOON, ada, "Kept")
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)
    assert client.post("/reminders/", fields()).status_code == 403
    assert client.post(f"/reminders/{kept.pk}/remove/").status_code == 403
    assert list(Reminder.objects.all()) == [kept]


@pytest.mark.parametrize("path", ["/reminders/", "/reminders/1/remove/"])
def test_who_is_not_signed_in_is_sent_to_the_front_page(client: Client, settings: Any, path: str) -> None:
    settings.LOGIN_URL = "reports:list"
    assert client.post(path, fields()).headers["Location"].startswith("/?next=")
    assert nothing_is_made()


@pytest.mark.parametrize("path", ["/reminders/", "/reminders/1/remove/"])
def test_a_link_alone_makes_and_removes_nothing(as_ada: Client, path: str) -> None:
    assert as_ada.get(path, fields()).status_code == 405


def test_anothers_reminder_is_neither_seen_nor_removed(as_ada: Client, as_grace: Client) -> None:
    as_ada.post("/reminders/", fields(text="Secret of Ada"))
    reminder = Reminder.objects.get()
    assert "Secret of Ada" in as_ada.get("/").content.decode()
    assert "Secret of Ada" not in as_grace.get("/").content.decode()
    assert as_grace.post(f"/reminders/{reminder.pk}/remove/").status_code == 404
    assert Reminder.objects.exists()
    assert schedules().filter(name=reminder.schedule_name, enabled=True).exists()


def test_nobody_is_reminded_but_who_asks(as_ada: Client, ada: User, grace: User) -> None:
    as_ada.post("/reminders/", fields(owner=str(grace.pk), notify_user=str(grace.pk), user=str(grace.pk)))
    assert Reminder.objects.get().owner == ada
    assert schedules().get().tasks_celery_options.notify_user == ada


def test_reminder_and_schedule_are_made_and_removed_both_or_neither(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = reminders.remind_at(timezone.now() + SOON, ada, "Kept")

    def fail(*args: Any, **kwargs: Any) -> None:
        raise DatabaseError

    monkeypatch.setattr(reminders, "schedule_task", fail)
    with pytest.raises(DatabaseError):
        reminders.remind_at(timezone.now() + SOON, ada, "Lost")
    monkeypatch.setattr(Reminder, "delete", fail)
    with pytest.raises(DatabaseError):
        reminders.put_away(kept)
    assert [reminder.text for reminder in Reminder.objects.all()] == ["Kept"]
    assert [schedule.name for schedule in schedules().all()] == [kept.schedule_name]


# --- what works


def test_a_reminder_is_a_schedule_of_one_tick_for_who_asked(as_ada: Client, ada: User) -> None:
    response = as_ada.post("/reminders/", fields())
    assert response.headers["Location"] == "/"
    reminder, schedule = Reminder.objects.get(), schedules().get()
    assert (reminder.owner, reminder.text, reminder.told_at) == (ada, "Call the bank", None)
    assert (schedule.task, schedule.name) == ("example.reports.tasks.remind", reminder.schedule_name)
    assert schedule.kwargs == f'{{"reminder_id": {reminder.pk}}}'
    assert schedule.clocked.clocked_time == reminder.at
    assert schedule.one_off
    assert schedule.enabled
    assert schedule.tasks_celery_options.notify_user == ada


def test_a_time_is_read_in_the_readers_zone_and_without_one_in_the_sites(ada: User, settings: Any) -> None:
    settings.TIME_ZONE = "Asia/Tokyo"
    day = (timezone.now() + timedelta(days=30)).date().isoformat()
    for zone, hour in (("America/Sao_Paulo", 17), ("Asia/Kolkata", 8.5), ("UTC", 14), ("", 5)):
        form = ReminderForm(ada, fields(at=f"{day}T14:00", zone=zone))
        assert form.is_valid(), form.errors
        midnight = datetime.fromisoformat(f"{day}T00:00+00:00")
        assert form.cleaned_data["at"] == midnight + timedelta(hours=hour), zone


def test_an_hour_that_the_clocks_skip_is_refused_in_the_readers_zone_alone(
    ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timezone, "now", lambda: datetime(2026, 3, 1, tzinfo=UTC))
    skipped = "2026-03-29T02:30"  # in Berlin, 02:00 is followed by 03:00
    assert "Europe/Berlin" in str(ReminderForm(ada, fields(at=skipped, zone="Europe/Berlin")).errors["at"])
    assert ReminderForm(ada, fields(at=skipped, zone="UTC")).is_valid()


def test_two_reminders_of_one_text_and_time_are_two(as_ada: Client) -> None:
    same = fields()
    for _ in range(2):
        assert as_ada.post("/reminders/", same).status_code == 302
    assert Reminder.objects.count() == schedules().count() == 2


def test_a_reminder_is_taken_back_with_its_schedule(as_ada: Client) -> None:
    for text in ("Goes", "Stays"):
        as_ada.post("/reminders/", fields(text=text))
    goes, stays = Reminder.objects.order_by("pk")
    assert as_ada.post(f"/reminders/{goes.pk}/remove/").headers["Location"] == "/"
    assert list(Reminder.objects.all()) == [stays]
    assert [schedule.name for schedule in schedules().filter(enabled=True)] == [stays.schedule_name]
    assert as_ada.post(f"/reminders/{goes.pk}/remove/").status_code == 404


def test_a_text_is_escaped_on_the_page(as_ada: Client) -> None:
    as_ada.post("/reminders/", fields(text="<img src=x>"))
    page = as_ada.get("/").content.decode()
    assert "<img" not in page
    assert "&lt;img src=x&gt;" in page


def test_a_reminder_that_is_due_says_so_until_it_is_put_away(as_ada: Client, settings: Any) -> None:
    settings.TASKS = backend("immediate.ImmediateBackend")
    as_ada.post("/reminders/", fields())
    reminder = Reminder.objects.get()
    assert f'data-reminder="{reminder.pk}" data-state="pending"' in as_ada.get("/").content.decode()
    result = remind.enqueue(reminder_id=reminder.pk)
    assert f'data-reminder="{reminder.pk}" data-state="due"' in as_ada.get("/").content.decode()
    assert reminder_payload(result) == {"reminder": reminder.pk, "text": "Call the bank"}
    as_ada.post(f"/reminders/{reminder.pk}/remove/")
    assert "Call the bank" not in as_ada.get("/").content.decode()


def test_a_reminder_taken_back_as_it_comes_due_shows_nothing(settings: Any) -> None:
    settings.TASKS = backend("immediate.ImmediateBackend")
    result = remind.enqueue(reminder_id=4711)
    assert result.status == "SUCCESSFUL"
    assert reminder_payload(result) is None
