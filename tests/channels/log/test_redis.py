"""What is Redis' own in the log of events; fakeredis here, and integration/events/test_logs.py asks a real one."""

from __future__ import annotations

from typing import Any
from unittest import mock
from uuid import uuid4

import fakeredis
import pytest
import redis

from tasks_celery.channels.log import Cursor, EventLogError, Position
from tasks_celery.channels.log.redis import CHUNK, RedisLog
from tests.channels.log.cases import a_stream, an_entry, begun, follow, kept
from tests.channels.log.test_contract import OPTIONS, a_fake_redis
from tests.shop.running import until
from tests.stores.test_pushing import Breaking


@pytest.fixture
def host() -> str:
    return uuid4().hex


@pytest.fixture
def log(host: str) -> RedisLog:
    return a_fake_redis(host)


@pytest.fixture
def client(host: str) -> redis.Redis:
    return fakeredis.FakeRedis.from_url(f"redis://{host}:1/0", decode_responses=True)


def breaks(log: RedisLog, error: Exception, *, after: int | None = 0) -> None:
    """Let the next connection of a log break once it has given so many answers; None: as it is asked."""
    # Else the server knows the script not, and has done nothing when the connection breaks.
    kept(log, an_entry(a_stream()))
    connection = log._caller._pool.make_connection()
    connection.connect()
    log._caller._idle[:] = [Breaking(connection, error, after=after)]


# --- refusals


def test_a_server_that_is_away_keeps_nothing_and_says_what_to_do() -> None:
    log = RedisLog("unix:///nowhere/at/all.sock", **OPTIONS, key_prefix="x:", timeout=0.5)
    found = log.append([an_entry("s") for _ in range(2 * CHUNK + 1)])
    assert len(found) == 2 * CHUNK + 1
    for each in found:
        assert isinstance(each, EventLogError)
        assert isinstance(each.__cause__, redis.ConnectionError)
    for ask in (lambda: log.read([Cursor("s")]), lambda: log.tops(["s"])):
        with pytest.raises(EventLogError, match=r"TASK_EVENTS\['LOG'\]") as caught:
            ask()
        assert isinstance(caught.value.__cause__, redis.RedisError)


def test_a_server_that_is_away_is_asked_for_a_connection_once(log: RedisLog) -> None:
    connecting = mock.Mock(side_effect=redis.ConnectionError("refused"))
    with mock.patch.object(log._caller._pool, "make_connection", connecting):
        log.append([an_entry("s") for _ in range(3 * CHUNK)])
    assert connecting.call_count == 1


def test_a_log_waits_for_half_of_its_time_at_most_twice() -> None:
    log = RedisLog("redis://203.0.113.1:1/0", **OPTIONS, key_prefix="x:", timeout=3)
    parameters = log._caller._pool.connection_kwargs
    assert (parameters["socket_timeout"], parameters["socket_connect_timeout"]) == (1.5, 1.5)


@pytest.mark.parametrize("wrong", [{"body": "\ud800"}, {"key": "\udfff"}, {"stream": "\ud800"}], ids=str)
def test_a_text_that_cannot_be_sent_is_refused_and_no_other(log: RedisLog, wrong: dict[str, str]) -> None:
    stream = a_stream()
    before, odd, after = an_entry(stream), an_entry(stream)._replace(**wrong), an_entry(stream)
    found = log.append([before, odd, after])
    assert isinstance(found[1], EventLogError)
    assert "UTF-8" in str(found[1])
    assert isinstance(found[0], Position)
    assert found[2] == Position(found[0].epoch, 2)


def test_a_stream_whose_name_cannot_be_sent_is_not_there(log: RedisLog) -> None:
    assert log.tops(["\ud800"]) == [None]


def test_a_key_of_another_kind_is_an_error_and_uses_up_no_number(log: RedisLog, client: redis.Redis) -> None:
    stream, other = a_stream(), a_stream()
    start = begun(log, stream)
    client.set(f"test:event_log:{stream}", "no stream")
    found = log.append([an_entry(stream), an_entry(other)])
    assert isinstance(found[0], EventLogError)
    assert "WRONGTYPE" in str(found[0])
    assert isinstance(found[1], Position)
    assert log.tops([stream]) == [start]
    with pytest.raises(EventLogError, match="WRONGTYPE"):
        log.read([Cursor(stream, start)])
    client.delete(f"test:event_log:{stream}")
    assert kept(log, an_entry(stream)) == [Position(start.epoch, 1)]


# --- answers that do not come


