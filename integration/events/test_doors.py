"""Who hears what, on a real server: people, strangers, tenants, other origins and other projects on the same Redis."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("channels_redis", reason="channels-redis is not installed; install the extra 'channels'")
pytest.importorskip("websockets", reason="websockets is not installed; sync the dependency group 'test'")

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from example.servers import HOST, Child, listen, plan_redis, redis_answers, stop, wait_until
from integration.conftest import DEADLINE, eventually, require

SETTINGS = "integration.events.doors.settings"
APPLICATION = "integration.events.doors.asgi:application"
SERVERS = {
    "daphne": ["daphne", "--fd", "{fd}", "-v", "0", APPLICATION],
    "uvicorn": ["integration.events.soaked.uvicorn", "{fd}", APPLICATION],
}


pytestmark = pytest.mark.timeout(300)


class Project:
    """A project with its secret, its database and its web server, on a port that it keeps while the server is down."""

    def __init__(self, server: str, directory: Path, redis: str, *, secret: str) -> None:
        self._listener = listen()
        self.port = self._listener.getsockname()[1]
        doors = {"secret": secret, "redis": redis, "database": str(directory / f"{secret}.sqlite3")}
        self._env = os.environ | {
            "DJANGO_SETTINGS_MODULE": SETTINGS,
            "PYTHONUNBUFFERED": "1",
            "DOORS": json.dumps(doors),
        }
        self._command = [word.format(fd=self._listener.fileno()) for word in SERVERS[server]]
        self.said = ""
        self.start()

    def start(self) -> None:
        self.web = Child(
            "web", [sys.executable, "-m", *self._command], env=self._env, pass_fds=[self._listener.fileno()]
        )
        wait_until(self._answers, what="the web server", watch=[self.web])

    def _answers(self) -> bool:
        try:
            return self.ask("/tasks/events/", within=2).status == 401
        except TimeoutError:
            return False

    def kill(self) -> None:
        self.web.process.kill()
        stop([self.web])
        self.said += "\n".join(self.web.lines)

    def stop(self) -> None:
        stop([self.web])
        self.said += "\n".join(self.web.lines)
        self._listener.close()

    def ask(
        self, path: str, *, host: str = "localhost", within: float = DEADLINE, **headers: str
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=within)
        connection.request("GET", path, headers={"Host": f"{host}:{self.port}"} | headers)
        return connection.getresponse()

    def listen(
        self, query: str = "", *, host: str = "localhost", origin: str | None = None, **headers: str
    ) -> ClientConnection:
        return connect(
            f"ws://{host}:{self.port}/ws/tasks/{query}",
            sock=socket.create_connection((HOST, self.port), DEADLINE),
            origin=origin or f"http://{host}:{self.port}",  # type: ignore[arg-type]
            additional_headers=headers,
            open_timeout=DEADLINE,
        )


class Person:
    """Somebody who is signed in, in a browser of their own."""

    def __init__(self, project: Project, name: str, *, host: str = "localhost") -> None:
        self.project, self.host = project, host
        answer = project.ask(f"/sign-in/{name}/", host=host)
        self.user = json.load(answer)["user"]
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
        self.session = cookie.partition("=")[2]
        self.headers = {"Cookie": cookie}

    def ask(self, path: str, **headers: str) -> Any:
        answer = self.project.ask(path, host=self.host, **self.headers | headers)
        assert answer.status == 200, answer.read()
        return json.load(answer)

    def listen(self, query: str = "") -> ClientConnection:
        return self.project.listen(query, host=self.host, **self.headers)

    def stream(self, query: str = "", **headers: str) -> Stream:
        return Stream(self.project, query, host=self.host, **self.headers | headers)

    def token(self, query: str = "") -> str:
        return str(self.ask(f"/token/{query}")["token"])


class Stream:
    """Server-Sent Events, as a browser reads them."""

    def __init__(self, project: Project, query: str = "", *, host: str = "localhost", **headers: str) -> None:
        self._answer = project.ask(f"/tasks/events/{query}", host=host, **{"Accept": "text/event-stream"} | headers)
        assert self._answer.status == 200, self._answer.read()
        self.last_id = ""

    def next(self) -> dict[str, Any]:
        """Return the next message; an empty one at the end."""
        for line in self._answer:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name == "id":
                self.last_id = value
            if name == "data":
                content: dict[str, Any] = json.loads(value)
                return content
        return {}

    def close(self) -> None:
        self._answer.close()


def heard(listener: ClientConnection | Stream) -> dict[str, Any]:
    """Return the next message."""
    if isinstance(listener, Stream):
        return listener.next()
    content: dict[str, Any] = json.loads(listener.recv(DEADLINE))
    return content


def texts(listener: ClientConnection | Stream, number: int) -> list[str]:
    """Return what the next so many events tell of."""
    events = [heard(listener) for _ in range(number)]
    assert {event["type"] for event in events} <= {"task.event"}, events
    return [event["data"]["payload"]["text"] for event in events]


def ready(listener: ClientConnection | Stream) -> str:
    """Return the position from which on events arrive, which is the next thing that is told."""
    message = heard(listener)
    assert message["type"] == "task.ready", message
    return f"{message['epoch']}:{message['seq']}"


def code_of(socket: ClientConnection) -> int | None:
    """Return with which code a socket is closed, before anything else is told but that it was ready."""
    try:
        while (message := heard(socket))["type"] == "task.ready":
            pass
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None
    raise AssertionError(f"The socket is open, and tells {message}")


def refusal_of(connection: ClientConnection) -> int | None:
    """Return with which code a socket is closed that is for nobody."""
    with connection as socket:
        return code_of(socket)


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    require(shutil.which("redis-server") or shutil.which("valkey-server"), "No redis-server is here.")
    # Not tmp_path: the path of a socket has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="doors-", dir="/tmp", ignore_cleanup_errors=True) as directory:
        yield Path(directory)


@pytest.fixture(scope="module")
def redis(directory: Path) -> Iterator[str]:
    plan = plan_redis({"PATH": os.environ["PATH"]}, directory)
    assert plan.url
    child = Child("redis", plan.command, env=os.environ)
    try:
        wait_until(lambda: redis_answers(plan.url or ""), what="Redis", watch=[child])
        yield plan.url
    finally:
        stop([child])


@pytest.fixture(scope="module", params=SERVERS)
def project(request: pytest.FixtureRequest, directory: Path, redis: str) -> Iterator[Project]:
    project = Project(request.param, directory, redis, secret=f"ours-{request.param}")
    try:
        yield project
    finally:
        project.stop()


@pytest.fixture(scope="module")
def ada(project: Project) -> Person:
    return Person(project, "ada")


@pytest.fixture(scope="module")
def bob(project: Project) -> Person:
    return Person(project, "bob")


# --- who hears nothing -------------------------------------------------------------------------------------------


def test_a_stranger_is_let_in_nowhere(project: Project) -> None:
    assert refusal_of(project.listen()) == 4401
    assert refusal_of(project.listen(Cookie="sessionid=forged")) == 4401
    for accept in ("application/json", "text/event-stream"):
        assert project.ask("/tasks/events/", Accept=accept).status == 401


def test_a_page_of_another_origin_is_refused(ada: Person) -> None:
    for origin in ("http://evil.example", "http://localhost.evil.example"):
        with pytest.raises(InvalidStatus) as refused:
            ada.project.listen(origin=origin, **ada.headers)
        assert refused.value.response.status_code == 403


def test_forged_and_expired_tokens_open_nothing(ada: Person) -> None:
    token = ada.token()
    forged = ["", "forged", token[:-1], "x" + token, token.partition(":")[0], ada.session, token * 100]
    for each in forged:
        with ada.project.listen("?auth=message") as listener:
            listener.send(json.dumps({"token": each}))
            assert code_of(listener) == 4401
        assert ada.project.ask("/tasks/events/", Authorization=f"Bearer {each}").status in (400, 401, 431)
    brief = ada.token("?lifetime=0.001")
    assert ada.project.ask("/tasks/events/", Authorization=f"Bearer {brief}").status == 401


def test_a_token_in_a_url_opens_nothing(ada: Person) -> None:
    assert refusal_of(ada.project.listen(f"?token={ada.token()}")) == 4401
    assert ada.project.ask(f"/tasks/events/?token={ada.token()}").status == 401


def test_a_session_is_no_token_where_a_token_is_asked_for(ada: Person) -> None:
    with ada.listen("?auth=message") as listener:
        listener.send(json.dumps({"token": "forged"}))
        assert code_of(listener) == 4401


def test_positions_of_somebody_else_bring_nothing_of_theirs(ada: Person, bob: Person) -> None:
    with bob.listen() as theirs:
        position = ready(theirs)
        bob.ask("/tell/of-bob/")
        assert texts(theirs, 1) == ["of-bob"]
    epoch = position.partition(":")[0]
    forged = [position, f"{epoch}:0", "forged:1", f"{epoch}:999", "nonsense"]
    for since in forged:
        with ada.listen(f"?since={since}") as listener:
            assert heard(listener)["type"] == "task.reset"
            ready(listener)
            listener.send(json.dumps({"since": {"epoch": epoch, "seq": 0}}))
            assert heard(listener)["type"] == "task.reset"
            ready(listener)
        stream = ada.stream(f"?since={since}")
        assert heard(stream)["type"] == "task.reset"
        stream.close()
        page = ada.ask(f"/tasks/events/?since={since}")
        assert (page["events"], page["reset"]) == ([], True)


def test_who_is_deactivated_is_let_in_no_more_and_closed_out(project: Project, ada: Person) -> None:
    eve = Person(project, "eve")
    token = eve.token()
    with eve.listen() as listener:
        stream = eve.stream()
        ready(stream)
        epoch = ready(listener).partition(":")[0]
        eve.ask("/tell/of-eve/")
        assert texts(listener, 1) == texts(stream, 1) == ["of-eve"]
        ada.ask("/deactivate/eve/")
        assert code_of(listener) == 4403
        assert heard(stream) == {"type": "task.close", "code": 4403}
        assert heard(stream) == {}
    assert project.ask("/tasks/events/", Authorization=f"Bearer {token}").status == 403
    with project.listen(f"?auth=message&since={epoch}:0") as listener:
        listener.send(json.dumps({"token": token}))
        assert code_of(listener) == 4403
    assert refusal_of(eve.listen()) == 4401


def test_who_signs_out_is_closed_out_at_once_and_only_there(project: Project) -> None:
    here, there = Person(project, "cem"), Person(project, "cem")
    with here.listen() as closed, there.listen() as open_:
        stream = here.stream()
        for listener in (closed, open_, stream):
            ready(listener)
        here.ask("/sign-out/")
        assert code_of(closed) == 4403
        assert heard(stream) == {"type": "task.close", "code": 4403}
        there.ask("/tell/still-here/")
        assert texts(open_, 1) == ["still-here"]


def test_whose_token_is_over_is_closed_out(ada: Person) -> None:
    # On a busy machine a brief token is over before it has let anybody in.
    for lifetime in (2, 10, 50):
        with ada.project.listen("?auth=message") as listener:
            listener.send(json.dumps({"token": ada.token(f"?lifetime={lifetime}")}))
            code = code_of(listener)
        if code != 4401:
            break
    assert code == 4403


def test_another_project_on_the_same_redis_hears_nothing(
    project: Project, ada: Person, directory: Path, redis: str
) -> None:
    with ExitStack() as stack:
        # Another number of the database, which does not keep apart what Redis publishes.
        other = Project("daphne", directory, f"{redis}?db=1", secret=f"theirs-{project.port}")
        stack.callback(other.stop)
        them = Person(other, "ada")
        assert them.user == ada.user
        theirs, ours = stack.enter_context(them.listen()), stack.enter_context(ada.listen())
        ready(theirs), ready(ours)
        ada.ask("/tell/ours/")
        assert texts(ours, 1) == ["ours"]
        them.ask("/tell/theirs/")
        assert texts(theirs, 1) == ["theirs"]
        # Nor do a session and a token of the one open the other.
        assert refusal_of(other.listen(**ada.headers)) == 4401
        assert other.ask("/tasks/events/", Authorization=f"Bearer {ada.token()}").status == 401


# --- who hears what ------------------------------------------------------------------------------------------------


def test_two_users_hear_each_their_own(ada: Person, bob: Person) -> None:
    with ada.listen() as hers, bob.listen() as his:
        stream = bob.stream()
        for listener in (hers, his, stream):
            ready(listener)
        for number in range(3):
            ada.ask(f"/tell/ada-{number}/")
            bob.ask(f"/tell/bob-{number}/")
        assert texts(hers, 3) == ["ada-0", "ada-1", "ada-2"]
        assert texts(his, 3) == texts(stream, 3) == ["bob-0", "bob-1", "bob-2"]
        stream.close()


def test_a_token_opens_each_door_for_its_user(ada: Person) -> None:
    token = ada.token()
    by_token = {"Authorization": f"Bearer {token}"}
    with ada.project.listen("?auth=message") as listener:
        listener.send(json.dumps({"token": token}))
        stream = Stream(ada.project, **by_token)
        position = ready(listener)
        assert ready(stream) == position
        ada.ask("/tell/by-token/")
        assert texts(listener, 1) == texts(stream, 1) == ["by-token"]
        stream.close()
    page = json.load(ada.project.ask(f"/tasks/events/?since={position}", **by_token))
    assert [event["data"]["payload"]["text"] for event in page["events"]] == ["by-token"]


def test_each_tenant_hears_its_own_and_takes_its_own_tokens(project: Project) -> None:
    red, blue = (Person(project, "dan", host=f"{tenant}.localhost") for tenant in ("red", "blue"))
    assert red.user == blue.user
    with red.listen() as at_red, blue.listen() as at_blue:
        ready(at_red), ready(at_blue)
        red.ask("/tell/red/")
        blue.ask("/tell/blue/")
        assert texts(at_red, 1) == ["red"]
        assert texts(at_blue, 1) == ["blue"]
    header = {"Authorization": f"Bearer {red.token()}"}
    assert project.ask("/tasks/events/", host="red.localhost", **header).status == 200
    assert project.ask("/tasks/events/", host="blue.localhost", **header).status == 401
    with project.listen("?auth=message", host="blue.localhost") as listener:
        listener.send(json.dumps({"token": red.token()}))
        assert code_of(listener) == 4401


def test_a_page_that_polls_hears_all_of_it(ada: Person) -> None:
    page = ada.ask("/tasks/events/")
    for number in range(3):
        ada.ask(f"/tell/polled-{number}/")
    page = ada.ask(f"/tasks/events/?since={page['epoch']}:{page['seq']}")
    assert [event["data"]["payload"]["text"] for event in page["events"]] == ["polled-0", "polled-1", "polled-2"]
    assert not page["reset"]
    assert ada.ask(f"/tasks/events/?since={page['epoch']}:{page['seq']}")["events"] == []


def test_a_stream_goes_on_where_it_was_after_a_restart_of_the_server(ada: Person) -> None:
    stream = ada.stream()
    ready(stream)
    ada.ask("/tell/before/")
    assert texts(stream, 1) == ["before"]
    ada.ask("/tell/missed/")
    ada.project.kill()
    ada.project.start()
    ada.ask("/tell/missed-too/")
    again = ada.stream(**{"Last-Event-ID": stream.last_id})
    assert texts(again, 2) == ["missed", "missed-too"]
    assert ready(again) == again.last_id
    ada.ask("/tell/after/")
    assert texts(again, 1) == ["after"]
    again.close()


def test_of_a_page_that_is_gone_nothing_is_left(ada: Person, redis: str) -> None:
    import redis as client

    server = client.Redis.from_url(redis)

    def nobody_listens() -> None:
        assert not [name for name in server.pubsub_channels() if b"__group__tc." in name]

    ada.stream().close()
    with ada.listen() as listener:
        ready(listener)
    try:
        eventually(nobody_listens)
    finally:
        server.close()


def test_no_secret_is_in_what_the_server_said(project: Project, ada: Person, bob: Person) -> None:
    token = ada.token()
    ada.ask("/tasks/events/", Authorization=f"Bearer {token}")
    with ada.listen() as listener:
        ready(listener)
    said = project.said + "\n".join(project.web.lines)
    assert said
    for secret in (ada.session, bob.session, token):
        assert secret not in said
