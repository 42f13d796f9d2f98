"""Both. The task that an event becomes. A worker knows it by `connect`: Celery looks into no package of an app."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async

from tasks_celery.channels.options import channel_options
from tasks_celery.channels.workers.event import refuse_untyped
from tasks_celery.compat import DEFAULT_TASK_BACKEND_ALIAS, DEFAULT_TASK_QUEUE_NAME, AnyTask, task_backends
from tasks_celery.task import CeleryTask, task


def _alias() -> str:
    """Return an alias that is Celery's, the default one if it is."""
    aliases = sorted(task_backends.settings, key=lambda alias: alias != DEFAULT_TASK_BACKEND_ALIAS)
    celerys = (alias for alias in aliases if hasattr(task_backends[alias], "twin_class"))
    return next(celerys, DEFAULT_TASK_BACKEND_ALIAS)


def _queue(alias: str) -> str:
    """Return a queue that the alias has, for a project need not have the default one."""
    queues = task_backends[alias].queues
    return DEFAULT_TASK_QUEUE_NAME if not queues or DEFAULT_TASK_QUEUE_NAME in queues else min(queues)


def _options(alias: str) -> dict[str, Any]:
    # What a worker that dies has in hand is run again; backends of Django's own have no such options.
    is_celerys = issubclass(task_backends[alias].task_class, CeleryTask)
    return {"acks_late": True, "reject_on_worker_lost": True} if is_celerys else {}


@task(backend=_alias(), queue_name=_queue(_alias()), **_options(_alias()))
async def deliver(channel: str, message: Any, refused: str | None = None) -> list[Any]:
    """Have the project's consumer of a channel handle one event; return what it sent with `self.send`.

    The consumer is found as runworker finds it: ``settings.ASGI_APPLICATION``, for the scope of the channel. What it
    raises is raised, and ValueError for an event without a `type` or for a channel that nobody consumes. `refused` is why
    an event could not be carried by a task; `message` is then what it looked like.
    """
    if refused is not None:
        raise ValueError(refused)
    refuse_untyped(message)
    from channels.routing import get_default_application

    from tasks_celery.channels.workers.running import handle

    # The project's module is imported in a thread without a loop, as by every server: it may use the database.
    application = await sync_to_async(get_default_application)()
    return await handle(application, channel, message)


def task_for(channel: str) -> AnyTask:
    """Return the task for events of a channel, with what ``TASK_EVENTS["CHANNELS"]`` says of it.

    Raise OptionsError, TypeError, ValueError or InvalidTask for what it may not say.
    """
    asked = channel_options(channel).asked_for()
    task: AnyTask = deliver.using(**asked) if asked else deliver
    return task
