"""The sockets of a project, on real servers: what is pushed, lost, missed and forged, who is slow, and who may stay."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from example.servers import ROOT
from integration.conftest import DEADLINE, eventually, require
from integration.events.servers import Redis, Web
from integration.postgres import find_postgres, postgres
from tasks_celery.channels.events import Envelope, Heard, event_text, group_message
from tasks_celery.channels.groups import group_name
from tasks_celery.channels.log import Cursor, Entry, Log, Position, open_log
from tasks_celery.channels.options import EventOptions

APPLICATION = "integration.events.listening.asgi:application"
LAYERS = {"core": RedisChannelLayer, "pubsub": RedisPubSubChannelLayer}
#: Each server and each layer once; what depends on both is in the soak.
PAIRS = [("daphne", "core"), ("uvicorn", "pubsub")]
KEEP = 20_000


class Site:
    """A running server, and who visits it."""

    def __init__(self, web: Web, events: Mapping[str, Any], redis: Redis | None = None, layer: str = "") -> None:
        self.web, self.redis = web, redis
        self.options = EventOptions(**{key.lower(): value for key, value in events.items()})
        self._layer = layer
        self.cookies: dict[int, str] = {}

    @property
    def log(self) -> Log:
        assert self.options.log
        return open_log(self.options.log, self.options)

    def visit(self, path: str, user: int | None = None) -> Any:
        """Return the answer to a request, with the session of the user."""
        headers = {"Cookie": self.cookies[user]} if user else {}
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        return opener.open(urllib.request.Request(f"http://{self.web.place}{path}", headers=headers), timeout=60)

    def let_in(self, user: int) -> None:
        with self.visit(f"/in/{user}/") as answer:
            told = answer.headers.get_all("Set-Cookie")
            self.cookies[user] = "; ".join(cookie.partition(";")[0] for cookie in told)

    @contextlib.contextmanager
    def dial(self, user: int | None = None, query: str = "", origin: str | None = None) -> Iterator[ClientConnection]:
        """Yield a socket of the user's, who is signed in."""
        if user and user not in self.cookies:
            self.let_in(user)
        with connect(
            f"ws://{self.web.place}/ws/tasks/{query}",
            origin=origin or f"http://{self.web.place}",  # type: ignore[arg-type]
            additional_headers={"Cookie": self.cookies[user]} if user else {},
            open_timeout=DEADLINE,
            ping_interval=None,
            compression=None,
            proxy=None,
            # Closing waits for the other side, which need not read any more.
            close_timeout=1,
        ) as socket:
            yield socket

    def publish(self, user: int, number: int, since: int | None = None) -> None:
        """Have the server publish events with the numbers up to this one."""
        self.visit(f"/publish/{user}/{number}/?from={since or number}").close()

    def write(self, user: int, *numbers: int, padding: str = "") -> list[Heard]:
        """Put events into the log alone; return what pushes of them bring."""
        stream = group_name(str(user))
        bodies = [Envelope(event="report.ready", data={"id": str(each), "padding": padding}).body for each in numbers]
        kept = self.log.append([Entry(stream, str(each), body) for each, body in zip(numbers, bodies, strict=True)])
        positions = [each for each in kept if isinstance(each, Position)]
        return [Heard(place, event_text(body, place)) for place, body in zip(positions, bodies, strict=True)]

    def top(self, user: int) -> Position:
        top = self.log.read([Cursor(group_name(str(user)))])[0].top
        assert top
        return top

    @contextlib.contextmanager
    def pushing(self) -> Iterator[Any]:
        """Yield what pushes events to a user, as another process does."""
        assert self.redis
        layer = LAYERS[self._layer](hosts=[{"address": self.redis.url}])
        with asyncio.Runner() as runner:

            def push(user: int, heard: list[Heard]) -> None:
                stream = group_name(str(user))
                runner.run(layer.group_send(stream, group_message(stream, heard)))

            yield push

    def memory(self) -> int:
        """Return how many bytes of memory the server has."""
        status = Path(f"/proc/{self.web.child.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) * 1024


def said(socket: ClientConnection) -> Any:
    return json.loads(socket.recv(timeout=DEADLINE))


def heard(socket: ClientConnection, count: int = 1) -> list[int]:
    """Return the numbers of the next events."""
    return [int(said(socket)["data"]["id"]) for _ in range(count)]


def until_ready(socket: ClientConnection) -> list[Any]:
    """Return what is said before the socket is ready, and that."""
    told = [said(socket)]
    while told[-1]["type"] != "task.ready":
        told.append(said(socket))
    return told


def code_of(socket: ClientConnection) -> int:
    """Return the code with which the socket is closed; fail at what comes before."""
    with pytest.raises(ConnectionClosed) as closed:
        pytest.fail(f"Not closed, but told: {socket.recv(timeout=DEADLINE)!r:.200}")
    assert closed.value.rcvd
    return closed.value.rcvd.code


@contextlib.contextmanager
def serving(server: str, **listening: Any) -> Iterator[Web]:
    """Run a server of the project, with its tables made."""
    env = os.environ | {
        "DJANGO_SETTINGS_MODULE": "integration.events.listening.settings",
        "LISTENING": json.dumps(listening),
        "PYTHONUNBUFFERED": "1",
    }
    migrate = [sys.executable, "-m", "django", "migrate", "--no-input", "--verbosity", "0", "--skip-checks"]
    subprocess.run(migrate, cwd=ROOT, env=env, check=True, timeout=120)
    web = Web(server, env, application=APPLICATION)
    try:
        web.wait()
        yield web
    finally:
        web.stop()


@contextlib.contextmanager
def a_site(directory: Path, server: str, layer: str, **events: Any) -> Iterator[Site]:
    """Run a server with a Redis for its layer, and another one for its log."""
    with contextlib.ExitStack() as stack:
        kept, passing = Redis(directory / "log"), Redis(directory / "layer")
        for redis in (kept, passing):
            stack.callback(redis.stop)
        told = {"LOG": kept.url, "KEEP": KEEP} | events
        backend = f"{LAYERS[layer].__module__}.{LAYERS[layer].__name__}"
        # As the documentation of Channels has it; with redis-py 8, a socket of the core layer's lasts five seconds so.
        config = {"BACKEND": backend, "CONFIG": {"hosts": [{"address": passing.url}]}}
        database = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(directory / "db.sqlite3")}
        web = stack.enter_context(serving(server, layer=config, database=database, events=told))
        yield Site(web, told, passing, layer)


