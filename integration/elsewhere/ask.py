"""Web process. Prints what `get_result` and AsyncResult.get() tell of the ids it is given, once they have ended."""

from __future__ import annotations

import json
import sys

import django


def main() -> None:
    django.setup()
    from celery.result import AsyncResult

    from integration.elsewhere.asking import ended, got
    from tasks_celery.compat import task_backends

    app = task_backends["default"].app
    facts = {each: {"told": ended(each), "got": got(AsyncResult(each, app=app))} for each in sys.argv[1:]}
    json.dump(facts, sys.stdout)


if __name__ == "__main__":
    main()
