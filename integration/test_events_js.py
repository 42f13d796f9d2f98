"""Test process. events.js in a real Chromium, against a WebSocket server that says what each test wants."""

from __future__ import annotations

import gzip
import json
import queue
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from socket import SHUT_RDWR
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.sync.server import ServerConnection, serve

from integration.conftest import DEADLINE, eventually

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page

STATIC = Path(__file__).parent.parent / "tasks_celery/channels/static/tasks_celery"

MODULES = ("events.js", "tabs.js", "element.js")
STREAM = "/tasks/events/"

# Timers are recorded, and run at once or (with `held`) when the test says so, intervals by `tick`; the clock that
# measures stability is pushed forward by `skipped`. So no test waits for a backoff, and each sees the delay that was
# asked for. With `?fast`, all run by themselves, ten times as fast.
PAGE = """
<!doctype html><title>A page</title>
<script>
  window.delays = []; window.held = false; window.skipped = 0; window.intervals = new Map();
  const timers = new Map(), later = window.setTimeout, always = window.setInterval, now = performance.now.bind(performance);
  const forget = window.clearTimeout;
  window.setTimeout = (call, delay) => {
    timers.set(delays.push(delay), call);
    if (!held) later(elapse, 0);
    return delays.length;
  };
  window.clearTimeout = (timer) => timers.delete(timer);
  window.elapse = () => { for (const [timer, call] of timers) { timers.delete(timer); call(); } };
  window.setInterval = (call) => intervals.set(intervals.size + 1, call).size;
  window.clearInterval = (interval) => intervals.delete(interval);
  window.tick = () => intervals.forEach((call) => call());
  performance.now = () => now() + skipped;
  if (location.search === "?fast") {
    window.setTimeout = (call, delay) => later(call, delay / 10);
    window.setInterval = (call, delay) => always(call, delay / 10);
    performance.now = () => now() * 10;
    [window.clearTimeout, window.clearInterval] = [forget, forget]; // either ends both kinds
  }
  window.opened = 0; window.sockets = [];
  window.WebSocket = class extends WebSocket { constructor(url) { super(url); opened++; sockets.push(this); } };
  window.isConnected = () => sockets.some((socket) => socket.readyState === 1);
  window.heard = []; window.seqs = []; window.statuses = []; window.readies = 0; window.resets = [];
  window.start = (url, options) => {
    window.client = connect(url, options).on("report.ready", (event) => { heard.push(event.data.id); seqs.push(event.seq); });
    client.addEventListener("status", () => statuses.push(client.status));
    client.addEventListener("ready", () => readies++);
    client.addEventListener("reset", (event) => resets.push([event.detail.epoch, event.detail.seq]));
  };
</script>
<script type="module">import { connect } from "/events.js"; window.connect = connect;</script>
"""


class FakeServer:
    """Serves the page and the module, and hands each WebSocket to the test that waits for it."""

    def __init__(self) -> None:
        self._sockets: queue.Queue[ServerConnection] = queue.Queue()
        #: What the stream of Server-Sent Events answers, one text after the other, and the addresses it was asked at.
        self.streams: queue.Queue[list[Any]] = queue.Queue()
        self.streamed: list[str] = []
        #: A page has asked for what is not answered, until it is let go.
        self.hanging, self.unhang = threading.Event(), threading.Event()
        #: Whether each WebSocket is refused, as by a proxy that knows none.
        self.refuses = False
        self._over = threading.Event()
        self._server = serve(self._accept, "127.0.0.1", 0, process_request=self._answer_http)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.origin = f"http://127.0.0.1:{self._server.socket.getsockname()[1]}"

    def next_socket(self) -> ServerConnection:
        """Returns the next connection that a page makes."""
        return self._sockets.get(timeout=DEADLINE)

    def stop(self) -> None:
        """Ends every connection and the thread."""
        self._over.set()
        self._server.shutdown()
        self._thread.join()

    def _accept(self, socket: ServerConnection) -> None:
        self._sockets.put(socket)
        self._over.wait()  # the test holds it meanwhile

    def _answer_http(self, connection: ServerConnection, request: Request) -> Response | None:
        if "Upgrade" in request.headers:
            return connection.respond(HTTPStatus.FORBIDDEN, "") if self.refuses else None
        path = urlsplit(request.path).path
        if path == "/hang/":
            self.hanging.set()
            self.unhang.wait(DEADLINE)
        files = {"/": ("text/html", PAGE)}
        files |= {f"/{name}": ("text/javascript", (STATIC / name).read_text()) for name in MODULES}
        if path == STREAM:
            self.streamed.append(request.path)
            with suppress(queue.Empty):
                texts = "".join(f"data: {json.dumps(text)}\n\n" for text in self.streams.get_nowait())
                files[path] = ("text/event-stream", texts)
        if path not in files:
            return connection.respond(HTTPStatus.NO_CONTENT, "")
        kind, body = files[path]
        response = connection.respond(HTTPStatus.OK, body)
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = f"{kind}; charset=utf-8"
        return response


class KeepingServer(FakeServer):
    """Keeps events of one user as the real server does: replays what is after a position, says ready, then goes on live.

    `user` is the tag of who is signed in; `is_away` makes it answer nobody.
    """

    def __init__(self) -> None:
        self.user = "ada"
        self.epoch = "e1"
        self.top = 0
        self.oldest = 1
        self.live: set[ServerConnection] = set()
        self.served: list[str | None] = []
        self.refusal: int | None = None
        self._lock = threading.RLock()
        super().__init__()

    def happen(self, count: int = 1) -> None:
        """Lets events happen, which every page hears that is connected."""
        with self._lock:
            for _ in range(count):
                self.top += 1
                for socket in list(self.live):
                    self._send(socket, self.top)

    def begin_afresh(self, epoch: str, top: int) -> None:
        """Loses all events; who is connected is told."""
        with self._lock:
            self.epoch, self.top, self.oldest = epoch, top, top + 1
            for socket in list(self.live):
                reset(socket, epoch=epoch, seq=top)
                ready(socket, epoch=epoch, seq=top, user=self.user)

    def drop(self, code: int | None) -> None:
        """Closes every connection, without a word where there is no code."""
        with self._lock:
            dropped, self.live = self.live, set()
        for socket in dropped:
            if code is not None:
                socket.close(code)
                continue
            with suppress(OSError):  # the page was quicker
                socket.socket.shutdown(SHUT_RDWR)

    def _accept(self, socket: ServerConnection) -> None:
        if self.refusal:
            socket.close(self.refusal)
            return
        with self._lock:
            self._replay(socket)
            ready(socket, epoch=self.epoch, seq=self.top, user=self.user)
            self.live.add(socket)
        with suppress(ConnectionClosed):
            while True:
                socket.recv()
        with self._lock:
            self.live.discard(socket)

    def _replay(self, socket: ServerConnection) -> None:
        self.served.append(since(socket))
        epoch, _, seq = (since(socket) or f"{self.epoch}:{self.top}").partition(":")
        if epoch != self.epoch or not self.oldest - 1 <= int(seq) <= self.top:
            reset(socket, epoch=self.epoch, seq=self.top)
        else:
            for number in range(int(seq) + 1, self.top + 1):
                self._send(socket, number)

    def _send(self, socket: ServerConnection, seq: int) -> None:
        with suppress(ConnectionClosed):
            send(socket, f"{self.user}{seq}", epoch=self.epoch, seq=seq)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    server = FakeServer()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    # One for all: each server has an origin of its own, and pages of two origins share nothing.
    with browser.new_context() as context:
        yield context


