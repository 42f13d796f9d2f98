"""Web process. Uses a project that has no place for records, and prints how far that goes."""

from __future__ import annotations

import json
import sys

import django


def main() -> None:
    django.setup()
    from integration.elsewhere import tasks
    from tasks_celery.compat import task_backends

    backend = task_backends["default"]
    result = tasks.leave_mark.enqueue(sys.argv[1], "done")
    facts = {"supported": backend.supports_get_result, "status": str(result.status)}
    try:
        backend.get_result(result.id)
    except NotImplementedError as error:
        facts["raised"] = type(error).__name__
    json.dump(facts, sys.stdout)


if __name__ == "__main__":
    main()