@pytest.fixture(scope="module", params=PAIRS, ids="-".join)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site that looks at its sockets as seldom as usual."""
    with a_site(tmp_path_factory.mktemp("site"), *request.param) as running:
        yield running


@pytest.fixture(params=PAIRS, ids="-".join)
def watchful(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """A site of the test's own, that looks at its sockets every second."""
    with a_site(tmp_path, *request.param, CHECK_EVERY=1) as running:
        yield running


# --- refusals -------------------------------------------------------------------------------------------------------


def test_who_is_not_signed_in_is_told_so(site: Site) -> None:
    with site.dial() as nobody:
        assert code_of(nobody) == 4401


def test_a_page_of_another_origin_is_not_let_in(site: Site) -> None:
    site.let_in(10)
    with pytest.raises(InvalidStatus, match="403"), site.dial(10, origin="http://evil.example"):
        pytest.fail("It was let in")


@pytest.mark.parametrize("forged", ["{grace}:0", "{grace}:1", "{ada}:99999", "{ada}:-1", "garbage", "*:0"])
def test_a_forged_cursor_hears_nothing_of_others(site: Site, forged: str) -> None:
    site.write(11, 1)
    site.write(12, 2, 3)
    epochs = {"ada": site.top(11).epoch, "grace": site.top(12).epoch}
    with site.dial(11, f"?since={forged.format(**epochs)}") as ada:
        assert [each["type"] for each in until_ready(ada)] == ["task.reset", "task.ready"]
        for name in epochs.values():
            for seq in (0, 1, 99999, -1):
                ada.send(json.dumps({"since": {"epoch": name, "seq": seq}}))
        site.publish(12, 4)
        site.publish(11, 5)
        numbers: list[int] = []
        while 5 not in numbers:
            numbers += [int(each["data"]["id"]) for each in [said(ada)] if each["type"] == "task.event"]
        assert not {2, 3, 4} & set(numbers)