@pytest.fixture
def keeping() -> Iterator[KeepingServer]:
    server = KeepingServer()
    yield server
    server.stop()


@pytest.fixture
def tabs(context: BrowserContext, keeping: KeepingServer) -> Iterator[Tabs]:
    tabs = Tabs(context, keeping)
    yield tabs
    for page in tabs.pages:
        page.close()


@pytest.fixture(scope="module")
def lasting_page(context: BrowserContext) -> Page:
    return context.new_page()  # which takes longer than to load another page into it


@pytest.fixture
def page(lasting_page: Page, server: FakeServer) -> Iterator[Page]:
    lasting_page.goto(server.origin)
    yield lasting_page
    lasting_page.goto("about:blank")


@pytest.fixture
def warnings(page: Page) -> Iterator[list[str]]:
    """What the page warned of in its console."""
    texts: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "warning":
            texts.append(message.text)

    page.on("console", note)
    yield texts
    page.remove_listener("console", note)


@pytest.fixture
def reported(page: Page) -> Iterator[list[str]]:
    """The messages of the errors that nobody in the page caught."""
    messages: list[str] = []

    def note(error: Error) -> None:
        messages.append(error.message)

    page.on("pageerror", note)
    yield messages
    page.remove_listener("pageerror", note)


class Tabs:
    """The tabs of one browser, each with the position at which it was opened."""

    def __init__(self, context: BrowserContext, server: KeepingServer) -> None:
        self._context, self._server = context, server
        self._first: dict[Page, int] = {}

    @property
    def pages(self) -> list[Page]:
        return list(self._first)

    def open(self, count: int = 1, **options: Any) -> list[Page]:
        """Opens tabs that connect at once, rendered where the server stands."""
        opened = []
        for _ in range(count):
            page = self._context.new_page()
            page.goto(f"{self._server.origin}/?fast")
            self._first[page] = self._server.top
            said = {"since": f"{self._server.epoch}:{self._server.top}"} | options
            page.evaluate("(options) => start('/ws/tasks/', options)", said)
            opened.append(page)
        return opened

    def settle(self) -> Page:
        """Waits until one tab has the only connection, and all are live; returns that tab."""

        def check() -> Page:
            connected = [page for page in self.pages if page.evaluate("isConnected()")]
            assert len(connected) == 1
            assert [page.evaluate("client.status") for page in self.pages] == ["live"] * len(self.pages)
            return connected[0]

        return eventually(check)

    def close(self, page: Page) -> None:
        """Closes a tab as its user does."""
        del self._first[page]
        page.close()

    def have_all_once_in_order(self) -> None:
        """Waits until each tab has every event since it was opened, once and in order; fails with what it has."""
        for page, first in self._first.items():
            becomes(page, "seqs", list(range(first + 1, self._server.top + 1)))


def start(page: Page, server: FakeServer, options: dict[str, Any] | None = None) -> ServerConnection:
    """Connects the page; returns the server's end."""
    page.evaluate("(options) => start('/ws/tasks/', options)", options or {})
    return server.next_socket()


def ready(socket: ServerConnection, **more: Any) -> None:
    socket.send(json.dumps({"type": "task.ready", "seq": None, "epoch": None} | more))


def reset(socket: ServerConnection, **position: Any) -> None:
    socket.send(json.dumps({"type": "task.reset"} | position))


def send(socket: ServerConnection, id: str, event: str = "report.ready", **more: Any) -> None:
    data = {"id": id, "status": "SUCCESSFUL", "payload": {"report": 7}}
    socket.send(json.dumps({"type": "task.event", "seq": None, "epoch": None, "event": event, "data": data} | more))


def becomes(page: Page, expression: str, expected: object) -> None:
    """Evaluates in the page until it is as expected; fails with what it was at the deadline."""

    def check() -> None:
        assert page.evaluate(expression) == expected

    eventually(check)


def type_error(page: Page, expression: str) -> str:
    """Evaluates what must throw a TypeError; returns its message."""
    from playwright.sync_api import Error

    with pytest.raises(Error, match="TypeError: ") as caught:
        page.evaluate(expression)
    return caught.value.message


@pytest.mark.parametrize(
    "url", ['""', '"not a url"', '"ws/tasks/"', '"http://["', '"ftp://a/"', "null", "undefined", "7", "{}"]
)
def test_what_is_no_url_is_a_type_error(page: Page, url: str) -> None:
    message = type_error(page, f"connect({url})")
    assert f'needs a path such as "/ws/tasks/" or a wss: URL, not {url}' in message
    assert page.evaluate("opened") == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("{sinc: 7}", 'has the options since, token, fallback and shared, not {"sinc":7}'),
        ('{since: "e7"}', 'needs since: "epoch:seq" or {epoch, seq}, not "e7"'),
        ('{since: "e:7.5"}', 'not "e:7.5"'),
        ("{since: {epoch: 'e', seq: '7'}}", 'not {"epoch":"e","seq":"7"}'),
    ],
)
def test_unknown_options_are_a_type_error(page: Page, options: str, message: str) -> None:
    assert message in type_error(page, f"connect('/ws/tasks/', {options})")


@pytest.mark.parametrize("name", ['""', "undefined", "null", "7", '["a"]'])
@pytest.mark.parametrize("method", ["on", "off"])
def test_a_name_that_is_none_is_a_type_error(page: Page, server: FakeServer, method: str, name: str) -> None:
    start(page, server)
    message = type_error(page, f"client.{method}({name}, () => {{}})")
    assert f'An event name is a string such as "report.ready", not {name}' in message


@pytest.mark.parametrize("handler", ["undefined", "null", '"show"', "{}"])
def test_a_handler_that_is_no_function_is_a_type_error(page: Page, server: FakeServer, handler: str) -> None:
    start(page, server)
    message = type_error(page, f"client.on('report.ready', {handler})")
    assert f'The handler of "report.ready" must be a function, not {handler}' in message


