"""Web process. Sends tasks in every way that Celery has, and prints what is then told of them."""

from __future__ import annotations

import json
import sys
from typing import Any

import django


def main() -> None:
    django.setup()
    from celery import chain, chord, group

    from integration.elsewhere import tasks
    from integration.elsewhere.asking import got, told
    from tasks_celery.compat import task_backends

    app = task_backends["default"].app
    divide, total = tasks.divide.celery, tasks.total.celery
    by_name = {"queue": "default"}
    sent: dict[str, Any] = {
        "enqueue": app.AsyncResult(tasks.divide.enqueue(6, 3).id),
        "delay": divide.delay(6, b=3),
        "apply_async": divide.apply_async((6, 3), queue="reports", priority=3, countdown=0.5),
        "own id": divide.apply_async((6, 3), task_id="an id of the caller's"),
        "signature": tasks.divide.celery.s(3).apply_async((6,)),
        "send_task": app.send_task("integration.elsewhere.tasks.divide", (6,), {"b": 3}, **by_name),
        "send_task to Celery's queue": app.send_task("integration.elsewhere.tasks.divide", (6, 3)),
        "delay of one that fails": divide.delay(1, 0),
        "send_task of one that fails": app.send_task("integration.elsewhere.tasks.break_oddly", **by_name),
        "retried": tasks.recover.celery.delay(failures=2),
        "chain": chain(divide.s(24, 2), tasks.plain_divide.s(3), divide.s(2))(),
        "chain that breaks": chain(divide.s(1, 0), divide.s(2))(),
        "chord": chord([divide.s(6, 3), tasks.plain_divide.s(6, 2)], total.s(more=1))(),
        "chord with a plain end": chord([divide.s(6, 3), divide.s(6, 2)], tasks.plain_total.s())(),
    }
    together = group(divide.s(6, 3), tasks.plain_divide.s(6, 2), divide.s(1, 1))()
    sent |= {f"group {number}": result for number, result in enumerate(together.results)}
    sent |= {"chain's first": sent["chain"].parent.parent, "broken chain's first": sent["chain that breaks"].parent}
    facts = {name: _facts(result) for name, result in sent.items() if name != "chain that breaks"}
    # The second of a chain whose first has failed is never sent: Celery tells why all the same.
    never = sent["chain that breaks"]
    facts["chain that breaks"] = {"got": got(never), "told": told(never.id)}
    facts["group"] = {"got": {"value": together.get(timeout=30)}}
    json.dump(facts, sys.stdout)


def _facts(result: Any) -> dict[str, Any]:
    from integration.elsewhere.asking import ended, got

    return {"id": result.id, "got": got(result), "told": ended(result.id)}


if __name__ == "__main__":
    main()
