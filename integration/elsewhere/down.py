"""Web process. Asks for an unknown id while Celery's result backend is frozen or away, and prints what comes of it.

Its argument is the process to freeze with SIGSTOP; without one the result backend is away from the start.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from threading import Thread
from typing import Any

import django


def main() -> None:
    django.setup()
    answers = [_ask()]
    if len(sys.argv) > 1:
        server = int(sys.argv[1])
        os.kill(server, signal.SIGSTOP)
        try:
            answers += [_ask(), _ask_anew()]
        finally:
            os.kill(server, signal.SIGCONT)
        answers.append(_ask())
    json.dump(answers, sys.stdout)


def _ask_anew() -> dict[str, Any]:
    """Ask from another thread, which has no connection yet."""
    answers: list[dict[str, Any]] = []
    thread = Thread(target=lambda: answers.append(_ask()))
    thread.start()
    thread.join()
    return answers[0]


def _ask() -> dict[str, Any]:
    from tasks_celery.compat import task_backends

    began = time.monotonic()
    try:
        task_backends["default"].get_result("nobody")
    except Exception as error:  # noqa: BLE001  which one is the question
        said = {"raised": type(error).__name__, "text": str(error), "caused": error.__cause__ is not None}
    return said | {"took": time.monotonic() - began}


if __name__ == "__main__":
    main()