@pytest.mark.parametrize(
    ("page_url", "given", "opened"),
    [
        ("http://page.test/a/", "/ws/tasks/?a=1#b", "ws://page.test/ws/tasks/?a=1&acks=1"),
        ("https://page.test/a/", "/ws/tasks/", "wss://page.test/ws/tasks/?acks=1"),
        ("https://page.test/a/", "//other.test/ws/", "wss://other.test/ws/?acks=1"),
        ("https://page.test/a/", "https://other.test/ws/", "wss://other.test/ws/?acks=1"),
        ("http://page.test/a/", "wss://other.test/ws/", "wss://other.test/ws/?acks=1"),
    ],
)
def test_a_path_takes_the_pages_protocol(browser: Browser, page_url: str, given: str, opened: str) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.route(
            "**/events.js",
            lambda route: route.fulfill(path=STATIC / "events.js", content_type="text/javascript"),
        )
        page.route(page_url, lambda route: route.fulfill(body=PAGE, content_type="text/html"))
        page.goto(page_url)
        page.evaluate("() => { window.WebSocket = class { constructor(url) { window.address = String(url); } }; }")
        page.evaluate("(url) => { connect(url); }", given)
        assert page.evaluate("address") == opened


def test_handlers_get_the_whole_message(page: Page, server: FakeServer) -> None:
    socket = start(page, server)
    page.evaluate("client.on('report.failed', (event) => { window.got = event; })")
    send(socket, "a", event="report.failed")
    becomes(page, "window.got?.event", "report.failed")
    assert page.evaluate("[got.type, got.data.id, got.data.payload]") == ["task.event", "a", {"report": 7}]


def test_only_the_handlers_of_that_name_are_called(page: Page, server: FakeServer) -> None:
    socket = start(page, server)
    send(socket, "a", event="report.failed")
    send(socket, "b", event="status")  # the client's own news have no name that an event could take
    send(socket, "c")
    becomes(page, "heard", ["c"])
    assert page.evaluate("statuses") == []


def test_on_and_off_chain_and_a_handler_is_held_once(page: Page, server: FakeServer) -> None:
    socket = start(page, server)
    page.evaluate("() => { window.extra = []; window.note = (event) => extra.push(event.data.id); }")
    assert page.evaluate("client.on('a', note).on('a', note).off('b', note).off('a', Object) === client")
    send(socket, "1", event="a")
    becomes(page, "extra", ["1"])
    page.evaluate("client.off('a', note)")
    send(socket, "2", event="a")
    send(socket, "3")
    becomes(page, "heard", ["3"])
    assert page.evaluate("extra") == ["1"]


def test_a_handler_that_an_event_adds_hears_the_next_one(page: Page, server: FakeServer) -> None:
    socket = start(page, server)
    page.evaluate("() => { client.on('a', () => client.on('a', (event) => heard.push(event.data.id))); }")
    send(socket, "1", event="a")
    send(socket, "2")
    send(socket, "3", event="a")
    becomes(page, "heard", ["2", "3"])


def test_unknown_types_are_ignored(page: Page, server: FakeServer, warnings: list[str]) -> None:
    socket = start(page, server)
    for text in ('{"type": "task.progress", "event": "report.ready"}', "null", "7", '"text"', "[]", "{}"):
        socket.send(text)
    send(socket, "a")
    becomes(page, "heard", ["a"])
    assert warnings == []


def test_malformed_json_is_ignored_with_one_warning(page: Page, server: FakeServer, warnings: list[str]) -> None:
    socket = start(page, server)
    for text in ('{"type": ', "nonsense", b"bytes"):
        socket.send(text)
    send(socket, "a")
    becomes(page, "heard", ["a"])
    assert warnings == ['tasks_celery: messages that are no JSON are ignored, such as {"type": ']


def test_a_handler_that_throws_is_reported_and_stops_nothing(
    page: Page, server: FakeServer, reported: list[str]
) -> None:
    socket = start(page, server)
    page.evaluate("() => { client.on('a', () => { throw new Error('my bug') }).on('a', (e) => heard.push(e.data.id)) }")
    send(socket, "1", event="a")
    send(socket, "2", event="a")
    send(socket, "3")
    becomes(page, "heard", ["1", "2", "3"])
    assert reported == ["my bug", "my bug"]


def test_the_status_is_live_once_the_server_is_ready_and_ready_comes_again(page: Page, server: FakeServer) -> None:
    socket = start(page, server)
    assert page.evaluate("[client.status, client.code]") == ["connecting", None]
    ready(socket)
    becomes(page, "client.status", "live")
    socket.close(1012)
    socket = server.next_socket()
    becomes(page, "client.status", "connecting")
    ready(socket)
    becomes(page, "readies", 2)
    assert page.evaluate("statuses") == ["live", "waiting", "connecting", "live"]
    assert page.evaluate("client.code") == 1012


@pytest.mark.parametrize("random", [0, 0.5, 0.999])
def test_the_wait_before_a_try_is_random_within_bounds_that_double(
    page: Page, server: FakeServer, random: float
) -> None:
    page.evaluate("(random) => { Math.random = () => random; }", random)
    socket = start(page, server)
    for _ in range(8):
        socket.close(1011)
        socket = server.next_socket()
    bounds = [500, 1000, 2000, 4000, 8000, 16000, 20000, 20000]
    assert page.evaluate("delays") == pytest.approx([random * bound for bound in bounds])


def test_a_server_that_cannot_be_reached_is_tried_again(page: Page, server: FakeServer) -> None:
    page.evaluate("(url) => start(url)", "ws://127.0.0.1:1/")
    becomes(page, "delays.length > 2", True)
    assert page.evaluate("client.code") == 1006


@pytest.mark.parametrize(("stable", "bound"), [(4_000, 2000), (5_000, 500)])
def test_the_backoff_starts_anew_after_five_stable_seconds(
    page: Page, server: FakeServer, stable: int, bound: int
) -> None:
    page.evaluate("() => { Math.random = () => 1; }")
    socket = start(page, server)
    for _ in range(2):
        socket.close(1011)
        socket = server.next_socket()
    ready(socket)
    becomes(page, "client.status", "live")
    page.evaluate("(time) => { skipped = time; }", stable)
    for _ in range(2):  # the second fails before it is live, and is no more stable for the one before it
        socket.close(1011)
        socket = server.next_socket()
    assert page.evaluate("delays") == [500, 1000, bound, 2 * bound]


@pytest.mark.parametrize("code", [4401, 4403])
def test_a_refusal_ends_it(page: Page, server: FakeServer, code: int) -> None:
    start(page, server).close(code)
    becomes(page, "client.status", "closed")
    page.evaluate("dispatchEvent(new Event('online'))")
    assert page.evaluate("[client.code, statuses, delays]") == [code, ["closed"], []]
    assert page.evaluate("opened") == 1


