"""Web process. Runs each function as a Django task and as a plain Celery task, and prints what can then be read of both."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import django
from celery import Celery
from celery.result import AsyncResult

ODD = ["", " ", "a" * 5000, "a" * 300, "a\0b", "../../etc/passwd", "x/../../secret", "a\nb", "a b", "☃", "\ud800"]


def main() -> None:
    django.setup()
    from integration.elsewhere import tasks
    from integration.elsewhere.asking import ended, told
    from tasks_celery.compat import task_backends

    app = task_backends["default"].app
    pairs = {
        "success": (tasks.divide.enqueue(6, 3), tasks.plain_divide.delay(6, 3)),
        "failure": (tasks.divide.enqueue(1, 0), tasks.plain_divide.delay(1, 0)),
        "odd failure": (tasks.break_oddly.enqueue(), tasks.plain_break_oddly.delay()),
        "deep failure": (tasks.break_within.enqueue(), tasks.plain_break_within.delay()),
    }
    delayed, forgotten = tasks.divide.celery.delay(8, 2), tasks.forget.enqueue(5)
    facts = {name: _facts(app, ours.id, plain) for name, (ours, plain) in pairs.items()}
    facts["delay()"] = {"told": ended(delayed.id), "words": _words(app, delayed), "path": tasks.divide.module_path}
    facts["forgotten"] = {"told": ended(forgotten.id), "words": _words(app, AsyncResult(forgotten.id, app=app), 0)}
    facts["unknown"] = {"told": told("nobody"), "words": _words(app, app.AsyncResult("nobody"), 0)}
    # What a driver of another process would be told: Celery keeps no SUCCESS of ours in this thread's cache.
    facts["odd"] = {ascii(odd): told(odd) for odd in ODD}
    facts["after the odd"] = told(pairs["success"][1].id)
    json.dump(facts, sys.stdout)


def _facts(app: Celery, ours: str, plain: Any) -> dict[str, Any]:
    from integration.elsewhere.asking import ended, told

    facts = {"told": ended(ours), "words": _words(app, AsyncResult(ours, app=app)), "plain": _words(app, plain)}
    facts["told of plain"] = told(plain.id)
    return facts


def _words(app: Celery, result: Any, within: float = 20.0) -> dict[str, Any]:
    """Return what an AsyncResult says once it is ready; after a while what it says all the same."""
    from integration.elsewhere.asking import words

    # Celery stores its own result after the record; where it stores none there is nothing to wait for.
    stored = type(app.backend).__name__ != "DisabledBackend" and not app.conf.task_ignore_result
    deadline = time.monotonic() + (within if stored else 0)
    while (said := words(result)).get("state") in ("PENDING", "STARTED") and time.monotonic() < deadline:
        time.sleep(0.05)
    return said


if __name__ == "__main__":
    main()
