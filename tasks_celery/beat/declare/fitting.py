"""Both. Whether a schedule and the task that it runs fit each other: its arguments, its queue, its priority."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tasks_celery.beat.declare.given import refuse_unsendable
from tasks_celery.compat import AnyTask, InvalidTask
from tasks_celery.exceptions import ScheduleError
from tasks_celery.signatures import misfit
from tasks_celery.task import name_of
from tasks_celery.task_options import CallOptions
from tasks_celery.twin import registered

if TYPE_CHECKING:
    from tasks_celery.beat.declare import Declaration


def refuse_wrong_call(task: AnyTask, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Raise ScheduleError for arguments that do not fit a task's function, or that cannot be sent."""
    refuse_unsendable([list(args), dict(kwargs)])
    if why := misfit(task.func, task.takes_context, args, kwargs):
        raise ScheduleError(f"The arguments do not fit {task.module_path}: {why}.")


def refuse_for(task: AnyTask, found: Declaration) -> None:
    """Raise ScheduleError for what is declared and a task, or the backend that it is enqueued on, cannot take."""
    refuse_wrong_call(task, found.args, found.kwargs)
    backend: Any = task.get_backend()
    if not hasattr(backend, "twin_class"):
        return  # The same code has to import where tests run tasks at once, which know no queues and no priorities.
    _refuse_variant(task)
    if found.queue is not None and backend.queues and found.queue not in backend.queues:
        raise ScheduleError(
            f"TASKS[{task.backend!r}] has no queue {found.queue!r}; QUEUES are: {', '.join(sorted(backend.queues))}."
        )
    try:
        task.using(queue_name=found.queue, priority=found.priority)
    except InvalidTask as error:
        raise ScheduleError(str(error)) from error


def _refuse_variant(task: AnyTask) -> None:
    """Raise ScheduleError for what `using` made: beat finds the task by its name, as it was defined."""
    asked = getattr(task, "asked", None) or CallOptions()
    known = registered().get(name_of(task))
    if task.run_after is not None or asked != CallOptions() or (known and known.func is task.func and known != task):
        raise ScheduleError(
            "the task was changed by using(…), which beat would not know of; give the task as it was defined, and queue=, "
            "priority= or expires= to the schedule."
        )