def test_close_ends_it(page: Page, server: FakeServer) -> None:
    socket = start(page, server)
    page.evaluate("client.close()")
    with pytest.raises(ConnectionClosed):
        socket.recv(timeout=DEADLINE)
    page.evaluate("client.close(); dispatchEvent(new Event('online'))")
    assert page.evaluate("[client.status, statuses, delays]") == ["closed", ["closed"], []]
    assert page.evaluate("opened") == 1


def test_close_while_waiting_ends_it(page: Page, server: FakeServer) -> None:
    page.evaluate("held = true")
    start(page, server).close(1011)
    becomes(page, "client.status", "waiting")
    page.evaluate("client.close(); dispatchEvent(new Event('online')); elapse()")
    assert page.evaluate("client.status") == "closed"
    assert page.evaluate("opened") == 1


WAKERS = {
    "online": "dispatchEvent(new Event('online'))",
    "visible": "document.dispatchEvent(new Event('visibilitychange'))",
    "restored": "dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))",
}


@pytest.mark.parametrize("waker", WAKERS.values(), ids=WAKERS)
def test_a_waiting_client_tries_at_once_when(page: Page, server: FakeServer, waker: str) -> None:
    page.evaluate("held = true")
    start(page, server).close(1011)
    becomes(page, "client.status", "waiting")
    page.evaluate(waker)
    ready(server.next_socket())
    becomes(page, "client.status", "live")
    page.evaluate("elapse()")
    assert page.evaluate("[client.status, opened]") == ["live", 2]


def test_a_live_client_stays_as_it_is_unless_the_page_was_in_the_cache(page: Page, server: FakeServer) -> None:
    ready(start(page, server))
    becomes(page, "client.status", "live")
    page.evaluate(WAKERS["online"])
    page.evaluate(WAKERS["visible"])
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: false }))")
    assert page.evaluate("client.status") == "live"
    page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    assert page.evaluate("[client.status, isConnected()]") == ["waiting", False]
    page.evaluate(WAKERS["restored"])
    ready(server.next_socket())
    becomes(page, "readies", 2)
    assert page.evaluate("opened") == 2


def test_a_page_that_is_hidden_waits_on(page: Page, server: FakeServer) -> None:
    page.evaluate("held = true; Object.defineProperty(document, 'hidden', { value: true })")
    start(page, server).close(1011)
    becomes(page, "client.status", "waiting")
    page.evaluate(WAKERS["visible"])
    assert page.evaluate("[client.status, opened]") == ["waiting", 1]


def test_a_new_connection_asks_for_what_came_since(page: Page, server: FakeServer) -> None:
    socket = start(page, server)
    assert since(socket) is None
    send(socket, "a", epoch="e1", seq=41)
    send(socket, "b", epoch="e1", seq=42)
    becomes(page, "heard", ["a", "b"])
    socket.close(1012)
    assert since(server.next_socket()) == "e1:42"


def test_the_page_may_say_where_it_stands(page: Page, server: FakeServer) -> None:
    socket = start(page, server, {"since": {"epoch": 3, "seq": 9}})
    assert since(socket) == "3:9"
    send(socket, "a", epoch=3, seq=9)
    send(socket, "b", epoch=3, seq=10)
    becomes(page, "heard", ["b"])


@pytest.mark.parametrize(("said", "asked"), [("e1:9", "e1:9"), ("", None), (None, None)])
def test_the_page_may_say_where_it_stands_as_it_was_rendered(
    page: Page, server: FakeServer, said: str | None, asked: str | None
) -> None:
    socket = start(page, server, {"since": said})
    assert since(socket) == asked
    send(socket, "a", epoch="e1", seq=9)
    send(socket, "b", epoch="e1", seq=10)
    becomes(page, "heard", ["b"] if asked else ["a", "b"])
    assert page.evaluate("client.position") == {"epoch": "e1", "seq": 10}


def test_a_reset_tells_the_page_and_moves_the_position_even_back(page: Page, server: FakeServer) -> None:
    socket = start(page, server, {"since": "e1:9"})
    reset(socket, epoch="e1", seq=4)
    ready(socket, epoch="e1", seq=4)
    send(socket, "a", epoch="e1", seq=5)
    becomes(page, "heard", ["a"])
    assert page.evaluate("[resets, readies]") == [[["e1", 4]], 1]
    reset(socket, epoch="e2", seq=0)
    send(socket, "b", epoch="e2", seq=1)
    becomes(page, "heard", ["a", "b"])
    socket.close(1012)
    assert since(server.next_socket()) == "e2:1"


def test_a_page_that_somebody_else_would_hear_is_closed(page: Page, server: FakeServer) -> None:
    socket = start(page, server)
    ready(socket, epoch="e1", seq=4, user="ada")
    socket.close(1012)
    socket = server.next_socket()
    ready(socket, epoch="e2", seq=9, user="bob")
    becomes(page, "[client.status, client.code]", ["closed", 4403])
    assert page.evaluate("readies") == 1


def test_a_server_that_tags_no_user_any_more_is_believed(page: Page, server: FakeServer) -> None:
    socket = start(page, server)
    ready(socket, epoch="e1", seq=4, user="ada")
    socket.close(1012)
    ready(server.next_socket(), epoch="e1", seq=4)
    becomes(page, "[client.status, readies]", ["live", 2])


def test_events_are_acknowledged_each_fifty_and_within_half_a_second(page: Page, server: FakeServer) -> None:
    page.evaluate("held = true")
    socket = start(page, server)
    for seq in range(1, 121):
        send(socket, str(seq), epoch="e1", seq=seq)
    assert said(socket) == {"seen": {"epoch": "e1", "seq": 50}}
    assert said(socket) == {"seen": {"epoch": "e1", "seq": 100}}
    becomes(page, "heard.length", 120)
    assert set(page.evaluate("delays")) == {500}
    page.evaluate("elapse()")
    assert said(socket) == {"seen": {"epoch": "e1", "seq": 120}}


def test_without_positions_nothing_is_acknowledged(page: Page, server: FakeServer) -> None:
    socket = start(page, server)
    for number in range(60):
        send(socket, str(number))
    becomes(page, "heard.length", 60)
    assert page.evaluate("delays") == []
    with pytest.raises(TimeoutError):
        socket.recv(timeout=0)


