from __future__ import annotations

from channels.routing import URLRouter

from tasks_celery.channels.consumers import TaskEventsConsumer
from tasks_celery.channels.routing import websocket_urlpatterns


def test_the_events_are_at_their_fixed_path() -> None:
    (pattern,) = websocket_urlpatterns
    assert str(pattern.pattern) == "ws/tasks/"
    assert pattern.callback.consumer_class is TaskEventsConsumer
    assert URLRouter(websocket_urlpatterns).routes == websocket_urlpatterns
