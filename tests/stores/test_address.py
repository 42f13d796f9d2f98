"""Two that name one Redis server have one address, whoever reads their URLs."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from kombu import Connection

from tasks_celery.stores.address import Address, address_of, database_of
from tasks_celery.stores.redis import RedisStore


def of_store(url: str) -> tuple[Address, int]:
    store = RedisStore(url, key_prefix="x:", timeout=1)
    return store.address, store.db


def of_broker(url: str, monkeypatch: pytest.MonkeyPatch, **options: Any) -> tuple[Address, int]:
    """Return what a channel of kombu's would connect to; it asks for an answer as it is made."""
    with monkeypatch.context() as patch:
        patch.setattr(redis.Redis, "ping", lambda client: True)
        parameters = Connection(url, **options).default_channel._connparams()
    return address_of(parameters), database_of(parameters)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("redis://one:6379", "redis://two:6379"),
        ("redis://one:6379", "redis://one:6380"),
        ("redis://one:6379", "rediss://one:6379"),
        ("redis://me@one:6379", "redis://one:6379"),
        ("redis://me:secret@one:6379", "redis://you:secret@one:6379"),
        ("redis://one:6379", "unix:///run/redis.sock"),
        ("unix:///run/redis.sock", "unix:///run/other.sock"),
    ],
)
def test_another_server_or_user_has_another_address(one: str, other: str) -> None:
    assert of_store(one)[0] != of_store(other)[0]


@pytest.mark.parametrize(
    ("url", "address", "db"),
    [
        ("redis://one", Address(server="one:6379"), 0),
        ("redis://:secret@ONE:7000/3", Address(server="one:7000"), 3),
        ("redis://me:secret@one/3", Address(server="one:6379", username="me"), 3),
        ("redis+socket:///run/redis.sock?virtual_host=4", Address(server="/run/redis.sock"), 4),
        ("rediss://one/1?ssl_cert_reqs=CERT_NONE", Address(server="one:6379", tls=True), 1),
        ("redis://127.0.0.1:6379/", Address(server="127.0.0.1:6379"), 0),
    ],
)
def test_a_store_and_a_broker_of_one_url_have_one_address(
    url: str, address: Address, db: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert of_store(url) == (address, db)
    assert of_broker(url, monkeypatch) == (address, db)


def test_a_broker_is_known_by_its_options_too(monkeypatch: pytest.MonkeyPatch) -> None:
    found = of_broker("redis://one", monkeypatch, ssl={"ssl_cert_reqs": "none"}, virtual_host="/5")
    assert found == (Address(server="one:6379", tls=True), 5)


@pytest.mark.parametrize(
    ("parameters", "db"),
    [({}, 0), ({"virtual_host": None}, 0), ({"virtual_host": "/"}, 0), ({"virtual_host": "/2"}, 2)],
)
def test_a_database_is_the_first_unless_it_is_named(parameters: dict[str, Any], db: int) -> None:
    assert database_of(parameters) == db


def test_a_name_is_the_same_in_large_letters() -> None:
    assert address_of({"host": "ONE"}) == address_of({"host": "one", "port": "6379"})


def test_an_address_tells_no_secret() -> None:
    assert "secret" not in repr(of_store("redis://me:secret@one/3"))
