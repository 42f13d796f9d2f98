from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.core.checks import run_checks

from tasks_celery.channels import checks
from tasks_celery.channels.notify import Rule
from tasks_celery.compat import API_MODULE

CORE = "channels_redis.core.RedisChannelLayer"
PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"
MEMORY = "channels.layers.InMemoryChannelLayer"
OURS = "tasks_celery.channels.middleware.AudienceMiddleware"
AUTH = "django.contrib.auth.middleware.AuthenticationMiddleware"
URL = "redis://:secret@localhost:6379/0"
GOOD = {"address": URL, "socket_timeout": None, "max_connections": 5000}


def layers(backend: Any = CORE, *hosts: Any, **config: Any) -> dict[str, Any]:
    return {"default": {"BACKEND": backend, "CONFIG": {"hosts": list(hosts), **config}}}


def found() -> list[str]:
    """Return the ids of what is found; each message says what, and has a cure."""
    messages = checks.check_channels()
    for message in messages:
        assert message.hint
        assert "secret" not in f"{message.msg} {message.hint}"
    return [str(message.id).removeprefix("tasks_celery.") for message in messages]


@pytest.fixture(autouse=True)
def _redis_8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "version", lambda name: "8.1.0")


class OurBackend(checks.CeleryBackend):
    """A project's own backend on ours."""


def separate_worker(settings: Any, broker: str = "redis://localhost/0", *, eager: bool = False) -> None:
    # No real app: Celery keeps a list of them, in which other tests would find it.
    OurBackend.app = SimpleNamespace(conf=SimpleNamespace(broker_write_url=broker, task_always_eager=eager))
    settings.TASKS = {"default": {"BACKEND": f"{__name__}.OurBackend"}}


# --- the layer ----------------------------------------------------------------------------------------------


def test_the_settings_of_these_tests_are_good() -> None:
    assert found() == []
    assert [message for message in run_checks() if str(message.id).startswith("tasks_celery.")] == []


@pytest.mark.parametrize("configured", [None, {}, {"other": {"BACKEND": MEMORY}}, [], "text"])
def test_no_layer_is_an_error(settings: Any, configured: Any) -> None:
    settings.CHANNEL_LAYERS = configured
    assert found() == ["E101"]


def test_a_layer_in_memory_with_a_worker_elsewhere_is_an_error(settings: Any) -> None:
    separate_worker(settings)
    assert found() == ["E102"]


def test_a_layer_in_memory_is_good_where_tasks_run_in_this_process(settings: Any) -> None:
    separate_worker(settings, eager=True)
    assert found() == []
    separate_worker(settings, "memory://")
    assert found() == []


def test_a_layer_in_memory_is_good_with_djangos_immediate_backend(settings: Any) -> None:
    settings.TASKS = {"default": {"BACKEND": f"{API_MODULE}.backends.immediate.ImmediateBackend"}}
    assert found() == []


def test_a_backend_that_does_not_work_is_for_the_cores_checks(settings: Any) -> None:
    settings.TASKS = {
        "default": {"BACKEND": "tasks_celery.CeleryBackend", "OPTIONS": {"APP": "no.such.app"}},
        "gone": {"BACKEND": "no.such.Backend"},
    }
    assert found() == []


@pytest.mark.parametrize(
    "host",
    [
        URL,
        ("localhost", 6379),
        ["localhost", 6379],
        {"address": URL},
        {"host": "localhost", "port": 6379},
        {"address": URL, "socket_timeout": 5},
        {"address": URL, "socket_timeout": "no number"},
        {"address": f"{URL}?socket_timeout=5"},
        {"address": f"{URL}?socket_timeout=5", "socket_timeout": None},
        {"sentinels": [("localhost", 26379)], "master_name": "main"},
        "redis://[broken",
    ],
)
def test_a_host_of_the_core_layer_that_loses_idle_sockets_is_an_error(settings: Any, host: Any) -> None:
    settings.CHANNEL_LAYERS = layers(CORE, host)
    assert found() == ["E103", "W101"]


@pytest.mark.parametrize(
    "config", [{}, {"CONFIG": {}}, {"CONFIG": None}, {"CONFIG": {"hosts": None}}, {"CONFIG": {"hosts": URL}}]
)
def test_the_hosts_that_are_not_given_count_as_given_without_options(settings: Any, config: Any) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": CORE, **config}}
    assert found() == ["E103", "W101"]


