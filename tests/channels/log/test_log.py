"""Which log is the project's."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from django.test.utils import modify_settings, override_settings

from tasks_celery import results
from tasks_celery.channels.log import EventLogError, find_log, log_url, open_log
from tasks_celery.channels.log.database import DatabaseLog
from tasks_celery.channels.log.memory import MemoryLog
from tasks_celery.channels.log.nowhere import NoLog
from tasks_celery.channels.log.redis import RedisLog
from tasks_celery.channels.options import EventOptions, event_options
from tasks_celery.exceptions import OptionsError, TasksCeleryError

REDIS_LAYER = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer"}}


def records_in(where: str) -> dict[str, Any]:
    return {"default": {"BACKEND": "tasks_celery.CeleryBackend", "OPTIONS": {"RESULTS": where}}}


def test_an_error_of_the_log_is_ours() -> None:
    assert issubclass(EventLogError, TasksCeleryError)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("memory://", MemoryLog),
        ("none://", NoLog),
        ("redis://203.0.113.1:1/0", RedisLog),
        ("unix:///nowhere.sock", RedisLog),
        ("redis+socket:///nowhere.sock?virtual_host=2", RedisLog),
        ("database://", DatabaseLog),
    ],
)
def test_a_log_is_opened_by_its_url(url: str, kind: type) -> None:
    assert type(open_log(url, EventOptions())) is kind


@pytest.mark.parametrize(
    ("url", "alias"), [("database://", "default"), ("database:", "default"), ("database://other/", "other")]
)
def test_a_database_is_named_by_its_alias(url: str, alias: str) -> None:
    log = open_log(url, EventOptions())
    assert isinstance(log, DatabaseLog)
    assert log.alias == alias


@pytest.mark.parametrize("layer", ["default", None])
def test_a_database_notifies_where_there_is_no_layer(layer: str | None) -> None:
    log = open_log("database://", EventOptions(layer=layer))
    assert isinstance(log, DatabaseLog)
    assert log._notifies is (layer is None)


def test_a_database_without_its_app_says_what_to_do() -> None:
    with (
        modify_settings(INSTALLED_APPS={"remove": ["tasks_celery.database", "tests.database"]}),
        pytest.raises(OptionsError, match=r"Add 'tasks_celery.database' to INSTALLED_APPS"),
    ):
        open_log("database://without", EventOptions())


@pytest.mark.parametrize("url", ["redis://localhost:port/0", "redis://[::1/0"])
def test_a_url_that_cannot_be_read_is_named_so(url: str) -> None:
    with pytest.raises(OptionsError, match="The log of events has a URL that cannot be read"):
        open_log(url, EventOptions())


def test_redis_without_its_client_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tasks_celery.channels.log.redis")
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(OptionsError, match=r"pip install 'tasks-celery\[redis\]'"):
        open_log("redis://without-its-client", EventOptions())


# --- where that is


def test_the_option_says_where_events_are_kept() -> None:
    with override_settings(TASK_EVENTS={"LOG": "none://"}):
        assert log_url(event_options()) == "none://"
        assert isinstance(find_log(), NoLog)


@pytest.mark.parametrize("where", ["redis://203.0.113.1:1/0", "database://"])
def test_events_are_kept_where_records_are(where: str) -> None:
    with override_settings(TASKS=records_in(where)):
        assert log_url(EventOptions()) == where


def test_events_are_kept_in_the_database_where_only_rows_are(monkeypatch: pytest.MonkeyPatch) -> None:
    # No backend of ours, and the app of the database.
    monkeypatch.setattr(results, "keeps_rows", lambda: True)
    with override_settings(TASKS={}):
        assert log_url(EventOptions()) == "database://"


def test_events_of_one_process_are_kept_in_memory_where_the_layer_is() -> None:
    with override_settings(TASKS=records_in("memory://")):
        assert log_url(EventOptions()) == "memory://"


@pytest.mark.parametrize(("layers", "layer"), [(REDIS_LAYER, "default"), (REDIS_LAYER, None), ({}, "default")])
def test_events_are_kept_nowhere_where_every_process_would_count_for_itself(layers: Any, layer: str | None) -> None:
    with override_settings(TASKS=records_in("memory://"), CHANNEL_LAYERS=layers):
        assert log_url(EventOptions(layer=layer)) == "none://"


# --- one for each


def test_one_owner_has_one_log() -> None:
    with override_settings(TASK_EVENTS={"LOG": "redis://203.0.113.1:1/0"}):
        assert find_log() is find_log()
        assert find_log(owner="thread") is find_log(owner="thread")
        assert find_log(owner="thread") is not find_log()


def test_events_in_memory_are_the_same_for_all_owners() -> None:
    with override_settings(TASK_EVENTS={"LOG": "memory://"}):
        assert find_log(owner="thread") is find_log()


def test_other_settings_are_another_log() -> None:
    with override_settings(TASK_EVENTS={"LOG": "none://"}):
        before = find_log()
    with override_settings(TASK_EVENTS={"LOG": "redis://203.0.113.1:1/0"}):
        assert find_log() is not before


def test_a_log_that_cannot_be_opened_is_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with override_settings(TASK_EVENTS={"LOG": "redis://203.0.113.1:1/7"}):
        with monkeypatch.context() as patch:
            patch.delitem(sys.modules, "tasks_celery.channels.log.redis")
            patch.setitem(sys.modules, "redis", None)
            with pytest.raises(OptionsError):
                find_log()
        assert find_log() is not None


def test_no_log_keeps_nothing_and_refuses_nothing() -> None:
    from tasks_celery.channels.log import Cursor, Entry, Position, Slice

    log, entry = NoLog(), Entry("s", "k", "b")
    assert log.append([entry, entry], again=True) == [None, None]
    assert log.read([Cursor("s"), Cursor("s", Position("e", 3))]) == [Slice(None), Slice(None)]
    assert log.tops(["s"]) == [None]
    log.tidy()
