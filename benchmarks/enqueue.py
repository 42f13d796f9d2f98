"""What it costs a web process to enqueue a task and to read a result, against Celery's own calls.

Each kind of call runs in a child process of its own kind: a web process with Redis, one with RabbitMQ, and one for each of the other
backends of Django's tasks. In each round, each call is made so many times.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from benchmarks.environments import NotInstalled, environment
from benchmarks.harness import Loop, LoopEnded, Measure, in_rounds
from benchmarks.web import SIZES

ROUNDS, REPEAT, REPEAT_SIZES = 15, 100, 20

#: What each of the other backends needs besides Django, Celery and redis-py; and what it is measured with, where there is a choice.
PEERS = {
    "django-tasks-db": (["django-tasks-db", "psycopg[binary]"], [".sqlite", ".postgresql"]),
    "django-tasks-rq": (["django-tasks-rq"], [""]),
    "huey": (["huey"], [""]),
    "django-tasks-celery": (["django-tasks-celery"], [""]),
    "django-tasks-fennel": (["django-tasks-fennel"], [""]),
}


def measure() -> Iterator[Measure]:
    import redis

    with ExitStack() as stack:
        others = _peers(stack)
        web = stack.enter_context(Loop("web", [sys.executable, "-m", "benchmarks.web"]))
        calls = {"apply_async": "apply_async", "enqueue": "enqueue", "bulk": "bulk", "raw.kombu": "kombu"}
        timed = {f"{name}.redis": web.timer(call, REPEAT) for name, call in calls.items()}
        timed |= {"raw.lpush.redis": web.timer("LPUSH", REPEAT)} | others
        rabbit = _web_on_rabbitmq(stack)
        if rabbit:
            timed |= {f"{name}.rabbitmq": rabbit.timer(call, REPEAT) for name, call in calls.items()}
        # What the last round has left in Redis is nothing to the next.
        clear = stack.enter_context(redis.Redis.from_url(os.environ["BENCH_REDIS"])).flushall
        yield from _against(timed, _base, repeat=REPEAT, before=clear)
        yield from _sizes(web, clear)
        web.seconds("keep", 1)
        reading = {name: web.timer(name, REPEAT) for name in ("AsyncResult.state", "get_result.redis")}
        yield from _against(reading, lambda name: "AsyncResult.state", repeat=REPEAT)


def _base(name: str) -> str:
    return "apply_async.rabbitmq" if name.endswith(".rabbitmq") else "apply_async.redis"


def _sizes(web: Loop, clear: Callable[[], object]) -> Iterator[Measure]:
    timed = {
        f"{call}.redis.{size}": web.timer(f"{call} {size}", REPEAT_SIZES)
        for size in SIZES
        for call in ("apply_async", "enqueue")
    }
    yield from _against(timed, lambda name: f"apply_async.{name.partition('.')[2]}", repeat=REPEAT_SIZES, before=clear)


def _against(
    timed: Mapping[str, Callable[[], float]],
    base: Callable[[str], str],
    *,
    repeat: int,
    before: Callable[[], object] = lambda: None,
) -> Iterator[Measure]:
    """Yield the ratio of each call to the one that it is to be compared with."""
    for call in timed.values():
        call()  # warm
    seconds = in_rounds(timed, rounds=ROUNDS, before=before)
    for name in timed:
        if name != base(name):
            against = base(name).partition(".redis")[0].partition(".rabbitmq")[0]
            yield Measure.of(name, against=against, ours=seconds[name], theirs=seconds[base(name)], repeat=repeat)


# --- the others


def _web_on_rabbitmq(stack: ExitStack) -> Loop | None:
    from integration.rabbitmq import find_rabbitmq, rabbitmq

    if not find_rabbitmq():
        _leave_out("RabbitMQ", "rabbitmq-server is not installed")
        return None
    url = stack.enter_context(rabbitmq())
    return stack.enter_context(Loop("web", [sys.executable, "-m", "benchmarks.web"], BENCH_BROKER=url))


def _peers(stack: ExitStack) -> dict[str, Callable[[], float]]:
    """Return the enqueueing of all the others that can be had here."""
    from integration.postgres import find_postgres, postgres

    env = {"BENCH_SQLITE": str(Path(stack.enter_context(tempfile.TemporaryDirectory())) / "db.sqlite3")}
    if find_postgres():
        env["BENCH_POSTGRES"] = stack.enter_context(postgres())
    else:
        _leave_out("django-tasks-db.postgresql", "PostgreSQL is not installed")
    with ThreadPoolExecutor() as pool:
        found = {name: pool.submit(environment, name, *wanted) for name, (wanted, _) in PEERS.items()}
    timed = {}
    for name, (_, kinds) in PEERS.items():
        for kind in kinds:
            if kind == ".postgresql" and "BENCH_POSTGRES" not in env:
                continue
            try:
                python = str(found[name].result())
                loop = stack.enter_context(Loop(name, [python, "-m", "benchmarks.peer", name + kind], **env))
                loop.seconds("enqueue", 1)
            except (NotInstalled, LoopEnded) as error:
                _leave_out(name + kind, str(error))
            else:
                timed[f"peer.{name}{kind}"] = loop.timer("enqueue", REPEAT)
    return timed


def _leave_out(name: str, reason: str) -> None:
    print(f"{name} is left out: {reason}", file=sys.stderr)
