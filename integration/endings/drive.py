"""Web process. Enqueues one task per ending, waits until each has ended, and prints what is stored of them."""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import timedelta
from typing import Any

import django

WITHIN = 60.0


def main() -> None:
    django.setup()
    results = enqueue_all()
    wait_for(results)
    json.dump({name: facts(result) for name, result in results.items()}, sys.stdout)


def enqueue_all() -> dict[str, Any]:
    from celery.result import AsyncResult

    from integration.endings import tasks
    from tasks_celery.celery import find_app

    app = find_app()
    sent = {
        "success": tasks.succeed.enqueue(value=1),
        "async": tasks.succeed_later.enqueue(value=1),
        "exception": tasks.fail.enqueue(),
        "strange exception": tasks.fail_strangely.enqueue(),
        "SystemExit": tasks.leave.enqueue(),
        "KeyboardInterrupt": tasks.interrupt.enqueue(),
        "odd BaseException": tasks.raise_odd.enqueue(),
        "MemoryError": tasks.run_out_of_memory.enqueue(),
        "no JSON": tasks.give_lambda.enqueue(),
        "retried": tasks.recover.enqueue(failures=2),
        "retries exhausted": tasks.recover.enqueue(failures=9),
        "child killed": tasks.kill_self.enqueue(),
        "child killed, run again": tasks.kill_self_once.enqueue(),
        "hard time limit": tasks.overrun.enqueue(),
        "soft time limit": tasks.overrun_softly.enqueue(),
        "Reject": tasks.reject.enqueue(),
        "Ignore": tasks.ignore.enqueue(),
        "wrong arguments": tasks.succeed.enqueue(nonsense=1),
    }
    later = tasks.succeed.using(run_after=django.utils.timezone.now() + timedelta(seconds=4)).enqueue(value=5)
    sent["deferred"] = later
    revoked = tasks.succeed.using(run_after=django.utils.timezone.now() + timedelta(seconds=6)).enqueue()
    app.control.revoke(revoked.id)
    sent["revoked"] = revoked
    sent["delay()"] = tasks.succeed.get_result(str(tasks.succeed.celery.delay(value=2)))
    app.send_task("integration.endings.tasks.succeed", kwargs={"value": 6}, task_id="by-name", queue="default")
    app.send_task(
        "integration.endings.tasks.nowhere",
        task_id="unknown-name",
        queue="default",
        headers={"tasks_celery": {"alias": "default", "path": "integration.endings.tasks.nowhere"}},
    )
    running = tasks.sleep_long.enqueue()
    until(lambda: refreshed(running).status == "RUNNING")
    app.control.revoke(running.id, terminate=True)
    sent["terminated"] = running
    sent["by name"] = until(lambda: found("by-name"))
    sent["unknown name"] = until(lambda: found("unknown-name"))
    assert AsyncResult(sent["success"].id, app=app).get(timeout=WITHIN) == 2
    return sent


def found(result_id: str) -> Any:
    from tasks_celery.compat import TaskResultDoesNotExist, task_backends

    try:
        return task_backends["default"].get_result(result_id)
    except TaskResultDoesNotExist:
        return None


def refreshed(result: Any) -> Any:
    result.refresh()
    return result


def until(ask: Any) -> Any:
    deadline = time.monotonic() + WITHIN
    while not (answer := ask()):
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.05)
    return answer


def wait_for(results: dict[str, Any]) -> None:
    deadline = time.monotonic() + WITHIN
    while unfinished := [name for name, result in results.items() if not refreshed(result).is_finished]:
        if time.monotonic() > deadline:
            sys.stderr.write(f"never ended: {', '.join(unfinished)}\n")
            return
        time.sleep(0.1)
    time.sleep(3)  # a second finished event would come from the main process, up to 2.7 s later


def facts(result: Any) -> dict[str, Any]:
    import redis

    client = redis.Redis.from_url(os.environ["ENDINGS_REDIS"].replace("redis+socket:", "unix:"))
    times = ("enqueued_at", "started_at", "last_attempted_at", "finished_at")
    return {
        "status": str(result.status),
        "value": result._return_value,
        "errors": [error.exception_class_path for error in result.errors],
        "tracebacks": [error.traceback for error in result.errors],
        "attempts": result.attempts,
        "workers": result.worker_ids,
        **{name: moment.isoformat() if (moment := getattr(result, name)) else None for name in times},
        **{
            name: [json.loads(event) for event in client.lrange(f"{name}:{result.id}", 0, -1)]
            for name in ("enqueued", "started", "finished")
        },
    }


if __name__ == "__main__":
    main()
