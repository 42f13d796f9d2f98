"""Web process. Sends the tasks in each way, by their old API and their new one, and prints what is then told of them."""

from __future__ import annotations

import json
import sys
from typing import Any

import django


def main() -> None:
    django.setup()
    json.dump({"before": _before, "after": _after}[sys.argv[1]](*sys.argv[2:]), sys.stdout)


def _before() -> dict[str, Any]:
    """Send what is adopted later, and tell what AsyncResult says."""
    from integration.adopted import tasks
    from integration.elsewhere.asking import got

    sent = {"good": tasks.add.delay(1, 2), "bad": tasks.breaks.delay(), "date": tasks.gives_a_date.delay()}
    return {name: {"id": result.id, "got": _plain(got(result))} for name, result in sent.items()}


def _after(old: str, story: str) -> dict[str, Any]:
    from celery import chain, chord, group

    from integration.adopted import tasks
    from integration.adopted.moved import adopted, multiply, note_error, total_of
    from integration.elsewhere.asking import ended, got, until
    from tasks_celery.compat import task_backends

    app = task_backends["default"].app
    enqueued = {
        "enqueue": adopted["add"].enqueue(1, b=2),
        "enqueue noted": adopted["noted"].enqueue(1),
        "enqueue failure": adopted["noted_failure"].enqueue(),
        "by its class": adopted["by_its_class"].enqueue(4),
        "asks again": adopted["asks_again"].enqueue(2),
        "asks too often": adopted["asks_again"].enqueue(3),
        "is tried again": adopted["is_tried_again"].enqueue(1),
        "breaks": adopted["breaks"].enqueue(),
        "ignore": adopted["breaks"].enqueue("ignore"),
        "reject": adopted["breaks"].enqueue("reject"),
        "forgets": adopted["forgets"].enqueue(),
        "tells progress": adopted["tells_progress"].enqueue(),
        "sends another": adopted["sends_another"].enqueue(),
        "is replaced by its like": adopted["is_replaced"].enqueue("integration.adopted.tasks.add"),
        "is replaced by Django's": adopted["is_replaced"].enqueue("integration.adopted.moved.multiply"),
        "is replaced by a plain one": adopted["is_replaced"].enqueue("integration.adopted.tasks.plain_add"),
    }
    if story != "RabbitMQ":  # which drops it, and only a sweeper finds out
        enqueued["expired"] = adopted["add"].using(expires=0.001).enqueue(1)
    if story in ("prefork", "RabbitMQ"):
        enqueued["is killed"] = adopted["is_killed"].enqueue()
        enqueued["takes too long"] = adopted["takes_too_long"].enqueue()
    sent: dict[str, Any] = {name: app.AsyncResult(result.id) for name, result in enqueued.items()}
    sent |= {
        "delay": tasks.add.delay(1, 2),
        "delay noted": tasks.noted.delay(2, by="me"),
        "delay of Django's": multiply.delay(3, 4),
        "delay of the adopted": adopted["add"].delay(1, 1),
        "countdown": tasks.add.apply_async((1,), {"b": 5}, countdown=0.5),
        "date": tasks.gives_a_date.delay(),
        "date as argument": tasks.forgets.apply_async(link=tasks.add.si(8, 8)),
        "send_task": app.send_task("integration.adopted.tasks.add", (6,), {"b": 3}),
        "chain": chain(tasks.add.s(1, 2), multiply.s(10), adopted["add"].s(4))(),
        "chain to a group": chain(multiply.s(1, 2), group(adopted["add"].s(1), multiply.s(5)), total_of.s())(),
        "chord": chord([tasks.add.s(1, 2), multiply.s(3, 4)], adopted["total"].s())(),
        "chord, Django's end": chord([adopted["add"].s(1, 2), multiply.s(3, 4)], total_of.s())(),
        "chord, plain end": chord([adopted["add"].s(1, 2), multiply.s(3, 4)], tasks.plain_total.s())(),
        "starmap": adopted["add"].celery.starmap([(1, 2), (3, 4)]).apply_async(),
        "linked": adopted["add"].apply_async((1, 1), link=multiply.s(21)),
        "errback": adopted["breaks"].apply_async(link_error=note_error.s()),
        "errback of Django's": multiply.apply_async((1, "x", 3)[:2], link_error=tasks.noted.si(1, by="error")),
    }
    facts = {name: {"id": result.id, "got": _plain(got(result))} for name, result in sent.items() if _answers(name)}
    # Celery itself keeps these as a list of one task of its own, or nothing at all.
    untold = {"starmap", "chord, plain end"}
    for name, fact in facts.items():
        if name not in untold:
            fact["told"] = ended(fact["id"])
    for name in set(sent) - set(facts):
        facts[name] = {"id": sent[name].id, "told": ended(sent[name].id)}
    facts["chain's first"] = {"told": ended(sent["chain"].parent.parent.id)}
    facts["chain's second"] = {"told": ended(sent["chain"].parent.id)}
    facts["linked, next"] = {"told": ended(until(lambda: sent["linked"].children)[0].id)}
    facts["sent by another"] = {"told": ended(facts["sends another"]["got"]["value"])}
    for name, was in json.loads(old).items():
        result = app.AsyncResult(was["id"])
        facts[f"old {name}"] = {"id": was["id"], "got": _plain(got(result)), "told": ended(was["id"])}
    facts["old good"]["own"] = {"told": str(adopted["add"].get_result(facts["old good"]["id"]).return_value)}
    facts["apply"] = {"told": ended(tasks.add.apply((1, 1)).id)}
    facts["directly"] = {"got": {"value": [tasks.add(1, 1), adopted["add"](2, 2)]}}
    return facts


def _answers(name: str) -> bool:
    """Whether AsyncResult will say how a task ended: not where Celery stores nothing of it."""
    return name not in ("ignore", "forgets", "reject", "date as argument")


def _plain(facts: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(facts, default=lambda value: [type(value).__name__, str(value)]))  # type: ignore[no-any-return]


if __name__ == "__main__":
    main()
