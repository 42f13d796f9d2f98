"""Supervisor process. ``python -m example.demo``: the example, running; ``--once``: one report, end to end, then stop."""

from __future__ import annotations

import argparse
import contextlib
import html
import json
import os
import re
import signal
import sys
import time
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from example.servers import ROOT, Console, ServerFailed, Stack, end_by_exception, listen

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping
    from types import FrameType

    from websockets.sync.client import ClientConnection

USUAL_PORT = 8000
ONCE_WITHIN = 120  # seconds for all of --once
STEP_WITHIN = 60.0  # seconds for one answer or event


class DemoFailed(Exception):
    """A step of the demo did not do what it should."""

    def __init__(self, reason: str, *, server: str | None = None) -> None:
        super().__init__(reason)
        self.server = server


# --- a visitor ----------------------------------------------------------------------------------------------------


class Visitor:
    """A browser without a screen: one person's cookies, forms and WebSocket at the example."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._cookies = CookieJar()
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),  # the server is on this machine, whatever proxies there are
            urllib.request.HTTPCookieProcessor(self._cookies),
        )

    def get(self, path: str) -> str:
        """Return the page; raises urllib's HTTPError for a refusal."""
        with self._opener.open(f"{self.base_url}{path}", timeout=STEP_WITHIN) as answer:
            return str(answer.read().decode())

    def post(self, path: str, **fields: str) -> str:
        """Send a form as the front page would, with its CSRF token, and return the page it leads to."""
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.get("/"))
        if token is None:
            raise DemoFailed("The front page has no form with a CSRF token.")
        body = urllib.parse.urlencode({"csrfmiddlewaretoken": token[1], **fields}).encode()
        with self._opener.open(f"{self.base_url}{path}", body, timeout=STEP_WITHIN) as answer:
            return str(answer.read().decode())

    def sign_in(self, user: str) -> None:
        """Sign in as one of the demo users; raises `DemoFailed` if no session came of it."""
        self.post("/sign-in/", user=user)
        if "sessionid" not in {cookie.name for cookie in self._cookies}:
            raise DemoFailed(f"The site gave no session to {user}.")

    @contextlib.contextmanager
    def listen(self, *, origin: str | None = None) -> Iterator[ClientConnection]:
        """Hold the events' WebSocket open with this visitor's cookies; raises InvalidStatus when it is refused."""
        from websockets.sync.client import connect
        from websockets.typing import Origin

        connecting = connect(
            f"{self.base_url.replace('http', 'ws', 1)}/ws/tasks/",
            additional_headers={"Cookie": "; ".join(f"{cookie.name}={cookie.value}" for cookie in self._cookies)},
            origin=Origin(origin or self.base_url),
            proxy=None,
            open_timeout=STEP_WITHIN,
        )
        with connecting as connection:
            yield connection


def next_message(
    connection: ClientConnection, stack: Stack, *, within: float = STEP_WITHIN, **wanted: str
) -> dict[str, Any]:
    """Return the next message whose fields are the wanted ones, passing over others.

    Raises TimeoutError if none comes, and `ServerFailed` as soon as one of the servers has ended.
    """
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        stack.check()
        with contextlib.suppress(TimeoutError):  # of this look only; the deadline above is the real one
            message: dict[str, Any] = json.loads(connection.recv(timeout=1))
            if all(message.get(field) == value for field, value in wanted.items()):
                return message
    raise TimeoutError(f"no message with {wanted} within {within:.0f} s")


def next_of_report(connection: ClientConnection, stack: Stack) -> dict[str, Any]:
    """Return the next event of a report; digests come by the clock and may come first."""
    while True:
        event = next_message(connection, stack, type="task.event")
        if event["event"].startswith("report."):
            return event


# --- --once -------------------------------------------------------------------------------------------------------


def tell(line: str) -> None:
    """Print a line at once, also into a pipe."""
    print(line, flush=True)


