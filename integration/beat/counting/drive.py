"""Web process. ``python -m integration.beat.counting.drive begin SECONDS SCHEDULES`` makes schedules that tick each second, from so many
seconds ahead on, and tells that moment; ``… tell`` tells all ticks, as JSON.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import django


def begin(ahead: str, schedules: str) -> Any:
    from django_celery_beat.models import IntervalSchedule, PeriodicTask

    every, _ = IntervalSchedule.objects.get_or_create(every=1, period="seconds")
    first = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=int(ahead))
    for number in range(int(schedules)):
        name = f"schedule {number}"
        PeriodicTask.objects.create(
            name=name,
            task="integration.beat.counting.tasks.count",
            interval=every,
            start_time=first,
            kwargs=json.dumps({"name": name}),
        )
    return first.timestamp()


def tell() -> Any:
    from tasks_celery.beat.models import Tick

    return [
        {
            "at": tick.at.timestamp(),
            "id": tick.result_id,
            "name": tick.periodic_task.name,
            "outcome": tick.outcome,
            "reason": tick.reason,
            "sent": tick.sent_at.timestamp() if tick.sent_at else None,
        }
        for tick in Tick.objects.select_related("periodic_task")
    ]


if __name__ == "__main__":
    django.setup()
    # In one write: json.dump makes one for each word.
    sys.stdout.write(json.dumps({"begin": begin, "tell": tell}[sys.argv[1]](*sys.argv[2:])))