@pytest.mark.parametrize("after", [None, 0, 1, 3])
def test_a_connection_that_breaks_in_mid_append_costs_no_event_and_doubles_none(
    log: RedisLog, after: int | None
) -> None:
    stream = a_stream()
    start = begun(log, stream)
    entries = [an_entry(stream) for _ in range(4)]
    breaks(log, redis.ConnectionError("reset by peer"), after=after)
    assert kept(log, *entries) == [Position(start.epoch, number) for number in range(1, 5)]
    assert follow(log, stream, start) == [entry.body for entry in entries]


def test_an_event_whose_answer_takes_too_long_is_an_error_and_not_doubled_when_it_is_appended_again(
    log: RedisLog,
) -> None:
    stream = a_stream()
    start = begun(log, stream)
    entries = [an_entry(stream) for _ in range(3)]
    breaks(log, redis.TimeoutError("Timeout reading from socket"), after=1)
    found = log.append(entries)
    assert found[0] == Position(start.epoch, 1)
    for each in found[1:]:
        assert isinstance(each, EventLogError)
        assert "may have been done, or not" in str(each)
        assert isinstance(each.__cause__, redis.TimeoutError)
    kept(log, *entries[1:], again=True)
    assert follow(log, stream, start) == [entry.body for entry in entries]


@pytest.mark.parametrize("after", [None, 0])
def test_a_question_over_a_connection_that_was_closed_is_asked_again(log: RedisLog, after: int | None) -> None:
    stream = a_stream()
    top = kept(log, an_entry(stream))[0]
    breaks(log, redis.ConnectionError("closed"), after=after)
    assert log.read([Cursor(stream)])[0].top == top
    breaks(log, redis.ConnectionError("closed"), after=after)
    assert log.tops([stream]) == [top]


def test_a_question_whose_answer_takes_too_long_is_an_error(log: RedisLog) -> None:
    for ask in (lambda: log.read([Cursor("s"), Cursor("s")]), lambda: log.tops(["s"])):
        breaks(log, redis.TimeoutError("Timeout reading from socket"))
        with pytest.raises(EventLogError, match="answer is missing"):
            ask()


def test_an_event_whose_first_sending_arrives_after_its_second_is_kept_once(log: RedisLog) -> None:
    entry = an_entry("s")
    positions = kept(log, entry, an_entry("s"), again=True)
    assert kept(log, entry) == positions[:1]
    assert kept(log, an_entry("s"))[0].seq == 3


def test_scripts_that_the_server_forgot_are_loaded_again(log: RedisLog, client: redis.Redis) -> None:
    stream = a_stream()
    kept(log, an_entry(stream))
    client.script_flush()
    assert kept(log, an_entry(stream), an_entry(stream))[-1].seq == 3


# --- eviction and expiry


def test_a_top_that_was_evicted_begins_another_epoch_without_the_old_events(log: RedisLog, client: redis.Redis) -> None:
    for again in (False, True):
        stream = a_stream()
        old = kept(log, an_entry(stream), an_entry(stream))[-1]
        client.delete(f"test:event_top:{stream}")
        assert log.tops([stream]) == [None]
        entry = an_entry(stream)
        (top,) = kept(log, entry, again=again)
        assert top.seq == 1
        assert top.epoch != old.epoch
        assert log.read([Cursor(stream, old)])[0].is_lost
        assert follow(log, stream, Position(top.epoch, 0)) == [entry.body]


def test_a_top_that_was_evicted_is_told_to_who_reads(log: RedisLog, client: redis.Redis) -> None:
    stream = a_stream()
    old = kept(log, an_entry(stream), an_entry(stream))[-1]
    client.delete(f"test:event_top:{stream}")
    (slice_,) = log.read([Cursor(stream, old)])
    assert slice_.is_lost
    assert slice_.top is not None
    assert slice_.top.seq == 0
    assert not client.exists(f"test:event_log:{stream}")


def test_events_that_were_evicted_are_lost_and_numbers_go_on(log: RedisLog, client: redis.Redis) -> None:
    stream = a_stream()
    old = kept(log, an_entry(stream), an_entry(stream))[-1]
    client.delete(f"test:event_log:{stream}")
    assert log.read([Cursor(stream, old)])[0].bodies == ()
    before = Position(old.epoch, 1)
    assert log.read([Cursor(stream, before)])[0].is_lost
    entry = an_entry(stream)
    assert kept(log, entry) == [Position(old.epoch, 3)]
    assert log.read([Cursor(stream, before)])[0].is_lost
    assert log.read([Cursor(stream, old)])[0].bodies == (entry.body,)


