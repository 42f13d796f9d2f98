"""Web process. The sockets as every project has them; and over HTTP, what a test does with the server that holds them.

``/?SECONDS`` blocks the whole process for so long, ``/sockets/`` tells how many sockets are open, ``/tab/`` is a page that listens.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.conf import settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

static = ASGIStaticFilesHandler(get_asgi_application())

from tasks_celery.channels.routing import websocket_urlpatterns  # noqa: E402

Application = Callable[[dict[str, Any], Any, Any], Awaitable[None]]
TAB = """
<!doctype html><title>A tab</title><link rel="icon" href="data:,">
<script>
  window.heard = []; window.opened = 0;
  window.WebSocket = class extends WebSocket { constructor(...given) { super(...given); opened++; } };
</script>
<script type="module">
  import { connect } from "/static/tasks_celery/events.js";
  window.client = connect("/ws/tasks/").on("work.done", (event) => heard.push(event.data.id));
</script>
"""


class Counted:
    """Counts the sockets that an application has open."""

    def __init__(self, application: Application) -> None:
        self.open = 0
        self._application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.open += 1
        try:
            await self._application(scope, receive, send)
        finally:
            self.open -= 1


async def pages(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Serve what the module tells of, and the static files."""
    if scope["path"].startswith(settings.STATIC_URL):
        await static(scope, receive, send)
        return
    if scope["path"] == "/":
        time.sleep(float(scope["query_string"] or 0))  # noqa: ASYNC251
    body = {"/": "", "/sockets/": str(sockets.open), "/tab/": TAB}[scope["path"]]
    headers = [(b"content-type", b"text/html; charset=utf-8")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body.encode()})


if settings.SOAKED["breaks"]:
    from integration.events.soaked import broken

    broken.read_no_gap()

sockets = Counted(AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(websocket_urlpatterns))))
application = ProtocolTypeRouter({"http": pages, "websocket": sockets})
