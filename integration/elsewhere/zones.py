"""Web process. Enqueues at once and for later, and prints how the times of the results lie, all in the project's own."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from typing import Any

import django

AHEAD = timedelta(seconds=2)


def main() -> None:
    django.setup()
    from django.utils import timezone

    from integration.elsewhere import tasks
    from tasks_celery.compat import task_backends

    backend = task_backends["default"]
    run_after = timezone.now() + AHEAD
    later = tasks.divide.using(run_after=run_after).enqueue(6, 3)
    facts: dict[str, Any] = {"the same when READY": backend.get_result(later.id) == later}
    at_once = tasks.divide.enqueue(6, 3)
    plain = tasks.plain_divide.delay(6, 3)
    for name, result in (("at once", at_once), ("later", later)):
        facts[name] = _when_finished(result.id) | _facts(result)
    facts["plain"] = _when_finished(plain.id)
    facts["plain"]["aware"] = [timezone.is_aware(backend.get_result(plain.id).finished_at)]
    facts["later"]["early by"] = _seconds(run_after - backend.get_result(later.id).started_at)
    json.dump(facts, sys.stdout)


def _when_finished(result_id: str) -> dict[str, Any]:
    """Return how `finished_at` lies to the last look that found the task unfinished, and to the first that did not."""
    from django.utils import timezone

    from integration.elsewhere.asking import found, until

    unfinished = [timezone.now() - timedelta(seconds=1)]

    def look() -> Any:
        began, result = timezone.now(), found(result_id)
        if result is not None and result.is_finished:
            return result
        unfinished.append(began)
        return None

    done = until(look).finished_at
    return {"since unfinished": _seconds(done - unfinished[-1]), "ago": _seconds(timezone.now() - done)}


def _facts(enqueued: Any) -> dict[str, Any]:
    from django.utils import timezone

    result = enqueued.task.get_backend().get_result(enqueued.id)
    times = [result.enqueued_at, result.started_at, result.last_attempted_at, result.finished_at]
    enqueued.refresh()
    return {
        "aware": [timezone.is_aware(moment) for moment in times],
        "in order": times == sorted(times),
        "the same": enqueued == result,
        "status": str(result.status),
    }


def _seconds(span: timedelta) -> float:
    return span.total_seconds()


if __name__ == "__main__":
    main()