def test_both_keys_expire(log: RedisLog, client: redis.Redis) -> None:
    stream = a_stream()
    kept(log, an_entry(stream))
    keys = sorted(client.keys("*"))
    assert keys == [f"test:event_log:{stream}", f"test:event_top:{stream}"]
    for key in keys:
        assert 3_500_000 < client.pttl(key) <= 3_600_000


@pytest.mark.parametrize("ask", ["append", "read", "tops"])
def test_a_stream_that_is_asked_for_does_not_age_away(log: RedisLog, client: redis.Redis, ask: str) -> None:
    stream = a_stream()
    begun(log, stream)
    top = f"test:event_top:{stream}"
    client.pexpire(top, 5_000)
    {
        "append": lambda: kept(log, an_entry(stream)),
        "read": lambda: begun(log, stream),
        "tops": lambda: log.tops([stream]),
    }[ask]()
    assert client.pttl(top) > 3_500_000


def test_to_ask_for_a_top_keeps_no_event_longer(log: RedisLog, client: redis.Redis) -> None:
    stream = a_stream()
    kept(log, an_entry(stream))
    client.pexpire(f"test:event_log:{stream}", 5_000)
    log.tops([stream])
    begun(log, stream)
    assert client.pttl(f"test:event_log:{stream}") <= 5_000


def test_no_more_events_than_are_kept_lie_there(host: str, client: redis.Redis) -> None:
    log, stream = a_fake_redis(host, keep=7), a_stream()
    for number in range(1, 20):
        kept(log, an_entry(stream))
        assert client.xlen(f"test:event_log:{stream}") == min(number, 7)


def test_events_that_are_too_old_leave_as_others_come(host: str, client: redis.Redis) -> None:
    log, stream = a_fake_redis(host, keep_for=0.1), a_stream()
    kept(log, *(an_entry(stream) for _ in range(20)))

    def most_are_gone() -> bool:
        top = kept(log, an_entry(stream))[0]
        return int(client.xlen(f"test:event_log:{stream}")) < top.seq - 20

    until(most_are_gone)


def test_a_reader_is_shown_no_event_that_is_too_old_though_younger_ones_are_there(
    host: str, client: redis.Redis
) -> None:
    log, stream, now = a_fake_redis(host), a_stream(), int(client.time()[0]) * 1000
    start, bodies = begun(log, stream), []
    for number in range(1, 251):
        age = 3_700_000 if number <= 220 else 0
        client.xadd(f"test:event_log:{stream}", {"key": "k", "body": str(number)}, id=f"{number}-{now - age}")
        bodies.append(str(number))
    client.hset(f"test:event_top:{stream}", "seq", 250)
    assert log.read([Cursor(stream, start)])[0].is_lost
    assert log.read([Cursor(stream, Position(start.epoch, 219))])[0].is_lost
    assert follow(log, stream, Position(start.epoch, 220)) == bodies[220:]
    assert client.xlen(f"test:event_log:{stream}") == 30


def test_events_that_are_to_be_kept_for_ever_are_kept_for_long(host: str, client: redis.Redis) -> None:
    log, stream = a_fake_redis(host, keep_for=1e300), a_stream()
    kept(log, an_entry(stream))
    assert client.pttl(f"test:event_log:{stream}") > 10**11


# --- others in the same server


def test_key_prefixes_keep_projects_apart(host: str) -> None:
    one, two = (a_fake_redis(host, key_prefix=prefix) for prefix in ("one:", "two:"))
    stream = a_stream()
    top = kept(one, an_entry(stream))[0]
    assert two.tops([stream]) == [None]
    assert kept(two, an_entry(stream), an_entry(stream))[0].epoch != top.epoch
    assert one.tops([stream]) == [top]


def test_numbers_above_a_thousand_million_million_are_told_as_they_are(log: RedisLog, client: redis.Redis) -> None:
    stream = a_stream()
    start = begun(log, stream)
    client.hset(f"test:event_top:{stream}", "seq", 10**15)
    assert kept(log, an_entry(stream)) == [Position(start.epoch, 10**15 + 1)]
    assert log.tops([stream]) == [Position(start.epoch, 10**15 + 1)]
    assert len(log.read([Cursor(stream, Position(start.epoch, 10**15))])[0].bodies) == 1


def test_a_log_connects_to_nothing_when_it_is_made(log: Any) -> None:
    with mock.patch.object(redis.connection.ConnectionPool, "make_connection") as connecting:
        RedisLog("redis://203.0.113.1:1/0", **OPTIONS, key_prefix="x:", timeout=1)
    connecting.assert_not_called()
