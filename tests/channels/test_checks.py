from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from django.core.checks import run_checks

from tasks_celery.backend import CeleryBackend
from tasks_celery.channels import checks
from tasks_celery.channels.checks import layers as layer_checks
from tasks_celery.channels.checks import middleware as middleware_checks
from tasks_celery.channels.middleware import AudienceMiddleware
from tasks_celery.channels.notify import Rule
from tasks_celery.compat import API_MODULE

CORE = "channels_redis.core.RedisChannelLayer"
PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"
MEMORY = "channels.layers.InMemoryChannelLayer"
OURS = "tasks_celery.channels.middleware.AudienceMiddleware"
AUTH = "django.contrib.auth.middleware.AuthenticationMiddleware"
URL = "redis://:secret@localhost:6379/0"
KEPT = {"LOG": URL}
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
    monkeypatch.setattr(layer_checks, "version", lambda name: "8.1.0")


@pytest.fixture(autouse=True)
def _events_are_kept(settings: Any) -> None:
    settings.TASK_EVENTS = KEPT


class OurBackend(CeleryBackend):
    """A project's own backend on ours."""


def separate_worker(
    settings: Any,
    broker: str = "redis://localhost/0",
    *,
    eager: bool = False,
    pool: str = "prefork",
    results: Any = None,
) -> None:
    # No real app: Celery keeps a list of them, in which other tests would find it.
    OurBackend.app = SimpleNamespace(
        conf=SimpleNamespace(broker_write_url=broker, task_always_eager=eager, worker_pool=pool, result_backend=results)
    )
    settings.TASKS = {"default": {"BACKEND": f"{__name__}.OurBackend"}}


# --- the layer ----------------------------------------------------------------------------------------------


def test_the_settings_of_these_tests_are_good(settings: Any) -> None:
    settings.TASK_EVENTS = {}
    assert found() == []
    assert [message for message in run_checks() if str(message.id).startswith("tasks_celery.")] == []


@pytest.mark.parametrize("configured", [None, {}, {"other": {"BACKEND": MEMORY}}, [], "text"])
def test_no_layer_is_an_error(settings: Any, configured: Any) -> None:
    settings.CHANNEL_LAYERS = configured
    assert found() == ["E101"]


