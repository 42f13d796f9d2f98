"""Records and messages in one call; Redis is fakeredis here, and integration/test_stores.py asks a real one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock
from uuid import uuid4

import fakeredis
import pytest
import redis

from tasks_celery.exceptions import StoreError
from tasks_celery.stores import AnswerMissing
from tasks_celery.stores.redis import CHUNK, Entry, RedisStore
from tests.stores.making import HOUR, WHEN, a_record, an_attempt

KEY = "queue\x06\x163"


@pytest.fixture
def store() -> RedisStore:
    """A store on a server of its own: fakeredis goes by the name of the host."""
    with mock.patch.object(redis, "Redis", fakeredis.FakeRedis):
        return RedisStore(f"redis://{uuid4().hex}:1/0", key_prefix="test:", timeout=1)


def an_entry(text: str = "{}", *, db: int = 0, **changes: Any) -> Entry:
    return Entry(a_record(**{"due": WHEN} | changes), HOUR, db, KEY, text)


def pushed(store: RedisStore, db: int = 0) -> list[str]:
    """Return what lies in the list, the first that was pushed first."""
    client = fakeredis.FakeRedis.from_url(f"redis://{store.address.server}/{db}", decode_responses=True)
    return client.lrange(KEY, 0, -1)[::-1]


class Breaking:
    """A connection that breaks: at what it is asked to do, or in place of some of its answers."""

    def __init__(self, connection: Any, error: Exception, *, after: int | None) -> None:
        self._connection, self._error, self._left = connection, error, after

    def send_packed_command(self, packed: Any) -> None:
        if self._left is None:
            raise self._error
        self._connection.send_packed_command(packed)

    def read_response(self) -> Any:
        if not self._left:
            raise self._error
        self._left -= 1
        return self._connection.read_response()


def breaks(store: RedisStore, error: Exception, *, after: int | None = 0) -> None:
    """Let the next connection of a store break once it has given so many answers; None: as it is asked."""
    connection = store._client.connection_pool.make_connection()
    connection.connect()
    store._caller._idle[:] = [Breaking(connection, error, after=after)]


# --- refusals


def test_nothing_to_push_asks_nothing() -> None:
    store = RedisStore("unix:///nowhere/at/all.sock", key_prefix="x:", timeout=0.5)
    assert store.create_and_push([]) == []


def test_a_server_that_is_away_has_done_nothing() -> None:
    store = RedisStore("unix:///nowhere/at/all.sock", key_prefix="x:", timeout=0.5)
    found = store.create_and_push([an_entry() for _ in range(2 * CHUNK)])
    assert len(found) == 2 * CHUNK
    for each in found:
        assert type(each) is StoreError
        assert isinstance(each.__cause__, redis.ConnectionError)


def test_a_server_that_is_away_is_asked_for_a_connection_once(store: RedisStore) -> None:
    connecting = mock.Mock(side_effect=redis.ConnectionError("refused"))
    with mock.patch.object(store._caller._pool, "make_connection", connecting):
        store.create_and_push([an_entry() for _ in range(3 * CHUNK)])
    assert connecting.call_count == 1


@pytest.mark.parametrize("odd", [{"text": "\ud800"}, {"name": "x", "queue_name": "\ud800"}], ids=ascii)
def test_a_text_that_cannot_be_sent_is_refused_before_anything_is(store: RedisStore, odd: dict[str, Any]) -> None:
    with pytest.raises(StoreError, match="UTF-8"):
        store.create_and_push([an_entry(), an_entry(**odd)])
    assert pushed(store) == []


def test_a_task_whose_like_is_there_is_neither_kept_nor_pushed(store: RedisStore) -> None:
    first, second, third = an_entry("1", unique="k"), an_entry("2", unique="k"), an_entry("3")
    assert store.create_and_push([first]) == [None]
    assert store.create_and_push([second, third, second]) == [first.record.id, None, first.record.id]
    assert store.get(second.record.id) is None
    assert pushed(store) == ["1", "3"]


def test_what_is_no_list_is_an_error_and_nothing_is_kept(store: RedisStore) -> None:
    store._client.set(KEY, "no list")
    wrong, right = an_entry(unique="k"), an_entry()._replace(key="other")
    found = store.create_and_push([wrong, right])
    assert type(found[0]) is StoreError
    assert "WRONGTYPE" in str(found[0])
    assert found[1] is None
    assert store.get(wrong.record.id) is None
    assert store.get(right.record.id) == right.record
    assert store.create(a_record(unique="k"), lifetime=HOUR) is None


# --- what is done


@pytest.mark.parametrize("db", [0, 5])
@pytest.mark.parametrize(
    "changes",
    [{}, {"expires": WHEN, "sending": {"link": []}, "unique": "k"}, {"due": None}],
    ids=["plain", "more", "bare"],
)
def test_a_record_is_kept_as_create_keeps_it_and_its_message_pushed(
    store: RedisStore, db: int, changes: dict[str, Any]
) -> None:
    entry, plain = an_entry("☃", db=db, **changes), a_record(**{"due": WHEN} | changes | {"unique": ""})
    assert store.create_and_push([entry]) == [None]
    assert pushed(store, db) == ["☃"]
    assert store.get(entry.record.id) == entry.record
    store.create(plain, lifetime=HOUR)
    one, other = (store._client.hgetall(f"test:result:{each.id}") for each in (entry.record, plain))
    assert set(one) - {"unique", "unique_until"} == set(other)
    for key in ("test:ready:reports", "test:expires"):
        ids = store._client.zrange(key, 0, -1)
        assert (entry.record.id in ids) == (plain.id in ids)
    assert 0 < store._client.pttl(f"test:result:{entry.record.id}") <= HOUR * 1000


def test_the_database_of_the_store_stays_its_own(store: RedisStore) -> None:
    entries = [an_entry(db=db) for db in (3, 0, 3)]
    store.create_and_push(entries)
    store.create_and_push(entries[:1])
    later = a_record()
    store.create(later, lifetime=HOUR)
    assert [store.get(each.id) for each in (entries[0].record, entries[1].record, later)] == [
        entries[0].record,
        entries[1].record,
        later,
    ]
    assert (len(pushed(store, 3)), len(pushed(store, 0))) == (3, 1)


def test_many_are_pushed_in_their_order(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks_celery.stores.redis.CHUNK", 20)
    entries = [an_entry(str(number)) for number in range(45)]
    assert store.create_and_push(entries) == [None] * len(entries)
    assert pushed(store) == [str(number) for number in range(45)]
    assert store.get(entries[-1].record.id) == entries[-1].record


def test_long_messages_are_sent_a_few_at_a_time(store: RedisStore) -> None:
    with mock.patch.object(store._caller, "_exchange", wraps=store._caller._exchange) as exchange:
        store.create_and_push([an_entry("x" * 300_000) for _ in range(10)])
    # The script is loaded for the first of them.
    assert [len(call.args[0]) for call in exchange.call_args_list] == [4, 4, 4, 2]
    assert len(pushed(store)) == 10


def test_a_task_that_is_there_already_is_pushed_and_stays_as_it_is(store: RedisStore) -> None:
    entry = an_entry()
    store.create(entry.record, lifetime=HOUR)
    running = store.claim(entry.record, an_attempt(), lifetime=HOUR)
    assert store.create_and_push([entry]) == [None]
    assert pushed(store) == ["{}"]
    assert store.get(entry.record.id) == running


def test_a_script_that_is_not_loaded_has_done_nothing_and_is_loaded(store: RedisStore) -> None:
    for entries in ([an_entry("1")], [an_entry("2"), an_entry("3")]):
        store._client.script_flush()
        assert store.create_and_push(entries) == [None] * len(entries)
    assert pushed(store) == ["1", "2", "3"]


# --- connections that break


GONE = redis.ConnectionError("Connection closed by server.")
SLOW = redis.TimeoutError("Timeout reading from socket")


def test_a_message_whose_answer_was_lost_is_pushed_once(store: RedisStore) -> None:
    store.create_and_push([an_entry("0")])
    for entries in ([an_entry("1")], [an_entry("2"), an_entry("3")]):
        # It is in the list when the connection breaks.
        breaks(store, GONE, after=len(entries) - 1)
        assert store.create_and_push(entries) == [None] * len(entries)
    assert pushed(store) == ["0", "1", "2", "3"]


def test_a_message_that_did_not_arrive_is_pushed_over_a_new_connection(store: RedisStore) -> None:
    store.create_and_push([an_entry("0")])
    breaks(store, GONE, after=None)
    assert store.create_and_push([an_entry("1"), an_entry("2")]) == [None, None]
    assert pushed(store) == ["0", "1", "2"]


def _stays_away(store: RedisStore) -> None:
    breaks(store, GONE, after=1)
    store._caller._pool.make_connection = mock.Mock(side_effect=redis.ConnectionError("refused"))  # type: ignore[method-assign]


def _is_slow(store: RedisStore) -> None:
    breaks(store, SLOW, after=1)


@pytest.mark.parametrize("how", [_stays_away, _is_slow])
def test_what_was_answered_is_known_and_the_rest_is_open(store: RedisStore, how: Callable[[RedisStore], None]) -> None:
    store.create_and_push([an_entry("0")])
    how(store)
    found = store.create_and_push([an_entry(str(number)) for number in range(1, 4)])
    assert found[0] is None
    for each in found[1:]:
        assert isinstance(each, AnswerMissing)
        assert "its answer is missing" in str(each)
        assert isinstance(each.__cause__, redis.RedisError)


def test_a_message_whose_answer_was_lost_is_pushed_once_by_a_server_that_forgot_the_script(store: RedisStore) -> None:
    # As one that was started again.
    store.create_and_push([an_entry("0")])
    breaks(store, GONE, after=1)
    (connection,) = store._caller._idle
    asked = connection.send_packed_command
    connection.send_packed_command = lambda packed: (asked(packed), store._client.script_flush())
    assert store.create_and_push([an_entry("1"), an_entry("2")]) == [None, None]
    assert pushed(store) == ["0", "1", "2"]


def test_an_error_of_the_second_time_does_not_say_that_the_first_did_nothing(store: RedisStore) -> None:
    store.create_and_push([an_entry("0")])
    breaks(store, GONE, after=None)
    store._client.delete(KEY)
    store._client.set(KEY, "no list")
    (found,) = store.create_and_push([an_entry("1")])
    assert isinstance(found, AnswerMissing)


def test_a_script_that_cannot_be_loaded_has_done_nothing(store: RedisStore) -> None:
    store._client.script_flush()
    with mock.patch.object(store._caller, "ask", side_effect=redis.ConnectionError("gone")):
        (found,) = store.create_and_push([an_entry("1")])
    assert type(found) is StoreError
    assert pushed(store) == []


def test_many_records_are_kept_over_a_new_connection(store: RedisStore) -> None:
    store.create_many([a_record()], lifetimes=[HOUR])
    breaks(store, GONE, after=1)
    records = [a_record(unique=f"k{number}") for number in range(3)]
    assert store.create_many(records, lifetimes=[HOUR] * 3) == [None] * 3
    assert [store.get(record.id) for record in records] == records


def test_many_records_of_which_some_may_be_kept_are_a_store_error(store: RedisStore) -> None:
    store.create_many([a_record()], lifetimes=[HOUR])
    _is_slow(store)
    with pytest.raises(AnswerMissing, match=r"OPTIONS\['RESULTS'\]"):
        store.create_many([a_record(), a_record()], lifetimes=[HOUR, HOUR])


def test_a_single_call_is_made_again_over_a_new_connection(store: RedisStore) -> None:
    record = a_record()
    store.create(record, lifetime=HOUR)
    for after in (None, 0):
        breaks(store, GONE, after=after)
        assert store.get(record.id) == record
    attempt = an_attempt()
    breaks(store, GONE)
    claimed = store.claim(record, attempt, lifetime=HOUR)
    assert claimed is not None
    assert claimed.attempt == 1


def test_a_single_call_whose_answer_takes_too_long_is_not_made_again(store: RedisStore) -> None:
    record = a_record()
    breaks(store, SLOW)
    with pytest.raises(StoreError, match="Timeout reading"):
        store.get(record.id)


def test_a_broken_connection_is_not_used_again(store: RedisStore) -> None:
    breaks(store, SLOW)
    with pytest.raises(StoreError):
        store.get("x")
    assert store.get("x") is None