@pytest.mark.parametrize("token", ["'abc'", "() => 'abc'", "async () => 'abc'"])
def test_a_token_is_the_first_thing_said(page: Page, server: FakeServer, token: str) -> None:
    page.evaluate(f"start('/ws/tasks/', {{ token: {token}, since: 'e1:9' }})")
    socket = server.next_socket()
    assert query(socket) == {"since": ["e1:9"], "acks": ["1"], "auth": ["message"]}
    assert said(socket) == {"token": "abc"}


def test_each_connection_asks_for_a_token_of_its_own(page: Page, server: FakeServer) -> None:
    page.evaluate("() => { let count = 0; start('/ws/tasks/', { token: () => String(++count) }); }")
    for number in ("1", "2"):
        socket = server.next_socket()
        assert said(socket) == {"token": number}
        socket.close(1012)


def test_a_token_that_cannot_be_had_is_reported_and_asked_for_again(
    page: Page, server: FakeServer, reported: list[str]
) -> None:
    page.evaluate("""() => {
        let count = 0;
        start('/ws/tasks/', { token: async () => { if (!count++) throw new Error('no token'); return 'abc'; } });
    }""")
    server.next_socket()
    assert said(server.next_socket()) == {"token": "abc"}
    becomes(page, "client.status", "connecting")  # whatever was reported has arrived here, too
    assert reported == ["no token"]


def test_a_loop_hears_every_event_and_ends_as_the_client_closes(page: Page, server: FakeServer) -> None:
    socket = start(page, server)
    page.evaluate("""() => {
        window.looped = [];
        (async () => { for await (const event of client) looped.push(event.event + event.data.id); looped.push('end'); })();
    }""")
    send(socket, "1", event="a")
    send(socket, "2", event="b")
    becomes(page, "looped", ["a1", "b2"])
    send(socket, "3", event="a")
    send(socket, "4")
    becomes(page, "heard", ["4"])
    page.evaluate("client.close()")
    becomes(page, "looped", ["a1", "b2", "a3", "report.ready4", "end"])


def test_what_a_slow_loop_has_not_taken_waits_and_comes_even_after_the_close(page: Page, server: FakeServer) -> None:
    socket = start(page, server)
    page.evaluate("""() => {
        window.looped = []; window.gates = [];
        (async () => {
            for await (const event of client) {
                looped.push(event.data.id);
                await new Promise((open) => gates.push(open));
            }
            looped.push('end');
        })();
    }""")
    for number in "123":
        send(socket, number)
    becomes(page, "heard.length", 3)
    page.evaluate("client.close()")
    for count in (1, 2, 3):
        becomes(page, "[looped.length, gates.length]", [count, count])
        page.evaluate("gates.at(-1)()")
    becomes(page, "looped", ["1", "2", "3", "end"])


def test_a_loop_that_was_left_hears_no_more(page: Page, server: FakeServer) -> None:
    socket = start(page, server)
    page.evaluate("""() => {
        window.looped = [];
        (async () => { for await (const event of client) { looped.push(event.data.id); break; } looped.push('left'); })();
    }""")
    send(socket, "1")
    becomes(page, "looped", ["1", "left"])
    send(socket, "2")
    becomes(page, "heard", ["1", "2"])
    assert page.evaluate("looped") == ["1", "left"]


def test_a_stream_brings_the_events_where_no_socket_opens_three_times(page: Page, server: FakeServer) -> None:
    server.refuses = True
    event = {"type": "task.event", "event": "report.ready", "epoch": "e1"}
    server.streams.put(
        [
            {"type": "task.ready", "epoch": "e1", "seq": 1},
            event | {"seq": 2, "data": {"id": "a"}},
            event | {"seq": 2, "data": {"id": "again"}},
        ]
    )
    server.streams.put([event | {"seq": 3, "data": {"id": "b"}}])
    page.evaluate("start('/ws/tasks/', { since: 'e1:1', fallback: '/tasks/events/?a=1' })")
    becomes(page, "heard", ["a", "b"])
    # Three sockets, a stream, a socket, a stream.
    assert server.streamed[:2] == [f"{STREAM}?a=1&since=e1%3A1", f"{STREAM}?a=1&since=e1%3A2"]
    assert page.evaluate("[readies, opened >= 4, statuses.includes('live')]") == [1, True, True]
    server.refuses = False
    ready(server.next_socket())
    becomes(page, "client.status", "live")


def test_without_a_fallback_there_are_only_sockets(page: Page, server: FakeServer) -> None:
    server.refuses = True
    page.evaluate("start('/ws/tasks/')")
    becomes(page, "opened > 6", True)
    assert server.streamed == []


def test_a_socket_that_has_brought_something_is_no_reason_to_fall_back(page: Page, server: FakeServer) -> None:
    socket = start(page, server, {"fallback": STREAM})
    for _ in range(6):
        ready(socket)
        socket.close(1011)
        socket = server.next_socket()
    assert server.streamed == []


def test_a_stream_that_refuses_ends_it(page: Page, server: FakeServer) -> None:
    server.refuses = True
    server.streams.put([{"type": "task.close", "code": 4401}])
    page.evaluate("start('/ws/tasks/', { fallback: '/tasks/events/' })")
    becomes(page, "[client.status, client.code]", ["closed", 4401])
    assert len(server.streamed) == 1


def test_a_first_position_may_come_with_ready_and_skips_nothing(page: Page, server: FakeServer) -> None:
    socket = start(page, server)
    ready(socket, epoch="e1", seq=5)
    becomes(page, "readies", 1)
    socket.close(1012)
    socket = server.next_socket()
    assert since(socket) == "e1:5"
    ready(socket, epoch="e1", seq=7)
    send(socket, "a", epoch="e1", seq=6)
    becomes(page, "heard", ["a"])


def test_an_event_seen_before_is_dropped(page: Page, server: FakeServer) -> None:
    socket = start(page, server)
    for name, epoch, seq in [("a", "e1", 1), ("b", "e1", 2), ("again", "e1", 2), ("late", "e1", 1), ("c", "e2", 1)]:
        send(socket, name, epoch=epoch, seq=seq)
    becomes(page, "heard", ["a", "b", "c"])


def test_events_without_a_position_all_count(page: Page, server: FakeServer) -> None:
    socket = start(page, server)
    for name in "aab":
        send(socket, name)
    becomes(page, "heard", ["a", "a", "b"])
    socket.close(1012)
    assert since(server.next_socket()) is None


def test_an_event_name_that_the_server_does_not_know_is_warned_of_once(
    page: Page, server: FakeServer, warnings: list[str]
) -> None:
    socket = start(page, server)
    page.evaluate("() => { client.on('report.redy', () => {}); }")
    assert warnings == []
    ready(socket, events=["report.failed", "report.ready"])
    becomes(page, "readies", 1)
    known = "the server knows: report.failed, report.ready"
    assert warnings == [f'tasks_celery: no task announces "report.redy"; {known}']
    page.evaluate("() => { client.on('report.redy', () => {}).on('report.lost', () => {}); }")
    assert warnings[1:] == [f'tasks_celery: no task announces "report.lost"; {known}']
    socket.close(1012)
    ready(server.next_socket(), events=["report.failed", "report.ready"])
    becomes(page, "readies", 2)
    assert len(warnings) == 2


