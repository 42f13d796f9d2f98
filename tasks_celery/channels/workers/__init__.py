"""Both. Events for Channels workers become durable tasks, and the project's consumers run inside them.

In the order of the flow: `event` says what an event may be, `sending` makes it a task where an event was sent to a channel,
`layer` stands in for the channel layer there, and `listening` is for senders that still know the layer alone: ``manage.py
channels_to_tasks`` takes their events off it. In the worker `tasks` has the task, and `running` the one event that it gives
to the project's ASGI application.
"""

from __future__ import annotations

from tasks_celery.channels.workers.layer import get_channel_layer
from tasks_celery.channels.workers.sending import enqueue_event, send

__all__ = ["enqueue_event", "get_channel_layer", "send"]