@pytest.mark.parametrize(
    "host",
    [
        GOOD,
        {"address": URL, "socket_timeout": 6, "max_connections": 5000},
        f"{URL}?socket_timeout=30&max_connections=500",
        {"sentinels": [("localhost", 26379)], "master_name": "main", "socket_timeout": None, "max_connections": 500},
    ],
)
def test_a_host_that_keeps_idle_sockets_is_good(settings: Any, host: Any) -> None:
    settings.CHANNEL_LAYERS = layers(CORE, host)
    assert found() == []


def test_each_host_of_each_layer_is_looked_at_and_named(settings: Any) -> None:
    settings.CHANNEL_LAYERS = layers(CORE, GOOD, URL) | {"second": {"BACKEND": CORE, "CONFIG": {"hosts": [GOOD]}}}
    (message,) = checks.core_layer_loses_idle_sockets()
    assert "CHANNEL_LAYERS['default']['CONFIG']['hosts'][1]" in message.msg


def test_a_host_with_a_time_but_no_number_is_only_warned_of(settings: Any) -> None:
    settings.CHANNEL_LAYERS = layers(CORE, {"address": URL, "socket_timeout": None})
    assert found() == ["W101"]


@pytest.mark.parametrize("installed", ["7.2.0", "5.0", "unknown"])
def test_redis_before_8_needs_none_of_it(settings: Any, installed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "version", lambda name: installed)
    settings.CHANNEL_LAYERS = layers(CORE, URL)
    assert found() == []


def test_without_redis_nothing_is_said_of_it(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_there(name: str) -> str:
        raise checks.PackageNotFoundError(name)

    monkeypatch.setattr(checks, "version", not_there)
    settings.CHANNEL_LAYERS = layers(CORE, URL)
    assert found() == []


@pytest.mark.parametrize("config", [{}, {"prefix": "asgi"}])
def test_a_pubsub_layer_with_the_default_prefix_is_warned_of(settings: Any, config: dict[str, Any]) -> None:
    settings.CHANNEL_LAYERS = layers(PUBSUB, URL, **config)
    assert found() == ["W102"]


def test_a_pubsub_layer_with_a_prefix_of_its_own_is_good(settings: Any) -> None:
    settings.CHANNEL_LAYERS = layers(PUBSUB, URL, prefix="shop")
    assert found() == []


@pytest.mark.parametrize(
    "layer", [None, "text", {}, {"BACKEND": None}, {"BACKEND": "no.such.Layer"}, {"BACKEND": "nodots"}]
)
def test_a_layer_that_cannot_be_read_is_left_to_channels(settings: Any, layer: Any) -> None:
    settings.CHANNEL_LAYERS = {"default": layer}
    assert found() == []


# --- the middleware ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("middleware", [[], None, [AUTH], [AUTH, "no.such.Middleware"]])
def test_without_the_middleware_is_warned_of(settings: Any, middleware: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.MIDDLEWARE = middleware
    for rules in ([], [Rule(event="a"), Rule(event="b", to=7)]):
        monkeypatch.setattr(checks, "known_rules", lambda rules=rules: rules)
        assert found() == ["W103"]


def test_where_every_rule_names_its_audience_the_middleware_is_not_missed(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MIDDLEWARE = [AUTH]
    monkeypatch.setattr(checks, "known_rules", lambda: [Rule(event="a", to=7)])
    assert found() == []


def test_the_middleware_before_authentication_is_an_error(settings: Any) -> None:
    settings.MIDDLEWARE = [OURS, AUTH]
    assert found() == ["E104"]


class OurMiddleware(checks.AudienceMiddleware):
    """A project's own."""


@pytest.mark.parametrize(
    "middleware",
    [[AUTH, OURS], [OURS], [AUTH, f"{__name__}.OurMiddleware"], [AUTH, "django.views.csrf.csrf_failure", OURS]],
)
def test_the_middleware_after_authentication_is_good(settings: Any, middleware: list[str]) -> None:
    settings.MIDDLEWARE = middleware
    assert found() == []
