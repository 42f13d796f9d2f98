"""Test process. What is soaked: two Redis, a worker of four processes, a web server and who asks for work; some can be killed."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from example.servers import HOST, ROOT, Child, ServerFailed, listen, plan_redis, redis_answers, stop, wait_until
from integration.events.link import Link, link_to

SETTINGS = "integration.events.soaked.settings"
APPLICATION = "integration.events.soaked.asgi:application"
WORKER = ("celery", "-A", "tasks_celery", "worker", "-P", "prefork", "-c", "4", "-l", "INFO")
#: What a worker has no use for when it is the only one.
ALONE = ("--without-gossip", "--without-mingle", "--without-heartbeat")
WEB = {
    "daphne": ("daphne", "--fd", "{fd}", "-v", "0", "{application}"),
    "uvicorn": ("integration.events.soaked.uvicorn", "{fd}", "{application}"),
}


class Redis:
    """A Redis of the run's own, on a Unix socket. What it has answered outlives its being killed."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        plan = plan_redis({"PATH": os.environ["PATH"]}, directory)
        if plan.url is None:
            raise ServerFailed(f"The soak kills its Redis, which {plan.label} is not made for: install redis-server.")
        self.url = plan.url
        self.path = plan.url.removeprefix("unix://")
        # Written before it answers, and not in the background as with `everysec`; that the disk has it, matters only to
        # one whose machine goes too.
        self._command = (*plan.command, "--appendonly", "yes", "--appendfsync", "no")
        self.start()

    def start(self) -> None:
        """Start it, or start it again."""
        self.child = Child("redis", self._command, env=os.environ)
        wait_until(lambda: redis_answers(self.url), what="Redis", watch=[self.child])

    def kill(self) -> None:
        """End it without a warning."""
        self.child.process.kill()
        self.child.process.wait()

    def stop(self) -> None:
        stop([self.child])


class Web:
    """A web server on a port that stays the run's own while the server is down."""

    def __init__(self, server: str, env: Mapping[str, str], *, application: str = APPLICATION) -> None:
        self.lives: list[Child] = []
        self._listener = listen()
        self.place = f"{HOST}:{self._listener.getsockname()[1]}"
        fd = self._listener.fileno()
        words = [word.format(fd=fd, application=application) for word in WEB[server]]
        self._command, self._env, self._fd = [sys.executable, "-m", *words], env, fd
        self.launch()

    def launch(self) -> None:
        """Start it, or start it again; `wait` until it answers."""
        self.child = Child("web", self._command, env=self._env, pass_fds=[self._fd])
        self.lives.append(self.child)

    def wait(self) -> None:
        """Return once it answers."""
        self.stand_still(0)

    def kill(self) -> None:
        """End it without a warning."""
        self.child.process.kill()
        self.child.process.wait()

    def stand_still(self, seconds: float) -> None:
        """Block its event loop for so long."""
        self.get(f"?{seconds}")

    def get(self, path: str) -> str:
        """Return what it answers to a request."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://{self.place}/{path}", timeout=60) as answer:
            return str(answer.read().decode())

    def stop(self) -> None:
        stop([self.child])
        self._listener.close()


class Producer:
    """The child process that asks for work."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "integration.events.soaked.producer"],
            cwd=ROOT,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, *words: object) -> Any:
        """Return its answer to one line."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """All that runs within `servers`."""

    redis: Redis
    link: Link
    web: Web
    worker: Child
    producer: Producer
    people: list[tuple[str, str]]

    def last_lines(self) -> str:
        """Return the end of what web server and worker wrote."""
        return "\n".join(child.last_lines(30) for child in (self.worker, *self.web.lives))


@contextlib.contextmanager
def servers(
    directory: Path, *, layer: str, log: str, server: str, database: Mapping[str, Any], users: int, breaks: bool
) -> Iterator[Servers]:
    """Run all of them for this block; the web server reaches its Redis over the link."""
    with contextlib.ExitStack() as stack:

        def started(child: Any) -> Any:
            stack.callback(child.stop)
            return child

        broker, redis = started(Redis(directory / "broker")), started(Redis(directory / "redis"))
        link = stack.enter_context(link_to(redis.path))
        soaked = {"broker": broker.url, "layer": layer, "log": log, "database": dict(database), "breaks": breaks}

        def env(redis_url: str) -> dict[str, str]:
            return os.environ | {
                "DJANGO_SETTINGS_MODULE": SETTINGS,
                "PYTHONUNBUFFERED": "1",
                "SOAKED": json.dumps(soaked | {"redis": redis_url}),
            }

        producer = started(Producer(env(redis.url)))
        worker = Child("worker", [sys.executable, "-m", *WORKER, *ALONE], env=env(redis.url), ready_line=" ready.")
        stack.callback(stop, [worker])
        web = started(Web(server, env(link.url)))
        people = producer.ask("people", users)
        web.wait()
        wait_until(worker.said_ready.is_set, what="the worker", watch=[worker])
        yield Servers(redis=redis, link=link, web=web, worker=worker, producer=producer, people=people)
