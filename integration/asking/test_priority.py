"""Larger priorities run sooner, on real brokers that count in opposite directions (points 39 and 40 of the contract)."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from example.servers import ROOT, Child, plan_redis, redis_answers, stop, wait_until
from integration.asking.ordering.drive import ENQUEUED, WAYS
from integration.conftest import require
from integration.rabbitmq import find_rabbitmq, rabbitmq

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def redis_url(clean_environ: dict[str, str]) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        plan = plan_redis(clean_environ, Path(directory))
        require(plan.url, f"There is no Redis server here but {plan.label}; install redis-server.")
        url = str(plan.url)
        server = Child("redis", plan.command, env=clean_environ)
        try:
            wait_until(lambda: redis_answers(url), what="Redis", watch=[server])
            yield url
        finally:
            stop([server])


@pytest.fixture(scope="module")
def rabbitmq_url() -> Iterator[str]:
    require(find_rabbitmq(), "There is no RabbitMQ here; install rabbitmq-server.")
    with rabbitmq() as url:
        yield url


@pytest.fixture
def told(clean_environ: dict[str, str], redis_url: str, request: pytest.FixtureRequest) -> Callable[..., Any]:
    """A function that has a story told of a broker, as Celery's settings for it say."""

    def tell(broker: str, settings: Mapping[str, Any], *story: object) -> Any:
        env = clean_environ | {
            "DJANGO_SETTINGS_MODULE": "integration.asking.ordering.settings",
            "PYTHONUNBUFFERED": "1",
            "ENDINGS_REDIS": celerys(redis_url),
            "ENDINGS_NOTES": redis_url,
            "ENDINGS_BROKER": celerys(redis_url) if broker == "Redis" else request.getfixturevalue("rabbitmq_url"),
            "ORDERING": json.dumps(settings),
        }
        command = [sys.executable, "-m", "integration.asking.ordering.drive", *map(str, story)]
        driven = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
        assert driven.returncode == 0, driven.stderr
        return json.loads(driven.stdout)

    return tell


def celerys(url: str) -> str:
    return url.replace("unix:", "redis+socket:")


TEN_LINES = {"CELERY_BROKER_TRANSPORT_OPTIONS": {"priority_steps": list(range(10))}}
TEN_LEVELS = {"CELERY_TASK_QUEUE_MAX_PRIORITY": 10}
PLAIN_AT_FIVE = {"CELERY_TASK_DEFAULT_PRIORITY": 5}

#: Which of five priorities (100, 50, 0, -50, -100) are told apart: those of one number run in turn.
EACH = (0, 1, 2, 3, 4)
# Redis has four lines by default, one of them above that of 0.
FOUR_LINES = (0, 0, 2, 3, 4)


@pytest.mark.parametrize(
    ("broker", "settings", "apart", "pool"),
    [
        ("Redis", {}, FOUR_LINES, "prefork"),
        ("Redis", PLAIN_AT_FIVE, FOUR_LINES, "solo"),
        ("Redis", TEN_LINES, EACH, "prefork"),
        ("RabbitMQ", TEN_LEVELS, EACH, "prefork"),
        ("RabbitMQ", TEN_LEVELS | PLAIN_AT_FIVE, EACH, "solo"),
    ],
    ids=[
        "Redis",
        "Redis, with a default priority, solo",
        "Redis, ten lines",
        "RabbitMQ",
        "RabbitMQ, with a default priority, solo",
    ],
)
def test_of_five_priorities_the_larger_run_sooner_and_equal_ones_in_turn_however_they_were_sent(
    broker: str, settings: Mapping[str, Any], apart: Sequence[int], pool: str, told: Callable[..., Any]
) -> None:
    # Sorted is stable: what is not told apart stays in the order that it was enqueued in.
    in_order = sorted(range(len(ENQUEUED)), key=lambda place: apart[ENQUEUED[place]])
    assert told(broker, settings, "five", pool, *WAYS) == dict.fromkeys(WAYS, in_order)


@pytest.mark.parametrize(("broker", "settings"), [("Redis", {}), ("RabbitMQ", TEN_LEVELS)], ids=["Redis", "RabbitMQ"])
@pytest.mark.parametrize(("concurrency", "prefetch"), [(1, 1), (2, 4)])
def test_no_more_go_before_a_larger_priority_than_the_worker_has_fetched(
    broker: str, settings: Mapping[str, Any], concurrency: int, prefetch: int, told: Callable[..., Any]
) -> None:
    overtaken = told(broker, settings, "overtaken", concurrency, prefetch)
    print(f"{broker}: {overtaken} of 60 began first at concurrency {concurrency} and prefetch multiplier {prefetch}")
    fetched = concurrency * prefetch
    assert fetched - 1 <= overtaken <= fetched + concurrency


def test_a_quorum_queue_with_a_largest_priority_is_refused_by_rabbitmq(told: Callable[..., Any]) -> None:
    quorum = {"CELERY_TASK_QUEUES": {}, "CELERY_TASK_CREATE_MISSING_QUEUE_TYPE": "quorum"}
    assert "406" in told("RabbitMQ", quorum | TEN_LEVELS, "refused")
    assert told("RabbitMQ", quorum, "refused") == "nothing was refused"
