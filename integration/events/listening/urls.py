"""Web process. What a test asks of the server: to let somebody in, to throw them out, to publish."""

from __future__ import annotations

from django.contrib.auth import get_user_model, login, logout
from django.http import HttpRequest, HttpResponse
from django.urls import path

from tasks_celery.channels.events import Envelope
from tasks_celery.channels.groups import group_name
from tasks_celery.channels.push import publisher


def is_there(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


def sign_in(request: HttpRequest, key: int) -> HttpResponse:
    user, _ = get_user_model().objects.get_or_create(pk=key, defaults={"username": str(key)})
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return HttpResponse()


def sign_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return HttpResponse()


def deactivate(request: HttpRequest, key: int) -> HttpResponse:
    get_user_model().objects.filter(pk=key).update(is_active=False)
    return HttpResponse()


def publish(request: HttpRequest, key: int, number: int) -> HttpResponse:
    """Publish events with the numbers up to `number`."""
    for each in range(int(request.GET.get("from", number)), number + 1):
        publisher.publish([group_name(str(key))], Envelope(event="report.ready", data={"id": str(each)}))
    return HttpResponse()


urlpatterns = [
    path("", is_there),
    path("in/<int:key>/", sign_in),
    path("out/", sign_out),
    path("deactivate/<int:key>/", deactivate),
    path("publish/<int:key>/<int:number>/", publish),
]
