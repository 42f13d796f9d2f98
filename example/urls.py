"""Web process. Every address of the example."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import include, path


def healthz(request: HttpRequest) -> HttpResponse:
    """Answer ok: the web process lives. It asks neither the database nor Redis."""
    return HttpResponse("ok", content_type="text/plain")


urlpatterns = [
    path("healthz/", healthz, name="healthz"),
    path("tasks/", include("tasks_celery.channels.urls")),
    path("", include("example.reports.urls")),
]
