"""Web process. The doors as the documentation has them."""

from __future__ import annotations

import threading

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.asgi import get_asgi_application
from django.core.management import call_command

pages = get_asgi_application()

# In a thread, as uvicorn imports this within its event loop, where Django does not ask the database.
_migrate = threading.Thread(target=call_command, args=["migrate"], kwargs={"verbosity": 0, "skip_checks": True})
_migrate.start()
_migrate.join()

from tasks_celery.channels.routing import websocket_urlpatterns  # noqa: E402

application = ProtocolTypeRouter(
    {"http": pages, "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(websocket_urlpatterns)))}
)
