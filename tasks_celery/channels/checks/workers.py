"""Both. Checks of what the tasks ask for that events for workers of Channels become."""

from __future__ import annotations

from django.core.checks import Error

from tasks_celery.channels.checks.reading import Messages, known_options
from tasks_celery.compat import InvalidTask, InvalidTaskBackend
from tasks_celery.exceptions import TasksCeleryError


def channels_ask_for_what_cannot_be() -> Messages:
    known = known_options()
    for pattern, asked in (known.channels if known else {}).items():
        try:
            from tasks_celery.channels.workers.tasks import deliver

            deliver.using(**asked.asked_for())
        except (TypeError, ValueError, InvalidTask, InvalidTaskBackend, TasksCeleryError) as error:
            yield Error(
                f"TASK_EVENTS['CHANNELS'][{pattern!r}] asks for what no task can have: {error}",
                hint="Correct it: the keys are arguments of `using` in capitals, and a QUEUE_NAME has to be in the QUEUES of the "
                "alias in TASKS.",
                id="tasks_celery.E113",
            )
