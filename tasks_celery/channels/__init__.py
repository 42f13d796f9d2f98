"""Both. Every completion told to the user's browser, over Django Channels.

In the order of the flow: `notify` says what a task announces, `middleware` remembers who asked,
`receivers` hears that the task finished, `audience` says who is told, `events` what they are told, `groups` under
which name. `publisher` hands it to the channel layer (`outbox`, `sender`, `layer` are its
parts), and `consumers`, behind `routing`, brings it to the page. Only `layer` and `consumers` need Channels itself:
code that is decorated with `notify` imports without it.
"""

from __future__ import annotations

from tasks_celery.channels.notify import notify

__all__ = ["notify"]