def test_a_server_that_names_no_events_causes_no_warning(page: Page, server: FakeServer, warnings: list[str]) -> None:
    socket = start(page, server)
    page.evaluate("() => { client.on('report.redy', () => {}); }")
    ready(socket)
    becomes(page, "readies", 1)
    assert warnings == []


def test_three_tabs_share_one_connection_and_each_has_every_event(tabs: Tabs, keeping: KeepingServer) -> None:
    tabs.open(3)
    tabs.settle()
    keeping.happen(300)
    tabs.have_all_once_in_order()
    tabs.settle()
    assert len(keeping.served) == 3  # each began with a connection of its own


def test_tabs_that_do_not_share_have_a_connection_each(tabs: Tabs, keeping: KeepingServer) -> None:
    shared, *own = tabs.open(1) + tabs.open(2, shared=False)
    for page in own:
        becomes(page, "readies", 1)
    becomes(shared, "readies", 1)
    keeping.happen(3)
    tabs.have_all_once_in_order()
    assert [page.evaluate("isConnected()") for page in tabs.pages] == [True] * 3


def test_without_locks_each_tab_has_its_own_connection(
    tabs: Tabs, keeping: KeepingServer, context: BrowserContext
) -> None:
    context.add_init_script("if (location.hash === '#old') delete Navigator.prototype.locks;")
    pages = [context.new_page() for _ in range(2)]
    for page in pages:
        page.goto(f"{keeping.origin}/#old")
        page.evaluate("start('/ws/tasks/')")
        becomes(page, "readies", 1)
    keeping.happen(3)
    for page in pages:
        becomes(page, "seqs", [1, 2, 3])
        assert page.evaluate("isConnected()")
        page.close()


def test_a_tab_takes_over_when_the_leader_goes_and_nothing_is_missed(tabs: Tabs, keeping: KeepingServer) -> None:
    tabs.open(3)
    for _ in range(2):
        leader = tabs.settle()
        keeping.happen(50)
        tabs.close(leader)
        keeping.happen(50)
        tabs.have_all_once_in_order()
    tabs.settle()


def test_a_leader_that_closes_its_client_leaves_the_lead(tabs: Tabs, keeping: KeepingServer) -> None:
    tabs.open(2)
    leader = tabs.settle()
    leader.evaluate("client.close()")
    (follower,) = set(tabs.pages) - {leader}
    becomes(follower, "isConnected()", True)
    keeping.happen(3)
    becomes(follower, "seqs", [1, 2, 3])
    assert leader.evaluate("[seqs, client.status]") == [[], "closed"]


def test_a_tab_in_the_cache_neither_leads_nor_hears_until_it_is_back(tabs: Tabs, keeping: KeepingServer) -> None:
    tabs.open(2)
    cached = tabs.settle()
    cached.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    (other,) = set(tabs.pages) - {cached}
    becomes(other, "isConnected()", True)
    keeping.happen(3)
    becomes(other, "seqs", [1, 2, 3])
    assert cached.evaluate("[seqs, client.status]") == [[], "waiting"]
    cached.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    tabs.have_all_once_in_order()
    assert tabs.settle() == other


def test_two_users_in_one_browser_share_nothing(tabs: Tabs, keeping: KeepingServer) -> None:
    (adas,) = tabs.open()
    becomes(adas, "readies", 1)
    with keeping._lock:  # her socket lives on, after bob has signed in
        keeping.user, keeping.live = "bob", set()
    bobs = tabs.open(2)
    for page in bobs:
        becomes(page, "readies", 1)
    keeping.happen(3)
    for page in bobs:
        becomes(page, "heard", ["bob1", "bob2", "bob3"])
    becomes(bobs[0], "isConnected()", not bobs[1].evaluate("isConnected()"))
    assert adas.evaluate("[heard, client.status, isConnected()]") == [[], "live", True]


def test_a_refusal_reaches_every_tab(tabs: Tabs, keeping: KeepingServer) -> None:
    tabs.open(3)
    tabs.settle()
    keeping.refusal = 4403
    keeping.drop(4403)
    for page in tabs.pages:
        becomes(page, "[client.status, client.code]", ["closed", 4403])


@pytest.mark.parametrize(("epoch", "top"), [("e2", 7), ("e1", 2)], ids=["another epoch", "an older copy"])
def test_a_reset_reaches_every_tab_once(tabs: Tabs, keeping: KeepingServer, epoch: str, top: int) -> None:
    tabs.open(3)
    keeping.happen(5)
    tabs.have_all_once_in_order()
    tabs.settle()
    keeping.begin_afresh(epoch, top)
    keeping.happen(10)
    for page in tabs.pages:
        becomes(page, "seqs", [1, 2, 3, 4, 5, *range(top + 1, top + 11)])
        assert page.evaluate("resets") == [[epoch, top]]


def test_a_tab_that_has_missed_what_the_leader_told_asks_the_server(tabs: Tabs, keeping: KeepingServer) -> None:
    tabs.open(2)
    leader = tabs.settle()
    (follower,) = set(tabs.pages) - {leader}
    leader.evaluate("BroadcastChannel.prototype.postMessage = () => {}")
    keeping.happen(5)
    becomes(leader, "seqs.length", 5)
    # Silent for twice ten seconds (of those that pass fast here), it is a leader no more.
    becomes(follower, "isConnected()", True)
    tabs.have_all_once_in_order()


class FakeLeader:
    """Another tab, which holds the lock and says to `page` what the test wants."""

    def __init__(self, page: Page, server: FakeServer, context: BrowserContext) -> None:
        self.page, self._server = page, server
        address = server.origin.replace("http", "ws") + "/ws/tasks/"
        self._tab = context.new_page()
        self._tab.goto(server.origin)
        self._tab.evaluate(
            """(name) => new Promise((held) => {
                window.channel = new BroadcastChannel(name);
                channel.onmessage = ({ data }) => heard.push(data);
                navigator.locks.request(name, () => { held(); return new Promise(() => {}); });
            })""",
            f"tasks_celery:{address}:ada",
        )

    def meet(self, *, seq: int) -> ServerConnection:
        """Connects the page and lets the server say ready; returns when the page has asked where the leader is."""
        socket = start(self.page, self._server, {"since": f"e1:{seq}"})
        ready(socket, epoch="e1", seq=seq, user="ada")
        becomes(self._tab, "heard.length > 0", True)
        assert self._tab.evaluate("heard") == [{"asks": True}]
        return socket

    def follow(self, *, seq: int) -> None:
        """Meets the page, and has it follow."""
        socket = self.meet(seq=seq)
        self.say(seq)
        eventually(lambda: gone(socket))

    def say(self, seq: int, message: Any = None, *, epoch: str = "e1", is_live: bool = True) -> None:
        """Says where the leader is, and what it has heard."""
        said = {"position": {"epoch": epoch, "seq": seq}, "isLive": is_live}
        self._tab.evaluate("(said) => channel.postMessage(said)", said | ({"message": message} if message else {}))

    def event(self, seq: int, **more: Any) -> None:
        """Says what the leader has heard."""
        event = {"type": "task.event", "event": "report.ready", "epoch": "e1", "seq": seq, "data": {"id": str(seq)}}
        self.say(seq, event, **more)

    def close(self) -> None:
        self._tab.close()


