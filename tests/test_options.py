"""OPTIONS of a TASKS alias: what is refused, and what the rest becomes."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from tasks_celery.exceptions import OptionsError
from tasks_celery.options import Options, parse_options


def test_unknown_keys_are_refused_with_the_list_of_known_ones() -> None:
    with pytest.raises(OptionsError) as caught:
        parse_options("other", {"RESULT": "memory://", "TIMEOUTS": 3, "APP": "proj.celery.app"})
    message = str(caught.value)
    assert "TASKS['other']" in message
    assert "'RESULT', 'TIMEOUTS'" in message
    known = (
        "APP, DELAYED_DELIVERY, ENQUEUE_ON_COMMIT, GRACE, KEY_PREFIX, LEASE, MOVE_EVERY, RESULTS, SWEEP_EVERY, TIMEOUT"
    )
    assert known in message


def test_keys_are_upper_case() -> None:
    with pytest.raises(OptionsError, match="'results'"):
        parse_options("default", {"results": "memory://"})


def test_a_key_that_is_no_text_is_refused_too() -> None:
    with pytest.raises(OptionsError):
        parse_options("default", {1: "memory://", "x": 2})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("APP", ""),
        ("APP", 3),
        ("APP", object()),
        ("RESULTS", ""),
        ("RESULTS", b"memory://"),
        ("RESULTS", "postgres://host/db"),
        ("RESULTS", "host:6379"),
        ("KEY_PREFIX", None),
        ("KEY_PREFIX", 3),
        ("TIMEOUT", 0),
        ("TIMEOUT", -1),
        ("TIMEOUT", "5"),
        ("TIMEOUT", True),
        ("TIMEOUT", None),
        ("TIMEOUT", float("nan")),
        ("TIMEOUT", float("inf")),
        ("LEASE", None),
        ("LEASE", 0),
        ("GRACE", "60"),
        ("SWEEP_EVERY", 0),
        ("SWEEP_EVERY", False),
        ("MOVE_EVERY", 0),
        ("MOVE_EVERY", -0.5),
        ("MOVE_EVERY", "0.5"),
        ("MOVE_EVERY", False),
        ("MOVE_EVERY", float("inf")),
        ("DELAYED_DELIVERY", None),
        ("DELAYED_DELIVERY", 1),
        ("DELAYED_DELIVERY", "yes"),
        ("ENQUEUE_ON_COMMIT", None),
        ("ENQUEUE_ON_COMMIT", 1),
        ("ENQUEUE_ON_COMMIT", ""),
        ("ENQUEUE_ON_COMMIT", "replica"),
        ("ENQUEUE_ON_COMMIT", ["default"]),
    ],
)
def test_values_of_the_wrong_kind_are_refused_by_name(key: str, value: Any) -> None:
    with pytest.raises(OptionsError, match=rf"TASKS\['default'\]\['OPTIONS'\]\['{key}'\]"):
        parse_options("default", {key: value})


def test_a_refused_url_does_not_show_its_password() -> None:
    with pytest.raises(OptionsError) as caught:
        parse_options("default", {"RESULTS": "postgres://user:secret@host/db"})
    assert "secret" not in str(caught.value)


def test_a_database_that_is_not_there_is_refused_with_those_that_are() -> None:
    with (
        mock.patch.object(settings, "DATABASES", {"default": {}, "other": {}}),
        pytest.raises(
            OptionsError, match="is 'replica'; it has to be True, False, or one of DATABASES: 'default', 'other'"
        ),
    ):
        parse_options("default", {"ENQUEUE_ON_COMMIT": "replica"})


def test_a_wrong_option_is_improper_configuration_to_django() -> None:
    assert issubclass(OptionsError, ImproperlyConfigured)


def test_no_options_are_the_defaults() -> None:
    assert parse_options("default", {}) == Options()


def test_options_are_taken_as_they_are() -> None:
    raw = {"APP": "proj.celery.app", "RESULTS": "redis://host/1", "TIMEOUT": 2, "KEY_PREFIX": ""}
    assert parse_options("default", raw) == Options(
        app="proj.celery.app", results="redis://host/1", timeout=2, key_prefix=""
    )


@pytest.mark.parametrize("scheme", ["redis", "rediss", "unix", "redis+socket", "socket", "memory"])
def test_each_known_kind_of_store_is_taken(scheme: str) -> None:
    assert parse_options("default", {"RESULTS": f"{scheme}://x"}).results == f"{scheme}://x"


@pytest.mark.parametrize("value", [True, False, "default", "other"])
def test_commit_is_the_default_databases_or_that_of_another(value: bool | str) -> None:
    with mock.patch.object(settings, "DATABASES", {"default": {}, "other": {}}):
        assert parse_options("default", {"ENQUEUE_ON_COMMIT": value}).enqueue_on_commit == value


def test_a_project_without_databases_may_say_default() -> None:
    with mock.patch.object(settings, "DATABASES", {}):
        assert parse_options("default", {"ENQUEUE_ON_COMMIT": "default"}).enqueue_on_commit == "default"


@pytest.mark.parametrize("value", [None, 0.1, 60])
def test_the_mover_may_look_as_often_as_it_is_told_or_never(value: float | None) -> None:
    assert parse_options("default", {"MOVE_EVERY": value}).move_every == value


def test_delayed_delivery_is_off_unless_asked_for() -> None:
    assert not parse_options("default", {}).delayed_delivery
    assert parse_options("default", {"DELAYED_DELIVERY": True}).delayed_delivery


# --- where django-tasks had it


@pytest.mark.parametrize("value", [True, False, "default"])
def test_enqueue_on_commit_may_stand_beside_the_options(value: Any) -> None:
    assert parse_options("default", {}, beside={"ENQUEUE_ON_COMMIT": value, "QUEUES": []}).enqueue_on_commit == value


def test_enqueue_on_commit_is_not_said_twice() -> None:
    with pytest.raises(OptionsError, match=r"TASKS\['default'\] has ENQUEUE_ON_COMMIT twice"):
        parse_options("default", {"ENQUEUE_ON_COMMIT": True}, beside={"ENQUEUE_ON_COMMIT": True})


def test_a_wrong_value_beside_the_options_is_refused_too() -> None:
    with pytest.raises(OptionsError, match="ENQUEUE_ON_COMMIT"):
        parse_options("default", {}, beside={"ENQUEUE_ON_COMMIT": "nowhere"})


def test_a_backend_reads_what_stands_beside_its_options() -> None:
    from tasks_celery import CeleryBackend

    assert CeleryBackend("default", {"ENQUEUE_ON_COMMIT": True}).settings.enqueue_on_commit is True