def test_no_layer_is_none_where_pages_are_served_from_the_log(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {}
    settings.TASK_EVENTS = KEPT | {"LAYER": None}
    assert found() == []


def test_the_cure_for_no_layer_names_both_ways(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {}
    (message,) = layer_checks.layer_is_missing()
    assert "channels_redis.core" in str(message.hint)
    assert "'LAYER': None" in str(message.hint)


def test_a_layer_that_only_task_events_names_is_an_error(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": MEMORY}, "other": {"BACKEND": MEMORY}}
    settings.TASK_EVENTS = KEPT | {"LAYER": "others"}
    assert found() == ["E109"]
    settings.TASK_EVENTS = KEPT | {"LAYER": "other"}
    assert found() == []


def test_the_layer_that_task_events_names_is_the_one_looked_at(settings: Any) -> None:
    separate_worker(settings)
    settings.CHANNEL_LAYERS = layers(CORE, GOOD) | {"local": {"BACKEND": MEMORY}}
    assert found() == []
    settings.TASK_EVENTS = KEPT | {"LAYER": "local"}
    assert found() == ["E102"]


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
    (message,) = layer_checks.core_layer_loses_idle_sockets()
    assert "CHANNEL_LAYERS['default']['CONFIG']['hosts'][1]" in message.msg


def test_a_host_with_a_time_but_no_number_is_only_warned_of(settings: Any) -> None:
    settings.CHANNEL_LAYERS = layers(CORE, {"address": URL, "socket_timeout": None})
    assert found() == ["W101"]


@pytest.mark.parametrize("installed", ["7.2.0", "5.0", "unknown"])
def test_redis_before_8_needs_none_of_it(settings: Any, installed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_checks, "version", lambda name: installed)
    settings.CHANNEL_LAYERS = layers(CORE, URL)
    assert found() == []


def test_without_redis_nothing_is_said_of_it(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_there(name: str) -> str:
        raise layer_checks.PackageNotFoundError(name)

    monkeypatch.setattr(layer_checks, "version", not_there)
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
        monkeypatch.setattr(middleware_checks, "known_rules", lambda rules=rules: rules)
        assert found() == ["W103"]


def test_where_every_rule_names_its_audience_the_middleware_is_not_missed(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MIDDLEWARE = [AUTH]
    monkeypatch.setattr(middleware_checks, "known_rules", lambda: [Rule(event="a", to=7)])
    assert found() == []


def test_the_middleware_before_authentication_is_an_error(settings: Any) -> None:
    settings.MIDDLEWARE = [OURS, AUTH]
    assert found() == ["E104"]


class OurMiddleware(AudienceMiddleware):
    """A project's own."""


@pytest.mark.parametrize(
    "middleware",
    [[AUTH, OURS], [OURS], [AUTH, f"{__name__}.OurMiddleware"], [AUTH, "django.views.csrf.csrf_failure", OURS]],
)
def test_the_middleware_after_authentication_is_good(settings: Any, middleware: list[str]) -> None:
    settings.MIDDLEWARE = middleware
    assert found() == []


# --- what TASK_EVENTS says --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [None, "text", {"KEEEP": 7}, {"KEEP": 0}, {"LOG": "http://:secret@localhost"}])
def test_task_events_that_cannot_be_read_are_an_error_and_nothing_follows_from_it(settings: Any, said: Any) -> None:
    separate_worker(settings)
    settings.CHANNEL_LAYERS = {}
    settings.TASK_EVENTS = said
    assert found() == ["E105"]


def plain(*args: Any) -> str:
    return "a"


async def later(*args: Any) -> str:
    return "a"


@pytest.mark.parametrize("key", ["TENANT", "OLD_MESSAGE"])
@pytest.mark.parametrize("name", ["nothing", "later", "KEPT"])
def test_a_function_that_is_not_there_is_an_error(settings: Any, key: str, name: str) -> None:
    settings.TASK_EVENTS = KEPT | {key: f"{__name__}.{name}"}
    assert found() == ["E108"]
    settings.TASK_EVENTS = KEPT | {key: "no.such.function"}
    assert found() == ["E108"]
    settings.TASK_EVENTS = KEPT | {key: f"{__name__}.plain"}
    assert found() == []


# --- the log ----------------------------------------------------------------------------------------------------------


def test_no_place_for_the_log_is_warned_of_unless_it_was_said(settings: Any) -> None:
    settings.CHANNEL_LAYERS = layers(CORE, GOOD)
    settings.TASK_EVENTS = {}
    assert found() == ["W104"]
    settings.TASK_EVENTS = {"LOG": "none://"}
    assert found() == []


def test_the_log_is_where_the_records_are_without_a_word(settings: Any) -> None:
    separate_worker(settings, results=URL)
    settings.CHANNEL_LAYERS = layers(CORE, GOOD)
    settings.TASK_EVENTS = {}
    assert found() == []


@pytest.mark.parametrize("said", [{}, {"LOG": "none://"}])
def test_neither_layer_nor_log_is_an_error(settings: Any, said: dict[str, Any]) -> None:
    settings.TASK_EVENTS = said | {"LAYER": None}
    assert found() == ["E111"]


def test_a_log_in_memory_with_a_worker_elsewhere_is_an_error(settings: Any) -> None:
    settings.CHANNEL_LAYERS = layers(CORE, GOOD)
    settings.TASK_EVENTS = {"LOG": "memory://"}
    assert found() == []
    separate_worker(settings)
    assert found() == ["E110"]


def test_a_log_in_the_database_needs_its_app(settings: Any) -> None:
    settings.TASK_EVENTS = {"LOG": "database://"}
    assert found() == []
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if not app.startswith("tasks_celery.database")]
    assert found() == ["E106"]


def test_a_log_in_a_database_that_is_not_there_is_an_error(settings: Any) -> None:
    settings.TASK_EVENTS = {"LOG": "database://events"}
    assert found() == ["E112"]
    settings.TASK_EVENTS = {"LOG": "database://default"}
    assert found() == []


# --- green pools ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pool", "module", "names"),
    [
        ("gevent", "gevent.monkey", ["get_original", "is_module_patched"]),
        ("eventlet", "eventlet.patcher", ["original", "is_monkey_patched"]),
    ],
)
def test_a_green_pool_without_original_threads_is_an_error(
    settings: Any, monkeypatch: pytest.MonkeyPatch, pool: str, module: str, names: list[str]
) -> None:
    library = ModuleType(module)
    monkeypatch.setitem(sys.modules, module.partition(".")[0], ModuleType(pool))
    monkeypatch.setitem(sys.modules, module, library)
    settings.CHANNEL_LAYERS = layers(CORE, GOOD)
    separate_worker(settings, pool=pool)
    assert found() == ["E107"]
    for name in names:
        setattr(library, name, plain)
    assert found() == []


def test_a_green_pool_that_is_not_installed_is_for_celery_to_say(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "eventlet", None)
    monkeypatch.setitem(sys.modules, "eventlet.patcher", None)
    settings.CHANNEL_LAYERS = layers(CORE, GOOD)
    separate_worker(settings, pool="eventlet")
    assert found() == []


@pytest.mark.parametrize(
    "asked",
    [
        {"QUEUE_NAME": "nowhere"},
        {"BACKEND": "nowhere"},
        {"EXPIRES": "soon"},
        {"SOFT_TIME_LIMIT": 9, "TIME_LIMIT": 5},
        {"PRIORITY": 101},
    ],
)
def test_a_channel_that_asks_for_what_no_task_can_have_is_an_error(settings: Any, asked: dict[str, Any]) -> None:
    settings.CHANNEL_LAYERS = layers(CORE, GOOD)
    settings.TASK_EVENTS = KEPT | {"CHANNELS": {"letters": {"QUEUE_NAME": "reports"}, "thumbnails": asked}}
    (message,) = checks.check_channels()
    assert message.id == "tasks_celery.E113"
    assert "TASK_EVENTS['CHANNELS']['thumbnails']" in message.msg


def test_channels_that_ask_for_what_can_be_are_good(settings: Any) -> None:
    settings.CHANNEL_LAYERS = layers(CORE, GOOD)
    settings.TASK_EVENTS = KEPT | {"CHANNELS": {"*": {"QUEUE_NAME": "reports", "EXPIRES": 60, "TIME_LIMIT": 5}}}
    assert found() == []
