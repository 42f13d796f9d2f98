"""Both. What the example remembers: each report a user asked for, a digest per user and day, and their reminders."""

from __future__ import annotations

from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from uuid import uuid4

from django.conf import settings
from django.core.files.base import ContentFile
from django.db import models
from django.urls import reverse
from django.utils import timezone
from django.utils.text import slugify

from example.reports.orders import Order, read_orders
from example.reports.totals import Totals, money


def orders_path(report: Report, name: str) -> str:
    """Return where an upload is kept: a name of ours, as the user's may be anything."""
    return f"orders/{uuid4().hex}.csv"


def built_path(report: Report, name: str) -> str:
    """Return where a built report is kept."""
    return f"reports/{uuid4().hex}.html"


class Report(models.Model):
    """A report that a user asked for. Its state is what its task last did, and what the page shows."""

    class State(models.TextChoices):
        """How far a report is. The first two are pending: something is still to come."""

        WAITING = "waiting", "Waiting"
        BUILDING = "building", "Building"
        READY = "ready", "Ready"
        FAILED = "failed", "Failed"

    PENDING = (State.WAITING, State.BUILDING)

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="reports")
    title = models.CharField(max_length=100)
    orders = models.FileField(upload_to=orders_path)
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    task_result_id = models.CharField(max_length=64, blank=True)
    built = models.FileField(upload_to=built_path, blank=True)
    reason = models.TextField(blank=True)
    order_count = models.PositiveIntegerField(default=0)
    total = models.DecimalField(max_digits=24, decimal_places=2, default=0)
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-created_at", "-pk")

    def __str__(self) -> str:
        return f"{self.title} ({self.state})"

    @property
    def download_url(self) -> str:
        """The address of the built report, which only its owner may open."""
        return reverse("reports:download", args=[self.pk])

    @property
    def download_name(self) -> str:
        """The name under which the browser keeps the file."""
        return f"{slugify(self.title) or 'report'}-{self.pk}.html"

    @property
    def pending(self) -> bool:
        """Whether the outcome is still to come."""
        return self.state in self.PENDING

    def read_orders(self) -> Iterator[Order]:
        """Yield the orders of the upload; raise OrdersError at the first that cannot be used."""
        with self.orders.open("rb") as file:
            yield from read_orders(TextIOWrapper(file, encoding="utf-8-sig", newline=""))

    def start(self) -> None:
        """Record that a worker builds it now."""
        self.state = self.State.BUILDING
        self.save(update_fields=["state"])

    def succeed(self, html: str, totals: Totals) -> None:
        """Keep the built file, then record that it is ready: who reads the state finds the file."""
        self.built.save("report.html", ContentFile(html.encode()), save=False)
        self.state, self.reason, self.finished_at = self.State.READY, "", timezone.now()
        self.order_count, self.total = totals.order_count, round(totals.overall.amount, 2)
        self.save(update_fields=["built", "state", "reason", "finished_at", "order_count", "total"])

    def fail(self, reason: str) -> None:
        """Record that it failed, and why, in words for its owner."""
        self.state, self.reason, self.finished_at = self.State.FAILED, reason, timezone.now()
        self.save(update_fields=["state", "reason", "finished_at"])


class Digest(models.Model):
    """What one user's reports of one day come to."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="digests")
    day = models.DateField()
    report_count = models.PositiveIntegerField()
    order_count = models.PositiveIntegerField()
    total = models.DecimalField(max_digits=24, decimal_places=2)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("-day", "owner_id")
        constraints = (models.UniqueConstraint(fields=("owner", "day"), name="one_digest_a_day"),)

    def __str__(self) -> str:
        return f"{self.day} of user {self.owner_id}: {self.report_count} reports"

    @property
    def amount(self) -> str:
        """The total, as the page prints it."""
        return money(self.total)


class Reminder(models.Model):
    """What a user wants to be told at a time. It is due once a worker has told them, and stays until they put it away."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="reminders")
    text = models.CharField(max_length=200)
    at = models.DateTimeField()
    told_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("at", "pk")

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M}: {self.text}"

    @property
    def schedule_name(self) -> str:
        """The name of the schedule that it is sent by; there is no other of that name."""
        return f"Reminder {self.pk}"


def title_of(file_name: str) -> str:
    """Return the title of a report from the name of its file."""
    stem = Path(file_name).stem.replace("_", " ").strip()
    return stem[:100] or "Orders"