@pytest.fixture
def leader(page: Page, server: FakeServer, context: BrowserContext) -> Iterator[FakeLeader]:
    leader = FakeLeader(page, server, context)
    yield leader
    leader.close()


def test_a_tab_follows_once_it_is_where_the_leader_is(page: Page, leader: FakeLeader) -> None:
    socket = leader.meet(seq=5)
    leader.say(7)
    send(socket, "6", epoch="e1", seq=6)
    becomes(page, "seqs", [6])
    leader.say(6, is_live=False)
    leader.say(6, epoch="e2")
    send(socket, "7", epoch="e1", seq=7)
    becomes(page, "seqs", [6, 7])
    assert page.evaluate("isConnected()")
    leader.say(6)
    eventually(lambda: gone(socket))
    assert page.evaluate("[client.status, statuses]") == ["live", ["live"]]


def test_a_follower_takes_what_comes_next_and_nothing_twice(page: Page, leader: FakeLeader) -> None:
    leader.follow(seq=5)
    for seq in (4, 5, 6, 6, 5, 7):
        leader.event(seq)
    becomes(page, "seqs", [6, 7])
    assert page.evaluate("[client.status, opened]") == ["live", 1]


@pytest.mark.parametrize("said", [{"seq": 7}, {"seq": 6, "epoch": "e2"}, {"seq": 5, "is_live": False}])
def test_a_follower_connects_by_itself_when_the_leader(
    page: Page, server: FakeServer, leader: FakeLeader, said: dict[str, Any]
) -> None:
    leader.follow(seq=5)
    leader.say(**said)
    assert since(server.next_socket()) == "e1:5"


def test_a_gap_is_filled_by_the_server(page: Page, server: FakeServer, leader: FakeLeader) -> None:
    leader.follow(seq=5)
    page.evaluate("held = true")
    leader.event(7)
    becomes(page, "client.status", "waiting")
    leader.event(8)
    page.evaluate("held = false")
    page.evaluate("elapse()")
    socket = server.next_socket()
    assert since(socket) == "e1:5"
    for seq in (6, 7, 8):
        send(socket, str(seq), epoch="e1", seq=seq)
    becomes(page, "seqs", [6, 7, 8])


def test_a_tab_that_waits_to_connect_takes_what_the_leader_heard_meanwhile(page: Page, leader: FakeLeader) -> None:
    leader.follow(seq=5)
    page.evaluate("held = true")
    leader.say(5, is_live=False)
    becomes(page, "client.status", "waiting")
    leader.event(6, is_live=False)
    leader.event(7)
    becomes(page, "[seqs, client.status]", [[6, 7], "live"])
    page.evaluate("elapse()")
    assert page.evaluate("opened") == 1


def test_only_who_follows_is_reset_by_the_leader(page: Page, leader: FakeLeader) -> None:
    there = {"type": "task.reset", "epoch": "e2", "seq": 3}
    socket = leader.meet(seq=5)
    leader.say(3, there, epoch="e2")
    send(socket, "6", epoch="e1", seq=6)
    becomes(page, "seqs", [6])
    assert page.evaluate("resets") == []
    leader.say(6)
    eventually(lambda: gone(socket))
    leader.say(3, there, epoch="e2")
    becomes(page, "resets", [["e2", 3]])
    assert page.evaluate("[client.status, client.position.seq, opened]") == ["live", 3, 1]


def test_a_leader_that_does_not_answer_is_left_and_followed_again(
    page: Page, server: FakeServer, leader: FakeLeader
) -> None:
    leader.follow(seq=5)
    page.evaluate("tick()")
    assert page.evaluate("isConnected()") is False
    page.evaluate("tick()")
    socket = server.next_socket()
    ready(socket, epoch="e1", seq=5, user="ada")
    leader.say(5)
    eventually(lambda: gone(socket))


def test_a_handler_may_close_a_client_that_follows(page: Page, leader: FakeLeader) -> None:
    leader.follow(seq=5)
    page.evaluate("client.on('report.ready', () => client.close())")
    leader.event(6)
    becomes(page, "client.status", "closed")
    leader.event(7)
    assert page.evaluate("[seqs, opened, intervals.size]") == [[6], 1, 0]


def test_a_leader_tells_where_it_is_what_it_hears_and_that_it_is_lost(
    page: Page, server: FakeServer, context: BrowserContext
) -> None:
    page.evaluate("held = true")
    socket = start(page, server)
    ready(socket, epoch="e1", seq=5, user="ada")
    becomes(page, "navigator.locks.query().then(({ held }) => held.length)", 1)
    with context.new_page() as other:
        other.goto(server.origin)
        name = "tasks_celery:" + server.origin.replace("http", "ws") + "/ws/tasks/:ada"
        other.evaluate(
            """(name) => {
                window.channel = new BroadcastChannel(name);
                channel.onmessage = ({ data }) => heard.push([data.message?.type, data.position.seq, data.isLive]);
                channel.postMessage({ asks: true });
            }""",
            name,
        )
        becomes(other, "heard", [[None, 5, True]])
        send(socket, "6", epoch="e1", seq=6)
        reset(socket, epoch="e1", seq=2)
        socket.close(1012)
        becomes(other, "heard.slice(1)", [["task.event", 6, True], ["task.reset", 2, True], [None, 2, False]])
        page.evaluate("client.close()")
        becomes(page, "navigator.locks.query().then(({ held }) => held.length)", 0)


def block(leader: Page, keeping: KeepingServer) -> Callable[[], None]:
    """Lets the page wait for an answer that does not come; returns what lets it come."""
    leader.evaluate("""() => {
        const request = new XMLHttpRequest();
        request.open('GET', '/hang/', false);
        setTimeout(() => { try { request.send(); } catch {} }, 0);
    }""")
    assert keeping.hanging.wait(DEADLINE)
    return keeping.unhang.set