def test_who_signs_out_is_closed_at_once(site: Site) -> None:
    with site.dial(13) as ada, site.dial(14) as grace:
        until_ready(ada)
        until_ready(grace)
        # Past the first look at the socket; the next one is half a minute away.
        started, number = time.monotonic(), 0
        while time.monotonic() < started + 2.5:
            number += 1
            site.publish(13, number)
            assert heard(ada) == [number]
        began = time.monotonic()
        site.visit("/out/", user=13).close()
        assert code_of(ada) == 4403
        assert time.monotonic() - began < 10
        site.publish(14, 1)
        assert heard(grace) == [1]


def test_who_is_deactivated_is_closed_within_a_check(watchful: Site) -> None:
    with watchful.dial(13) as ada, watchful.dial(14) as grace:
        until_ready(ada)
        until_ready(grace)
        watchful.visit("/deactivate/13/").close()
        assert code_of(ada) == 4403
        watchful.publish(14, 1)
        assert heard(grace) == [1]


# --- what arrives ---------------------------------------------------------------------------------------------------


def test_who_was_away_is_told_what_they_missed_and_then_what_comes(site: Site) -> None:
    with site.dial(21) as ada:
        cursor = until_ready(ada)[-1]
        site.publish(21, 3, since=1)
        assert heard(ada, 3) == [1, 2, 3]
    site.publish(21, 400, since=4)
    with site.dial(21, f"?since={cursor['epoch']}:{cursor['seq'] + 3}") as ada:
        assert heard(ada, 397) == list(range(4, 401))
        assert said(ada)["type"] == "task.ready"
        site.publish(21, 401)
        assert heard(ada) == [401]


def test_a_push_that_was_lost_is_made_good_by_the_next(site: Site) -> None:
    with site.dial(22) as ada:
        until_ready(ada)
        site.write(22, 1, 2)
        site.publish(22, 3)
        assert heard(ada, 3) == [1, 2, 3]


def test_a_socket_outlives_the_pauses_of_its_layer(site: Site) -> None:
    # With redis-py 8 and the hosts as everybody configures them, a socket of Channels' core layer ends after five seconds.
    with site.dial(23) as ada:
        until_ready(ada)
        with pytest.raises(TimeoutError):
            ada.recv(timeout=6)
        site.publish(23, 1)
        assert heard(ada) == [1]
    assert not [line for line in site.web.child.lines if "The channel layer fails" in line]


def test_while_the_layers_redis_is_killed_and_started_again_the_socket_stays_and_misses_nothing(watchful: Site) -> None:
    assert watchful.redis
    with watchful.dial(24) as ada:
        until_ready(ada)
        watchful.publish(24, 1)
        assert heard(ada) == [1]
        watchful.redis.kill()
        watchful.publish(24, 20, since=2)
        assert heard(ada, 19) == list(range(2, 21))
        watchful.redis.start()
        watchful.publish(24, 30, since=21)
        assert heard(ada, 10) == list(range(21, 31))
        with watchful.pushing() as push:

            def is_pushed_to() -> None:
                # With a number that it has seen, which only a push brings, a look at the log is asked for; no message is.
                began = time.monotonic()
                (event,) = watchful.write(24, 31)
                push(24, [event])
                assert heard(ada) == [31]
                assert time.monotonic() - began < 0.4

            eventually(is_pushed_to)


