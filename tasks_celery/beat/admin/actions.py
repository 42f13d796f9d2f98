"""Web process. What can be done in the admin to several schedules at once: django-celery-beat's own actions.

There they are for whoever may look; here for who may change a schedule.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django_celery_beat.admin import PeriodicTaskAdmin as TheirAdmin

from tasks_celery.beat.admin.runs_page import RunsPage
from tasks_celery.beat.models import Tick
from tasks_celery.beat.sending import run_now
from tasks_celery.beat.ticks import rows
from tasks_celery.exceptions import TasksCeleryError


class Actions(RunsPage):
    """The actions, under django-celery-beat's names."""

    @admin.action(description=TheirAdmin.enable_tasks.short_description, permissions=["change"])
    def enable_tasks(self, request: HttpRequest, queryset: Any) -> None:
        # Their ticks count from now on: while they were disabled, none was missed.
        queryset.filter(enabled=False).update(date_changed=timezone.now(), last_run_at=None)
        super().enable_tasks(request, queryset)

    @admin.action(description=TheirAdmin.disable_tasks.short_description, permissions=["change"])
    def disable_tasks(self, request: HttpRequest, queryset: Any) -> None:
        super().disable_tasks(request, queryset)

    @admin.action(description=TheirAdmin.toggle_tasks.short_description, permissions=["change"])
    def toggle_tasks(self, request: HttpRequest, queryset: Any) -> None:
        queryset.update(date_changed=timezone.now(), last_run_at=None)
        super().toggle_tasks(request, queryset)

    @admin.action(description=TheirAdmin.run_tasks.short_description, permissions=["change"])
    def run_tasks(self, request: HttpRequest, queryset: Any) -> None:
        """Start each of the rows now, by the same path as a beat; one that cannot be sent does not keep the others from it."""
        # As a beat reads them: the list's own may come from a replica.
        chosen = rows().filter(pk__in=[row.pk for row in queryset]).order_by("name")
        started = [row for row in chosen if self._starts(request, row)]
        if started:
            links = format_html_join(", ", '<a href="{}">{}</a>', ((self.runs_url(row), row.name) for row in started))
            self.message_user(request, format_html("Started: {}.", links), messages.SUCCESS)

    def _starts(self, request: HttpRequest, row: Any) -> bool:
        """Start a row, and say it where that cannot be."""
        try:
            run_now(row)
        except TasksCeleryError as error:
            self.message_user(request, f"{row.name} was not started: {error}", messages.ERROR)
            return False
        return self._has_started(request, row)

    def _has_started(self, request: HttpRequest, row: Any) -> bool:
        # The result of a unique task may be that of another one: the tick tells.
        tick = row.ticks.using(row._state.db).filter(by_hand=True).latest("at")
        if tick.outcome != Tick.SENT:
            self.message_user(request, f"{row.name} was not started: {tick.reason}", messages.WARNING)
        return bool(tick.outcome == Tick.SENT)