def test_tabs_go_on_while_the_leader_hangs_and_follow_again_after(tabs: Tabs, keeping: KeepingServer) -> None:
    tabs.open(3)
    leader = tabs.settle()
    go_on = block(leader, keeping)
    keeping.happen(20)
    for page in set(tabs.pages) - {leader}:
        becomes(page, "[isConnected(), seqs]", [True, list(range(1, 21))])
    go_on()
    tabs.have_all_once_in_order()
    keeping.happen(20)
    tabs.have_all_once_in_order()
    assert tabs.settle() == leader


@pytest.mark.parametrize("seed", [1, 2])
def test_every_tab_has_every_event_once_and_in_order_whatever_happens(
    tabs: Tabs, keeping: KeepingServer, seed: int
) -> None:
    chance = random.Random(seed)
    stop = threading.Event()

    def keep_happening() -> None:
        while not stop.wait(0.005):
            keeping.happen()

    tabs.open(3)
    happening = threading.Thread(target=keep_happening)
    happening.start()
    try:
        for _ in range(10):
            mishap(chance.choice(MISHAPS), tabs, keeping)
            time.sleep(chance.random() * 0.3)  # so that the mishaps meet every state that there is
    finally:
        stop.set()
        happening.join()
    assert keeping.top > 200
    tabs.have_all_once_in_order()
    tabs.settle()


MISHAPS = ("leader goes", "a tab comes", "restart", "killed", "away")


def mishap(kind: str, tabs: Tabs, server: KeepingServer) -> None:
    """Does to the tabs or to their server what happens to them in a day."""
    if kind == "leader goes" and len(tabs.pages) > 2:
        leaders = [page for page in tabs.pages if page.evaluate("isConnected()")]
        tabs.close((leaders or tabs.pages)[0])
    if kind == "a tab comes" and len(tabs.pages) < 4:
        tabs.open()
    if kind == "restart":
        server.drop(1012)
    if kind in ("killed", "away"):
        server.refuses = kind == "away"
        server.drop(None)
        time.sleep(0.3)  # for as long as it is away
        server.refuses = False


def place(page: Page, attributes: str) -> None:
    """Puts the element into the page, which notes what it fires."""
    page.evaluate(
        """async (attributes) => {
            window.fired = [];
            for (const name of ["report.ready", "task-events:ready", "task-events:reset", "task-events:status"])
                document.addEventListener(name, ({ target, detail }) => fired.push([target.localName, name, detail]));
            document.body.innerHTML = `<main></main><task-events ${attributes}></task-events>`;
            window.element = document.querySelector("task-events");
            await import("/element.js");
        }""",
        attributes,
    )


def test_an_element_fires_each_event_by_its_name(page: Page, server: FakeServer) -> None:
    place(page, 'src="/ws/mine/" since="e1:3"')
    socket = server.next_socket()
    assert socket.request is not None
    assert urlsplit(socket.request.path).path == "/ws/mine/"
    assert since(socket) == "e1:3"
    reset(socket, epoch="e2", seq=0)
    ready(socket, epoch="e2", seq=0)
    send(socket, "a", epoch="e2", seq=1)
    becomes(
        page,
        "fired.map(([target, name]) => [target, name])",
        [
            ["task-events", "task-events:reset"],
            ["task-events", "task-events:status"],
            ["task-events", "task-events:ready"],
            ["task-events", "report.ready"],
        ],
    )
    assert page.evaluate("[fired[1][2], fired[2][2].seq, fired[3][2].data.id]") == [
        {"status": "live", "code": None},
        0,
        "a",
    ]
    assert page.evaluate("element.getAttribute('status')") == "live"


def test_an_element_without_attributes_connects_to_the_usual_address(page: Page, server: FakeServer) -> None:
    place(page, 'since=""')
    socket = server.next_socket()
    assert socket.request is not None
    assert socket.request.path == "/ws/tasks/?acks=1"


def test_an_element_falls_back(page: Page, server: FakeServer) -> None:
    server.refuses = True
    server.streams.put([{"type": "task.close", "code": 4401}])
    place(page, f'fallback="{STREAM}"')
    becomes(page, "fired.at(-1)?.[2]", {"status": "closed", "code": 4401})


def test_an_element_that_is_moved_stays_connected(page: Page, server: FakeServer) -> None:
    place(page, "")
    socket = server.next_socket()
    page.evaluate("document.querySelector('main').append(element)")
    send(socket, "a")
    becomes(page, "fired.map(([, name]) => name)", ["report.ready"])
    assert page.evaluate("opened") == 1


def test_an_element_that_is_taken_out_closes_and_goes_on_where_it_was(page: Page, server: FakeServer) -> None:
    place(page, 'since="e1:3"')
    socket = server.next_socket()
    send(socket, "a", epoch="e1", seq=4)
    becomes(page, "fired.length", 1)
    page.evaluate("element.remove()")
    eventually(lambda: gone(socket))
    page.evaluate("document.body.append(element)")
    assert since(server.next_socket()) == "e1:4"


def test_an_element_that_never_heard_a_position_comes_back_without(page: Page, server: FakeServer) -> None:
    place(page, "")
    server.next_socket()
    page.evaluate("element.remove()")
    page.evaluate("document.body.append(element)")
    assert since(server.next_socket()) is None


def test_what_is_public_is_typed(page: Page, server: FakeServer) -> None:
    start(page, server)
    public = page.evaluate("[...Object.getOwnPropertyNames(Object.getPrototypeOf(client)), ...Object.keys(client)]")
    assert {"on", "off", "close", "status", "code", "position"} <= set(public)
    types = (STATIC / "events.d.ts").read_text()
    assert {name for name in public if not re.search(rf"\b{name}\b *[:(<]", types)} == {"constructor"}


def test_the_module_is_under_3_kb_gzipped() -> None:
    assert len(gzip.compress((STATIC / "events.js").read_bytes())) < 3000


def since(socket: ServerConnection) -> str | None:
    """Returns the position that the page asked to be replayed from."""
    asked: str | None = query(socket).get("since", [None])[0]
    return asked


def query(socket: ServerConnection) -> dict[str, list[Any]]:
    """Returns what the page asked for in the address."""
    assert socket.request is not None
    return parse_qs(urlsplit(socket.request.path).query)


def gone(socket: ServerConnection) -> None:
    """Fails as long as the page holds the connection."""
    with suppress(TimeoutError, ConnectionClosed):
        socket.recv(timeout=0)
    assert socket.state is State.CLOSED


def said(socket: ServerConnection) -> Any:
    """Returns the next message of the page."""
    return json.loads(socket.recv(timeout=DEADLINE))
