"""Test process. The environment of the enqueueing project, its drivers, and processes that do the same at the same moment."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from typing import Any

from example.servers import ROOT

RACERS = 2


def env_of(environ: Mapping[str, str], redis_url: str, *, notes: str = "", **settings: Any) -> dict[str, str]:
    """Return the environment of a process of the project, with these settings over its own."""
    return dict(environ) | {
        "DJANGO_SETTINGS_MODULE": "integration.asking.enqueueing.settings",
        "PYTHONUNBUFFERED": "1",
        "ENQUEUEING_REDIS": redis_url,
        "ENQUEUEING_NOTES": notes or redis_url,
        "ENQUEUEING_SETTINGS": json.dumps(settings),
    }


def drive(verb: str, *arguments: Any, env: Mapping[str, str], returncode: int = 0) -> Any:
    """Run a driver of the project, and return the JSON that it prints."""
    command = [sys.executable, "-m", "integration.asking.enqueueing.drive", verb, *map(json.dumps, arguments)]
    driven = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert driven.returncode == returncode, driven.stdout + driven.stderr
    return json.loads(driven.stdout or "null")


def race(verb: str, arguments: Sequence[Any], *, env: Mapping[str, str]) -> list[Any]:
    """Run a racing verb in several processes, each with one of the arguments, and return what each tells."""
    context = get_context("spawn")
    start, told = context.Barrier(len(arguments)), context.Queue()
    racers = [
        context.Process(target=_racer, args=(dict(env), verb, number, argument, start, told))
        for number, argument in enumerate(arguments)
    ]
    for each in racers:
        each.start()
    try:
        answers = dict(told.get(timeout=150) for _ in racers)
    finally:
        for each in racers:
            each.join(10)
            each.kill()
    return [answers[number] for number in range(len(racers))]


def _racer(env: dict[str, str], verb: str, number: int, argument: Any, start: Any, told: Any) -> None:
    import os

    os.environ.clear()
    os.environ.update(env)
    import django

    django.setup()
    from integration.asking.enqueueing import racing

    told.put((number, getattr(racing, verb)(start, argument)))