class Clock:
    """Prints what was done and when, counted from its making."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def tell(self, line: str) -> None:
        """Print one step with its time."""
        tell(f"{time.monotonic() - self._start:5.1f} s  {line}")

    @contextlib.contextmanager
    def step(self, done: str, *, served_by: str) -> Iterator[None]:
        """Tell of the block when it is done; raise `DemoFailed` naming it and its server when it is not."""
        try:
            yield
        except ServerFailed:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise DemoFailed(f'not done: "{done}" ({reason})', server=served_by) from error
        self.tell(done)


def report_end_to_end(stack: Stack, clock: Clock) -> dict[str, Any]:
    """Ask for a report as ada and return its event, once the report it announces was downloaded."""
    visitor = Visitor(stack.base_url)
    with clock.step("signed in as ada", served_by="web"):
        visitor.sign_in("ada")
    with contextlib.ExitStack() as sockets:
        with clock.step("listening on /ws/tasks/ (task.ready)", served_by="web"):
            connection = sockets.enter_context(visitor.listen())
            next_message(connection, stack, type="task.ready")
        with clock.step("asked for a report of the sample orders", served_by="web"):
            visitor.post("/reports/", sample="1")
        with clock.step("received report.ready", served_by="worker"):
            event = next_of_report(connection, stack)
            check_event(event)
    with clock.step("downloaded the report", served_by="web"):
        check_report(visitor.get(event["data"]["payload"]["download_url"]), event["data"]["payload"]["title"])
    return event


def check_event(event: Mapping[str, Any]) -> None:
    """Raise `DemoFailed` unless the event is report.ready."""
    if event["event"] != "report.ready":
        raise DemoFailed(f"{event['event']} came instead: {event['data']['payload']}")


def check_report(page: str, title: str) -> None:
    """Raise `DemoFailed` unless the page is a report of this title."""
    if "<table" not in page or html.escape(title) not in page:
        raise DemoFailed(f"What was downloaded is no report of {title!r}; it starts with {page[:80]!r}.")


def run_once() -> None:
    """Run everything in a private directory, let one report be built, stop everything; raises what went wrong."""
    clock = Clock()
    give_up_after(ONCE_WITHIN)
    with Stack(announce=clock.tell) as stack:
        clock.tell(f"servers ready: {', '.join(stack.children)}")
        try:
            event = report_end_to_end(stack, clock)
        except DemoFailed as failure:
            show_last_lines(stack, failure.server)
            raise
    clock.tell("stopped everything")
    tell(json.dumps(event))


def show_last_lines(stack: Stack, server: str | None) -> None:
    """Print the end of what a server wrote."""
    if server in stack.children:
        print(stack.children[server].last_lines(), file=sys.stderr)


def give_up_after(seconds: int) -> None:
    """Raise `DemoFailed` in the main thread after so many seconds, wherever it is then."""

    def give_up(number: int, frame: FrameType | None) -> None:
        raise DemoFailed(f"not done after {seconds} s")

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)


# --- the demo -----------------------------------------------------------------------------------------------------


def run_until_stopped() -> None:
    """Run everything on the example's own database until Ctrl-C; raises `ServerFailed` if a server ends before."""
    var_dir = Path(os.environ.get("VAR_DIR") or ROOT / "example" / "var").resolve()
    listener = bind(os.environ)
    console = Console(sys.stdout)
    with Stack(var_dir=var_dir, listener=listener, console=console, announce=tell) as stack:
        tell(f"\n  The example is at {stack.base_url}/   (Ctrl-C stops it)\n")
        while True:
            stack.check()
            time.sleep(0.5)


def bind(environ: Mapping[str, str]) -> socket.socket:
    """Return the web server's socket: on `PORT` where that is set, else on 8000 or, if that is taken, a free port."""
    if port := environ.get("PORT"):
        try:
            return listen(int(port))
        except (ValueError, OverflowError, OSError) as error:
            raise DemoFailed(f"Cannot listen on PORT={port}: {error}. Set another, or none.") from error
    try:
        return listen(USUAL_PORT)
    except OSError:
        return listen()


def main() -> int:
    """Run the demo and return the exit code."""
    parser = argparse.ArgumentParser(prog="./run demo", description="The example, running on this machine.")
    parser.add_argument("--once", action="store_true", help="build one report, headless, and stop")
    once = parser.parse_args().once
    end_by_exception()
    try:
        run_once() if once else run_until_stopped()
    except KeyboardInterrupt:
        return 130 if once else 0
    except BrokenPipeError:
        # Nobody reads any more (`./run demo | head`); Python must not try to write once more as it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ServerFailed as failure:
        if failure.child:
            print(failure.child.last_lines(), file=sys.stderr)
        print(f"demo: {failure}", file=sys.stderr)
        return 1
    except DemoFailed as failure:
        print(f"demo: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
