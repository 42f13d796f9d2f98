"""Web process. The page of the admin that shows a schedule's last runs."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django_celery_beat.admin import PeriodicTaskAdmin as TheirAdmin

from tasks_celery.beat.admin.runs import last_runs


class RunsPage(TheirAdmin):  # type: ignore[misc]
    """django-celery-beat's page of the schedules, with one more for each: its last runs."""

    def get_urls(self) -> list[URLPattern]:
        runs = path("<path:object_id>/runs/", self.admin_site.admin_view(self.runs_view), name=self._runs_name)
        return [runs, *super().get_urls()]

    @property
    def _runs_name(self) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_runs"

    def runs_url(self, row: Any) -> str:
        return reverse(f"admin:{self._runs_name}", args=[row.pk], current_app=self.admin_site.name)

    def runs_view(self, request: HttpRequest, object_id: str) -> TemplateResponse:
        """Show what became of a schedule's last ticks, to who may see the schedule."""
        row = self.get_object(request, unquote(object_id))
        if row is None:
            raise Http404(f"There is no schedule with the id {object_id!r}.")
        if not self.has_view_or_change_permission(request, row):
            raise PermissionDenied
        context = self.admin_site.each_context(request) | {
            "title": f"Last runs: {row.name}",
            "opts": self.opts,
            "original": row,
            "runs": last_runs(row),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/tasks_celery_beat/runs.html", context)
