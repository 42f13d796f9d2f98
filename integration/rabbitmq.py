"""Test process. A private RabbitMQ: a node of its own name, in a directory of its own, on free ports.

It knows nothing of a RabbitMQ that the machine runs: neither its node names (an epmd of its own), nor its cookie
(a HOME of its own), nor its configuration.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from example.servers import HOST, Child, stop, wait_until

# Debian's rabbitmq-server on PATH changes the user and the directory before it calls this one.
PLACES = ("/usr/lib/rabbitmq/bin", "/usr/local/sbin", "/opt/homebrew/sbin")
STARTED = "Server startup complete"
START_WITHIN = 90.0  # seconds; an idle machine of two cores needs 5


def find_rabbitmq() -> str | None:
    """Return the path of rabbitmq-server, None where it, or Erlang's epmd, is not installed."""
    path = os.pathsep.join([*PLACES, os.environ.get("PATH", os.defpath)])
    return shutil.which("rabbitmq-server", path=path) if shutil.which("epmd") else None


@contextlib.contextmanager
def rabbitmq(*, config: Mapping[str, str] | None = None, parameters: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run a RabbitMQ for this block and yield its amqp:// URL.

    `config` is written to its rabbitmq.conf; `parameters` are for what has no name there, as Erlang has them.
    Raise `ServerFailed` where it does not come up.
    """
    with rabbitmq_server(config=config, parameters=parameters) as (url, _):
        yield url


@contextlib.contextmanager
def rabbitmq_server(
    *, config: Mapping[str, str] | None = None, parameters: Mapping[str, str] | None = None
) -> Iterator[tuple[str, Child]]:
    """Run a RabbitMQ for this block; yield its URL and its process, for who wants to stop or freeze it."""
    with tempfile.TemporaryDirectory(prefix="rabbitmq-", ignore_cleanup_errors=True) as directory:
        amqp, names, talk = _free_ports(3)
        env = _environment(Path(directory), amqp=amqp, names=names, talk=talk, config=config or {})
        env["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"] += "".join(
            f" -rabbit {name} {value}" for name, value in (parameters or {}).items()
        )
        epmd = Child("epmd", ["epmd", "-port", str(names), "-address", HOST], env=env)
        children = [epmd]
        try:
            wait_until(lambda: _listens(names), what="epmd", watch=[epmd])
            node = Child("rabbitmq", [str(find_rabbitmq())], env=env, ready_line=STARTED)
            children.insert(0, node)
            wait_until(node.said_ready.is_set, what="RabbitMQ", watch=children, limit=START_WITHIN)
            yield f"amqp://guest:guest@{HOST}:{amqp}//", node
        finally:
            # Nothing of it is kept, so it need not take its time. One that a test has frozen hears nothing else.
            stop(children, within=0)


def _free_ports(count: int) -> list[int]:
    # Held together until all are known: the system gives a port that was freed to the next who asks.
    with contextlib.ExitStack() as held:
        listeners = [held.enter_context(socket.create_server((HOST, 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False


def _environment(directory: Path, *, amqp: int, names: int, talk: int, config: Mapping[str, str]) -> dict[str, str]:
    settings = directory / "rabbitmq.conf"
    settings.write_text("".join(f"{name} = {value}\n" for name, value in config.items()))
    plugins = directory / "enabled_plugins"
    plugins.write_text("[].\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
    return kept | {
        "HOME": str(directory),  # where Erlang keeps its cookie
        "ERL_EPMD_PORT": str(names),
        "ERL_EPMD_ADDRESS": HOST,
        "RABBITMQ_CONF_ENV_FILE": os.devnull,
        "RABBITMQ_CONFIG_FILE": str(settings),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
        "RABBITMQ_NODENAME": "tests@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": HOST,
        "RABBITMQ_NODE_PORT": str(amqp),
        "RABBITMQ_DIST_PORT": str(talk),
        "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
        "RABBITMQ_LOG_BASE": str(directory / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_PID_FILE": str(directory / "pid"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
    }
