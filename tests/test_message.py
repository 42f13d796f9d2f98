"""What of a record travels with its message: facts for the worker, as JSON can carry them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasks_celery.message import HEADER, facts_of, read_facts
from tests.stores.making import a_record


def test_the_facts_are_json_and_tell_nothing_of_the_arguments() -> None:
    facts = facts_of(a_record(args=["secret"], kwargs={"b": "secret"}, run_after=datetime(2030, 1, 1, tzinfo=UTC)))
    assert json.loads(json.dumps(facts)) == facts
    assert "secret" not in json.dumps(facts)


def test_the_facts_say_what_the_worker_needs_to_make_a_lost_record_again() -> None:
    due = datetime(2030, 1, 1, tzinfo=UTC)
    facts = facts_of(a_record(queue_name="default", run_after=due, priority=-100, context={"user": "7"}))
    assert facts == {
        "alias": "default",
        "path": "shop.tasks.add",
        "queue": "default",
        "priority": -100,
        "run_after": "2030-01-01T00:00:00+00:00",
        "enqueued_at": "2026-03-01T12:00:00.123456+00:00",
        "context": {"user": "7"},
    }


@pytest.mark.parametrize("headers", [None, {}, {HEADER: None}, {HEADER: "text"}, {HEADER: ["list"]}, {"other": {}}])
def test_a_message_of_others_has_no_facts(headers: dict[str, Any] | None) -> None:
    assert read_facts(headers) == {}


def test_facts_come_back_from_the_headers() -> None:
    facts = facts_of(
        a_record(run_after=datetime(2030, 1, 1, tzinfo=UTC) + timedelta(microseconds=1), context={"user": "7"})
    )
    assert read_facts({HEADER: json.loads(json.dumps(facts)), "other": 1}) == facts
