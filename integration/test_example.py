"""Test process. The example as its users, and as those who run it, meet it: real Redis, worker, beat and daphne."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from example.demo import Visitor, next_message, next_of_report
from example.servers import ROOT, Stack
from integration.conftest import DEADLINE, eventually, require_beat

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def ada(stack: Stack) -> Visitor:
    visitor = Visitor(stack.base_url)
    visitor.sign_in("ada")
    return visitor


@pytest.fixture
def grace(stack: Stack) -> Visitor:
    visitor = Visitor(stack.base_url)
    visitor.sign_in("grace")
    return visitor


@contextmanager
def listening(visitor: Visitor, stack: Stack) -> Iterator[ClientConnection]:
    """Hold a WebSocket open that has joined: what is announced from then on reaches it."""
    with visitor.listen() as connection:
        next_message(connection, stack, type="task.ready")
        yield connection


def event_of(connection: ClientConnection, stack: Stack, event: str) -> dict[str, Any]:
    data: dict[str, Any] = next_message(connection, stack, type="task.event", event=event)["data"]
    return data


@contextmanager
def beat_paused(stack: Stack) -> Iterator[None]:
    """Hold beat back, where there is one: else a digest comes every few seconds."""
    beat = stack.children.get("beat")
    if beat is None:
        yield
        return
    os.kill(beat.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(beat.process.pid, signal.SIGCONT)


# --- who is let in ------------------------------------------------------------------------------------------------


def test_an_anonymous_socket_is_accepted_and_then_closed_with_4401(stack: Stack) -> None:
    with Visitor(stack.base_url).listen() as connection:
        with pytest.raises(ConnectionClosed):
            connection.recv(timeout=DEADLINE)
        assert connection.close_code == 4401


def test_another_origin_is_refused(ada: Visitor) -> None:
    with pytest.raises(InvalidStatus) as refused, ada.listen(origin="https://evil.example"):
        pass
    assert refused.value.response.status_code == 403


def test_a_report_is_its_owners_alone(ada: Visitor, grace: Visitor, stack: Stack) -> None:
    with listening(ada, stack) as connection:
        ada.post("/reports/", sample="1")
        url = event_of(connection, stack, "report.ready")["payload"]["download_url"]
    assert "<table" in ada.get(url)
    with pytest.raises(urllib.error.HTTPError, match="404") as refused:
        grace.get(url)
    refused.value.close()


# --- what is told -------------------------------------------------------------------------------------------------


def test_two_users_each_hear_of_their_own_reports_only(ada: Visitor, grace: Visitor, stack: Stack) -> None:
    with listening(ada, stack) as to_ada, listening(grace, stack) as to_grace:
        for _ in range(2):
            ada.post("/reports/", sample="1")
            grace.post("/reports/", sample="1")
        # Each waits for two; were a message of the other's among them, the two sets would meet.
        for_ada = {event_of(to_ada, stack, "report.ready")["payload"]["report"] for _ in range(2)}
        for_grace = {event_of(to_grace, stack, "report.ready")["payload"]["report"] for _ in range(2)}
    assert len(for_ada) == len(for_grace) == 2
    assert for_ada.isdisjoint(for_grace)
    for visitor, reports in ((ada, for_ada), (grace, for_grace)):
        assert all("<table" in visitor.get(f"/reports/{pk}/download/") for pk in reports)


def test_an_event_tells_the_task_its_times_and_the_payload_and_nothing_else(ada: Visitor, stack: Stack) -> None:
    with listening(ada, stack) as connection:
        ada.post("/reports/", sample="1")
        message = next_of_report(connection, stack)
    assert set(message) == {"type", "seq", "epoch", "event", "data"}
    data = message["data"]
    assert set(data) == {"id", "name", "status", "enqueued_at", "started_at", "finished_at", "payload"}
    assert data["name"] == "example.reports.tasks.build_report"
    assert data["status"] == "SUCCESSFUL"
    assert data["enqueued_at"] <= data["started_at"] <= data["finished_at"]
    assert set(data["payload"]) == {"report", "title", "download_url"}


def test_a_report_that_fails_is_told_with_its_reason(ada: Visitor, stack: Stack) -> None:
    with listening(ada, stack) as connection:
        ada.post("/reports/", fail="1")
        data = event_of(connection, stack, "report.failed")
    assert data["status"] == "FAILED"
    assert data["payload"]["reason"]
    assert "Traceback" not in json.dumps(data)
    assert data["payload"]["reason"] in ada.get("/").replace("&#x27;", "'").replace("&quot;", '"')


def test_a_socket_idle_for_longer_than_redis_pys_read_timeout_still_hears(ada: Visitor, stack: Stack) -> None:
    with beat_paused(stack), listening(ada, stack) as connection:
        with suppress(TimeoutError):  # 5 s is what kills it where socket_timeout is left as it is
            while True:  # a digest may have been on its way
                connection.recv(timeout=8)
        ada.post("/reports/", sample="1")
        assert event_of(connection, stack, "report.ready")["payload"]["report"]


# --- what those who run it see ------------------------------------------------------------------------------------


def test_inspect_registered_lists_the_django_tasks_by_name(stack: Stack) -> None:
    command = [sys.executable, "-m", "celery", "-A", "example", "inspect", "registered", "--json", "--timeout", "3"]

    def registered() -> None:
        told = subprocess.run(command, cwd=ROOT, env=stack.env, stdout=subprocess.PIPE, timeout=DEADLINE, check=False)
        assert told.returncode == 0, "no worker answered"
        (names,) = json.loads(told.stdout).values()
        assert {"example.reports.tasks.build_report", "example.reports.tasks.nightly_digest"} <= set(names)

    eventually(registered)


def test_the_workers_banner_lists_the_django_tasks_and_their_queues(stack: Stack) -> None:
    lines = [line.strip() for line in stack.children["worker"].lines]
    assert ". example.reports.tasks.build_report" in lines
    assert ". example.reports.tasks.nightly_digest" in lines
    assert any(line.startswith(".> reports ") for line in lines)


def test_beat_runs_the_digest(stack: Stack) -> None:
    require_beat()

    def digested() -> None:
        done = [line for line in stack.children["worker"].lines if "nightly_digest[" in line and "succeeded" in line]
        assert len(done) >= 2

    eventually(digested)


def test_the_digest_is_told_to_each_who_has_one_and_says_no_more(ada: Visitor, grace: Visitor, stack: Stack) -> None:
    require_beat()
    for visitor in (ada, grace):
        with listening(visitor, stack) as connection:
            visitor.post("/reports/", sample="1")
            event_of(connection, stack, "report.ready")
    with listening(ada, stack) as to_ada, listening(grace, stack) as to_grace:
        told = [event_of(connection, stack, "digest.ready") for connection in (to_ada, to_grace)]
    for data in told:
        assert data["name"] == "example.reports.tasks.nightly_digest"
        assert data["status"] == "SUCCESSFUL"
        assert data["payload"] is None


def test_a_reminder_is_told_at_its_time_to_who_asked(ada: Visitor, grace: Visitor, stack: Stack) -> None:
    require_beat()
    with listening(ada, stack) as to_ada, listening(grace, stack) as to_grace:
        at = datetime.now(UTC) + timedelta(seconds=6)
        ada.post("/reminders/", text="Call the bank", at=at.isoformat())
        grace.post("/reminders/", text="Of Grace", at=(at + timedelta(seconds=2)).isoformat())
        told, told_after = event_of(to_ada, stack, "reminder.due"), event_of(to_grace, stack, "reminder.due")
    assert (told["payload"]["text"], told_after["payload"]["text"]) == ("Call the bank", "Of Grace")
    assert timedelta(0) <= datetime.fromisoformat(told["enqueued_at"]) - at < timedelta(seconds=5)
    for visitor, data in ((ada, told), (grace, told_after)):
        visitor.post(f"/reminders/{data['payload']['reminder']}/remove/")
        assert data["payload"]["text"] not in visitor.get("/")


def test_anothers_reminder_cannot_be_taken_back(ada: Visitor, grace: Visitor) -> None:
    require_beat()
    page = ada.post("/reminders/", text="Mine", at=(datetime.now(UTC) + timedelta(days=1)).isoformat())
    (path,) = re.findall(r'action="(/reminders/\d+/remove/)"', page)
    with pytest.raises(urllib.error.HTTPError, match="404") as refused:
        grace.post(path)
    refused.value.close()
    assert "Mine" in ada.get("/")
    assert "Mine" not in ada.post(path)


# Another process, which shares with the web process and the worker nothing but the settings.
READ_RESULT = """
import json, sys, django
django.setup()
from tasks_celery.compat import task_backends
result = task_backends["default"].get_result(sys.argv[1])
print(json.dumps({
    "status": result.status,
    "value": result.return_value,
    "workers": result.worker_ids,
    "times": [result.enqueued_at, result.started_at, result.finished_at],
}, default=lambda time: time.isoformat()))
"""


def test_a_result_is_read_from_another_process(ada: Visitor, stack: Stack) -> None:
    with listening(ada, stack) as connection:
        ada.post("/reports/", sample="1")
        data = event_of(connection, stack, "report.ready")
    told = subprocess.run(
        [sys.executable, "-c", READ_RESULT, data["id"]],
        cwd=ROOT, env=stack.env, stdout=subprocess.PIPE, check=True, timeout=DEADLINE,
    )  # fmt: skip
    result = json.loads(told.stdout)
    assert result["status"] == "SUCCESSFUL"
    assert result["value"]["orders"] > 0
    assert len(result["workers"]) == 1
    assert result["times"] == sorted(result["times"])
    assert None not in result["times"]