def test_a_client_that_stops_reading_costs_no_memory_and_misses_nothing(site: Site) -> None:
    # daphne takes whatever it is given; there, only a page that acknowledges is bounded.
    for acks in [True] if "daphne" in str(site.web.child.process.args) else [True, False]:
        stop_reading(site, 25 + acks, acks=acks)


def stop_reading(site: Site, user: int, *, acks: bool) -> None:
    """Offer 60 MB of events to a client that reads none meanwhile, then let it read."""
    offered, padding = 7_600, "x" * 7_900
    with site.dial(user, "?acks=1" if acks else "") as ada, site.pushing() as push:
        ready = until_ready(ada)[-1]
        before = site.memory()
        for first in range(0, offered, 50):
            push(user, site.write(user, *range(first, first + 50), padding=padding))
        peak = site.memory()
        numbers = []
        for _ in range(offered):
            event = said(ada)
            numbers.append(int(event["data"]["id"]))
            if acks and len(numbers) % 50 == 0:
                ada.send(json.dumps({"seen": {"epoch": event["epoch"], "seq": event["seq"]}}))
        peak = max(peak, site.memory())
        assert numbers == list(range(offered))
        assert event["seq"] == ready["seq"] + offered
    assert (peak - before) / 1e6 < 20, "60 MB were offered"


@pytest.mark.parametrize(("server", "layer"), PAIRS)
def test_a_server_that_is_told_to_end_says_so(server: str, layer: str, tmp_path: Path) -> None:
    with a_site(tmp_path, server, layer) as ending, contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(ending.dial(user)) for user in range(31, 36)]
        for socket in sockets:
            until_ready(socket)
        # daphne 4.2 tells its applications nothing while a request of the last second or two is among its connections
        # (KeyError in kill_all_applications), and drops them all; and it takes no 1012 from an application.
        push = stack.enter_context(ending.pushing())
        started, number = time.monotonic(), 0
        while time.monotonic() < started + 3:
            number += 1
            push(31, ending.write(31, number))
            assert heard(sockets[0]) == [number]
        ending.web.child.process.terminate()
        assert [code_of(socket) for socket in sockets] == [4012 if server == "daphne" else 1012] * 5
        ending.web.child.process.wait(DEADLINE)


# --- without a layer ------------------------------------------------------------------------------------------------


def test_in_a_database_alone_events_arrive_by_looking(tmp_path: Path) -> None:
    database = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(tmp_path / "db.sqlite3"),
        "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
    }
    told = {"LOG": "database://", "LAYER": None, "POLL_EVERY": 0.2}
    with serving("daphne", layer=None, database=database, events=told) as web:
        site = Site(web, told)
        with site.dial(41) as ada:
            cursor = until_ready(ada)[-1]
            site.publish(41, 20, since=1)
            assert heard(ada, 20) == list(range(1, 21))
        site.publish(41, 30, since=21)
        with site.dial(41, f"?since={cursor['epoch']}:{cursor['seq'] + 20}") as ada:
            assert heard(ada, 10) == list(range(21, 31))


def test_postgres_says_at_once_what_is_new(tmp_path: Path) -> None:
    require(find_postgres(), "There is no PostgreSQL here; install postgresql.")
    told = {"LOG": "database://", "LAYER": None, "POLL_EVERY": 600, "CHECK_EVERY": 600}
    with postgres() as host:
        database = {"ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "USER": "postgres", "HOST": host}
        with serving("uvicorn", layer=None, database=database, events=told) as web:
            site = Site(web, told)
            with site.dial(51) as ada, site.dial(51) as ada_too, site.dial(52) as grace:
                for socket in (ada, ada_too, grace):
                    until_ready(socket)
                # Past the first look at the sockets, the next one is ten minutes away.
                started, number = time.monotonic(), 0
                while time.monotonic() < started + 2.5 or number < 20:
                    number += 1
                    site.publish(51, number)
                    assert heard(ada) == heard(ada_too) == [number]
                site.publish(52, 1)
                assert heard(grace) == [1]
