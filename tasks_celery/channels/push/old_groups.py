"""Both. While a project moves over: the groups and messages of the consumers that it had before, served too.

Those are told as Channels tells: who is away misses it, and nothing is logged.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from typing import Final

from django.utils.module_loading import import_string

from tasks_celery.channels.events import Envelope, Json
from tasks_celery.channels.options import EventOptions, event_options
from tasks_celery.channels.push import publisher

logger = logging.getLogger("tasks_celery.channels")

#: As Channels has it: ASCII letters, digits, hyphens, underscores and dots, fewer than 100.
_GROUP: Final = re.compile(r"[A-Za-z0-9\-_.]{1,99}")


def tell_old_groups(users: Iterable[str], envelope: Envelope) -> None:
    """Send the event, in the old shape, to the old group of each user; to none without TASK_EVENTS' OLD_GROUP.

    What does not work is logged with the task's id.
    """
    options = event_options()
    if options.old_group is None:
        return
    try:
        message = _message(options, envelope)
    except Exception:  # the project's function, and what it returned
        logger.exception(
            "Task id=%s: %r is not sent to old groups, as TASK_EVENTS['OLD_MESSAGE'] does not work",
            envelope.key,
            envelope.event,
        )
        return
    for user in users:
        group = options.old_group.replace("{user}", user)
        if _GROUP.fullmatch(group):
            publisher.tell(group, message, about=envelope.key)
        else:
            logger.error(
                "Task id=%s: %r is not sent to the old group %r: such a name has letters, digits, hyphens, underscores "
                "and dots, and fewer than 100 of them. See TASK_EVENTS['OLD_GROUP'].",
                envelope.key,
                envelope.event,
                group,
            )


def _message(options: EventOptions, envelope: Envelope) -> Json:
    if options.old_message is None:
        return {"type": envelope.event, "data": envelope.data}
    message = import_string(options.old_message)(envelope.event, envelope.data)
    if not isinstance(message, Mapping) or not isinstance(message.get("type"), str):
        raise TypeError(
            f"{options.old_message} returned {message!r:.200}; it has to return a dict with a text 'type', such as "
            f"{{'type': 'report.ready', 'report': 7}}."
        )
    return dict(message)
