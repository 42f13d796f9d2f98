"""Web process. What a user may send, checked: after `is_valid` there is a file of orders worth building."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django import forms
from django.core.files.base import ContentFile, File
from django.core.files.uploadedfile import UploadedFile

from example.reports.models import Report, title_of
from example.reports.orders import MAX_BYTES, OrdersError, check_upload

#: The demo's users, by the name under which they sign in.
DEMO_USERS = {"ada": "Ada", "grace": "Grace"}

SAMPLES = Path(__file__).parent / "sample"
SAMPLE = SAMPLES / "orders.csv"
#: Good in the rows that an upload is checked for, and not good further down.
DAMAGED = SAMPLES / "orders-damaged.csv"

TOO_LARGE = f"This file is larger than {MAX_BYTES // 1024**2} MB. Send the orders in smaller files."


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
