"""Web process of the benchmarks. Our sockets, and beside them those that projects write by hand."""

from __future__ import annotations

from typing import Any

from channels.auth import AuthMiddlewareStack
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.asgi import get_asgi_application
from django.urls import path

get_asgi_application()

from tasks_celery.channels.routing import websocket_urlpatterns  # noqa: E402


class UsualConsumer(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    """The usual pattern, from the other end: a group for each user, and a method for each kind of event."""

    async def connect(self) -> None:
        self.group = f"user_{self.scope['user'].pk}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def report_ready(self, event: dict[str, Any]) -> None:
        await self.send_json({"type": "report.ready", "data": event["data"]})


async def say_that_it_runs(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


routes = [*websocket_urlpatterns, path("ws/usual/", UsualConsumer.as_asgi())]
application = ProtocolTypeRouter(
    {
        "http": say_that_it_runs,
        "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(routes))),
    }
)
