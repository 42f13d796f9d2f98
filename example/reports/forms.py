"""Web process. What a user may send, checked: after `is_valid` there is a file of orders worth building, or a time to come."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django import forms
from django.core.files.base import ContentFile, File
from django.core.files.uploadedfile import UploadedFile
from django.utils import timezone

from example.reports.models import Reminder, Report, title_of
from example.reports.orders import MAX_BYTES, OrdersError, check_upload
from example.reports.reminders import remind_at

#: The demo's users, by the name under which they sign in.
DEMO_USERS = {"ada": "Ada", "grace": "Grace"}

SAMPLES = Path(__file__).parent / "sample"
SAMPLE = SAMPLES / "orders.csv"
#: Good in the rows that an upload is checked for, and not good further down.
DAMAGED = SAMPLES / "orders-damaged.csv"

TOO_LARGE = f"This file is larger than {MAX_BYTES // 1024**2} MB. Send the orders in smaller files."


#: How far ahead a reminder may be, and how many a user may have.
FARTHEST = timedelta(days=365)
MOST_REMINDERS = 20


class SignInForm(forms.Form):
    """Which demo user to be."""

    user = forms.ChoiceField(choices=list(DEMO_USERS.items()))


class ReportForm(forms.Form):
    """A CSV of orders: the user's own, or by its button one of the two that ship with the example."""

    orders = forms.FileField(
        required=False,
        error_messages={
            "empty": "This file is empty: it has 0 bytes. Choose a CSV with orders in it.",
            "max_length": "The name of this file is too long. Rename it and send it again.",
        },
    )
    sample = forms.BooleanField(required=False)
    fail = forms.BooleanField(required=False)

    def __init__(self, *args: Any, too_large: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.too_large = too_large

    @property
    def shipped(self) -> Path | None:
        """The shipped file that a button asked for."""
        if self.cleaned_data.get("fail"):
            return DAMAGED
        return SAMPLE if self.cleaned_data.get("sample") else None

    def clean(self) -> None:
        """Refuse what cannot be built from; what a button asked for needs no upload."""
        if self.shipped:
            self.errors.pop("orders", None)
        elif self.too_large:
            self.add_error("orders", TOO_LARGE)
        elif "orders" not in self.errors:
            self._check_upload(self.cleaned_data.get("orders"))

    def save(self, owner_id: int) -> Report:
        """Store the report that was asked for, with its file."""
        if self.shipped:
            title = "Sample with a damaged row" if self.shipped == DAMAGED else "Sample orders"
            file: File[bytes] = ContentFile(self.shipped.read_bytes(), name=self.shipped.name)
        else:
            file = self.cleaned_data["orders"]
            title = title_of(file.name or "")
        return Report.objects.create(owner_id=owner_id, title=title, orders=file)

    def _check_upload(self, file: UploadedFile[bytes] | None) -> None:
        if file is None:
            self.add_error("orders", "No file is chosen. Choose a CSV of orders, or take the sample.")
            return
        try:
            check_upload(file.read())
        except OrdersError as error:
            self.add_error("orders", str(error))
        file.seek(0)


class ReminderForm(forms.Form):
    """What to be reminded of, and when: a time as the reader's clock shows it, in the zone that their page names."""

    text = forms.CharField(
        max_length=200,
        error_messages={
            "required": "Say what you want to be reminded of.",
            "max_length": "This text has %(show_value)d characters; it may have %(limit_value)d.",
        },
    )
    at = forms.DateTimeField(
        error_messages={"required": "Choose a time.", "invalid": "This is not a time such as 2025-01-31 14:30."}
    )
    zone = forms.CharField(required=False)

    def __init__(self, owner: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.owner = owner

    def full_clean(self) -> None:
        """Check everything, the time in the reader's zone; in the site's where the page names none."""
        with timezone.override(_zone(self.data.get("zone"))):
            super().full_clean()

    def clean_at(self) -> datetime:
        """Refuse what has passed, and what is too far ahead."""
        at: datetime = self.cleaned_data["at"]
        if at <= timezone.now():
            raise forms.ValidationError("This time has passed. Choose one to come.")
        if at > timezone.now() + FARTHEST:
            raise forms.ValidationError("This is more than a year ahead. Choose a time within a year.")
        return at

    def clean_zone(self) -> str:
        """Refuse a zone that is not known here: the time would be another one."""
        zone: str = self.cleaned_data["zone"]
        if zone and _zone(zone) is None:
            raise forms.ValidationError("The time zone of your browser is not known here.")
        return zone

    def clean(self) -> None:
        """Refuse one more than a user may have."""
        if Reminder.objects.filter(owner=self.owner).count() >= MOST_REMINDERS:
            self.add_error(
                None, f"You have {MOST_REMINDERS} reminders, which is all there is room for. Remove one first."
            )

    def save(self) -> Reminder:
        """Have the owner reminded."""
        return remind_at(self.cleaned_data["at"], self.owner, self.cleaned_data["text"])


def _zone(name: str | None) -> ZoneInfo | None:
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):  # no such zone; not even a name; a folder of zones
        return None
