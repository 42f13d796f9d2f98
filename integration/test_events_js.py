"""Test process. events.js in a real Chromium, against a WebSocket server that says what each test wants."""

from __future__ import annotations

import gzip
import json
import queue
import re
import threading
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from integration.chromium import NoChromium, headless_chromium
from integration.conftest import DEADLINE, eventually, require

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

STATIC = Path(__file__).parent.parent / "tasks_celery/channels/static/tasks_celery"

# Timers are recorded, and run at once or (with `held`) when the test says so; the clock that measures stability
# is pushed forward by `skipped`. So no test waits for a backoff, and each sees the delay that was asked for.
PAGE = """
<!doctype html><title>A page</title>
<script>
  window.delays = []; window.held = false; window.skipped = 0;
  const timers = new Map(), later = window.setTimeout, now = performance.now.bind(performance);
  window.setTimeout = (call, delay) => {
    timers.set(delays.push(delay), call);
    if (!held) later(elapse, 0);
    return delays.length;
  };
  window.clearTimeout = (timer) => timers.delete(timer);
  window.elapse = () => { for (const [timer, call] of timers) { timers.delete(timer); call(); } };
  performance.now = () => now() + skipped;
  window.opened = 0;
  window.WebSocket = class extends WebSocket { constructor(url) { super(url); opened++; } };
  window.heard = []; window.statuses = []; window.readies = 0;
  window.start = (url, options) => {
    window.client = connect(url, options).on("report.ready", (event) => heard.push(event.data.id));
    client.addEventListener("status", () => statuses.push(client.status));
    client.addEventListener("ready", () => readies++);
  };
</script>
<script type="module">import { connect } from "/events.js"; window.connect = connect;</script>
"""


class FakeServer:
    """Serves the page and the module, and hands each WebSocket to the test that waits for it."""

    def __init__(self) -> None:
        self._sockets: queue.Queue[ServerConnection] = queue.Queue()
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
            return None
        files = {
            "/": ("text/html", PAGE),
            "/events.js": ("text/javascript", (STATIC / "events.js").read_text()),
        }
        if request.path not in files:
            return connection.respond(HTTPStatus.NO_CONTENT, "")
        kind, body = files[request.path]
        response = connection.respond(HTTPStatus.OK, body)
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = f"{kind}; charset=utf-8"
        return response


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    try:
        with headless_chromium() as browser:
            yield browser
    except NoChromium as missing:
        require(None, str(missing))


@pytest.fixture
def server() -> Iterator[FakeServer]:
    server = FakeServer()
    yield server
    server.stop()


@pytest.fixture
def page(browser: Browser, server: FakeServer) -> Iterator[Page]:
    context = browser.new_context()
    page = context.new_page()
    page.goto(server.origin)
    yield page
    context.close()


@pytest.fixture
def warnings(page: Page) -> list[str]:
    """What the page warned of in its console."""
    texts: list[str] = []
    page.on("console", lambda message: texts.append(message.text) if message.type == "warning" else None)
    return texts


def start(page: Page, server: FakeServer, options: dict[str, Any] | None = None) -> ServerConnection:
    """Connects the page; returns the server's end."""
    page.evaluate("(options) => start('/ws/tasks/', options)", options or {})
    return server.next_socket()


def ready(socket: ServerConnection, **more: Any) -> None:
    socket.send(json.dumps({"type": "task.ready", "seq": None, "epoch": None} | more))


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
        ("{sinc: 7}", 'has the option "since" only, not {"sinc":7}'),
        ('{since: "e:7"}', 'needs since: {epoch, seq} of an event, or null, not "e:7"'),
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
        ("http://page.test/a/", "/ws/tasks/?a=1#b", "ws://page.test/ws/tasks/?a=1"),
        ("https://page.test/a/", "/ws/tasks/", "wss://page.test/ws/tasks/"),
        ("https://page.test/a/", "//other.test/ws/", "wss://other.test/ws/"),
        ("https://page.test/a/", "https://other.test/ws/", "wss://other.test/ws/"),
        ("http://page.test/a/", "wss://other.test/ws/", "wss://other.test/ws/"),
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


def test_a_handler_that_throws_is_reported_and_stops_nothing(page: Page, server: FakeServer) -> None:
    reported: list[str] = []
    page.on("pageerror", lambda error: reported.append(error.message))
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


def test_what_is_public_is_typed(page: Page, server: FakeServer) -> None:
    start(page, server)
    public = page.evaluate("Object.getOwnPropertyNames(Object.getPrototypeOf(client))")
    types = (STATIC / "events.d.ts").read_text()
    assert {name for name in public if not re.search(rf"\b{name}\b *[:(<]", types)} == {"constructor"}


def test_the_module_is_under_3_kb_gzipped() -> None:
    assert len(gzip.compress((STATIC / "events.js").read_bytes())) < 3000


def since(socket: ServerConnection) -> str | None:
    """Returns the position that the page asked to be replayed from."""
    assert socket.request is not None
    return parse_qs(urlsplit(socket.request.path).query).get("since", [None])[0]
