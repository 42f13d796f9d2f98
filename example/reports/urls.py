"""Web process. The addresses of the reports app."""

from __future__ import annotations

from django.urls import path

from example.reports import views

app_name = "reports"

urlpatterns = [
    path("", views.list_reports, name="list"),
    path("sign-in/", views.sign_in, name="sign_in"),
    path("sign-out/", views.sign_out, name="sign_out"),
    path("reports/", views.create_report, name="create"),
    path("reports/states/", views.states, name="states"),
    path("reports/sample/", views.sample, name="sample"),
    path("reports/<int:pk>/download/", views.download, name="download"),
    path("reminders/", views.create_reminder, name="remind"),
    path("reminders/<int:pk>/remove/", views.remove_reminder, name="remove_reminder"),
]
