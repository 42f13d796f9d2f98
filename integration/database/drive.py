"""Web process. Enqueues tasks whose records are rows, waits until each has ended, and prints what the rows say."""

from __future__ import annotations

import json
import sys
from typing import Any

import django


def main() -> None:
    django.setup()
    ended = [*_of_transactions(), *_two_that_kill_their_child()]
    json.dump(dict(ended), sys.stdout)


def _of_transactions() -> list[tuple[str, Any]]:
    from django.db import transaction

    from integration.endings import tasks

    with transaction.atomic():
        sent = {
            "success": tasks.succeed.enqueue(value=1),
            "failure": tasks.fail.enqueue(),
            "retried": tasks.recover.enqueue(failures=2),
        }
    with transaction.atomic():
        sent["rolled back"] = tasks.succeed.enqueue(value=5)
        transaction.set_rollback(True)
    return [(name, _ended(result)) for name, result in sent.items()]


def _two_that_kill_their_child() -> list[tuple[str, Any]]:
    """Let the worker's main process report a death before its next child is forked, and after."""
    from integration.endings import tasks

    return [
        ("killed", _ended(tasks.kill_self.enqueue())),
        ("after it", [_ended(tasks.succeed.enqueue(value=number)) for number in range(20)]),
        ("killed, run again", _ended(tasks.kill_self_once.enqueue())),
        ("killed again", _ended(tasks.kill_self.enqueue())),
    ]


def _ended(result: Any) -> dict[str, Any]:
    from integration.endings.drive import found, until
    from tasks_celery.database.models import TaskRecord

    until(lambda: (read := found(result.id)) and read.is_finished)
    row = TaskRecord.objects.get(pk=result.id)
    return {
        "status": row.status,
        "value": row.return_value,
        "errors": [path for _, path, _ in row.errors],
        "attempts": len(row.worker_ids),
        "in order": row.enqueued_at <= row.started_at <= row.last_attempted_at <= row.finished_at,
    }


if __name__ == "__main__":
    main()
