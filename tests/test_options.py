"""OPTIONS of a TASKS alias: what is refused, and what the rest becomes."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from tasks_celery.exceptions import OptionsError
from tasks_celery.options import Options, parse_options


def test_unknown_keys_are_refused_with_the_list_of_known_ones() -> None:
    with pytest.raises(OptionsError) as caught:
        parse_options("other", {"RESULT": "memory://", "TIMEOUTS": 3, "APP": "proj.celery.app"})
    message = str(caught.value)
    assert "TASKS['other']" in message
    assert "'RESULT', 'TIMEOUTS'" in message
    assert "APP, GRACE, KEY_PREFIX, LEASE, RESULTS, SWEEP_EVERY, TIMEOUT" in message


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
    ],
)
def test_values_of_the_wrong_kind_are_refused_by_name(key: str, value: Any) -> None:
    with pytest.raises(OptionsError, match=rf"TASKS\['default'\]\['OPTIONS'\]\['{key}'\]"):
        parse_options("default", {key: value})


def test_a_refused_url_does_not_show_its_password() -> None:
    with pytest.raises(OptionsError) as caught:
        parse_options("default", {"RESULTS": "postgres://user:secret@host/db"})
    assert "secret" not in str(caught.value)


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
