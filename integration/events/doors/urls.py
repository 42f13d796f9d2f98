"""Web process. The doors, and behind them whatever a test needs done: people made, signed out, told something."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.auth import authenticate, login, logout
from django.contrib.auth.models import User
from django.http import HttpRequest, JsonResponse
from django.urls import include, path

from integration.events.doors.tasks import write
from tasks_celery.channels.tokens import make_token


def tenant(source: HttpRequest | Mapping[str, Any]) -> str | None:
    """Return the first part of a host such as shop.localhost; of localhost itself, none."""
    host = source.headers["Host"] if isinstance(source, HttpRequest) else dict(source["headers"])[b"host"].decode()
    name, dot, _ = host.partition(".")
    return name if dot else None


def sign_in(request: HttpRequest, name: str) -> JsonResponse:
    """Sign somebody in, who is made if need be."""
    if not User.objects.filter(username=name).exists():
        User.objects.create_user(name, password=name)
    login(request, authenticate(request, username=name, password=name))
    return JsonResponse({"user": request.user.pk})


def sign_out(request: HttpRequest) -> JsonResponse:
    logout(request)
    return JsonResponse({})


def token(request: HttpRequest) -> JsonResponse:
    """Make a token for who asks."""
    said = {"lifetime": float(request.GET.get("lifetime", 60)), "tenant": request.GET.get("tenant")}
    return JsonResponse({"token": make_token(request.user, **said)})


def tell(request: HttpRequest, text: str) -> JsonResponse:
    """Run a task for who asks; they are told when it is done."""
    write.enqueue(text)
    return JsonResponse({})


def deactivate(request: HttpRequest, name: str) -> JsonResponse:
    return JsonResponse({"number": User.objects.filter(username=name).update(is_active=False)})


urlpatterns = [
    path("sign-in/<name>/", sign_in),
    path("sign-out/", sign_out),
    path("token/", token),
    path("tell/<text>/", tell),
    path("deactivate/<name>/", deactivate),
    path("tasks/", include("tasks_celery.channels.urls")),
]
