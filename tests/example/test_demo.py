"""Both. Holds the demo to what it says when a step goes wrong; integration/ runs it as a whole."""

from __future__ import annotations

import re

import pytest

from example import demo, servers
from example.demo import Clock, DemoFailed
from example.servers import ServerFailed


def test_a_step_that_fails_is_named_with_its_reason_and_its_server(capsys: pytest.CaptureFixture[str]) -> None:
    step = Clock().step("signed in", served_by="web")
    with pytest.raises(DemoFailed, match=r'not done: "signed in" \(OSError: refused\)') as failed, step:
        raise OSError("refused")
    assert failed.value.server == "web"
    assert capsys.readouterr().out == ""


def test_a_server_that_ended_is_the_reason_and_not_the_step_that_met_it() -> None:
    with pytest.raises(ServerFailed, match="worker ended"), Clock().step("received", served_by="worker"):
        raise ServerFailed("worker ended")


def test_a_step_that_is_done_is_told_with_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    with Clock().step("signed in as ada", served_by="web"):
        pass
    assert re.fullmatch(r" +0\.\d s  signed in as ada\n", capsys.readouterr().out)


def test_a_report_that_failed_is_not_taken_for_one_that_is_ready() -> None:
    with pytest.raises(DemoFailed, match=r"report\.failed came instead: .*no orders"):
        demo.check_event({"event": "report.failed", "data": {"payload": {"reason": "no orders"}}})


@pytest.mark.parametrize("page", ["", "<table>Other</table>", "<h1>Orders &amp; sums</h1>"])
def test_a_page_that_is_no_report_is_refused(page: str) -> None:
    with pytest.raises(DemoFailed, match="is no report of 'Orders & sums'"):
        demo.check_report(page, "Orders & sums")


def test_a_report_is_known_by_its_title_and_table() -> None:
    demo.check_report("<h1>Orders &amp; sums</h1><table></table>", "Orders & sums")


@pytest.mark.parametrize("port", ["http", "-1", "70000"])
def test_a_port_that_is_none_is_refused_with_its_value(port: str) -> None:
    with pytest.raises(DemoFailed, match=f"Cannot listen on PORT={port}: "):
        demo.bind({"PORT": port})


def test_a_port_that_is_asked_for_and_taken_is_refused() -> None:
    with servers.listen() as taken:
        port = taken.getsockname()[1]
        with pytest.raises(DemoFailed, match=f"Cannot listen on PORT={port}: .*in use"):
            demo.bind({"PORT": str(port)})


def test_without_a_port_a_taken_usual_one_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with servers.listen() as taken:
        monkeypatch.setattr(demo, "USUAL_PORT", taken.getsockname()[1])
        with demo.bind({}) as other:
            assert other.getsockname()[1] != taken.getsockname()[1]
