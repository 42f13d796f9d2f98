"""A process with Celery and without Django: knows a broker, and names. Run by its path, so that it imports no project."""

from __future__ import annotations

import json
import os
import sys

from celery import Celery


def main() -> None:
    url = os.environ["ELSEWHERE_REDIS"]
    app = Celery(broker=url, backend=url)
    sent = {
        "success": app.send_task("integration.elsewhere.tasks.divide", (6, 3), queue="default"),
        "failure": app.send_task("integration.elsewhere.tasks.divide", (1, 0), queue="default"),
        "odd failure": app.send_task("integration.elsewhere.tasks.break_within"),
    }
    facts = {name: {"id": result.id, "got": _got(result)} for name, result in sent.items()}
    json.dump({"facts": facts, "modules": sorted(sys.modules)}, sys.stdout)


def _got(result: object) -> dict[str, object]:
    try:
        return {"value": result.get(timeout=60)}  # type: ignore[attr-defined]
    except Exception as error:  # noqa: BLE001  the task's own
        return {"raised": type(error).__qualname__, "module": type(error).__module__, "text": str(error)}


if __name__ == "__main__":
    main()
