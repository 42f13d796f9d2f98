"""What `manage.py check` says: a message with an id and a hint for each thing that is wrong, and nothing else."""

from __future__ import annotations

import socket
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, _state, shared_task
from django.core import checks as django_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import override_settings
from kombu import Queue

from tasks_celery import adopt, checks, task, twin
from tasks_celery.checks import priority as priority_checks
from tasks_celery.compat import task_backends
from tests.shop import tasks
from tests.shop.running import a_foreign_task, apps_kept, configured, the_app

BACKEND = "tasks_celery.CeleryBackend"
MEMORY = {"RESULTS": "memory://"}


def quorum(name: str, **options: Any) -> Queue:
    """Return a queue of its own for each test: Celery writes into what a queue is declared with."""
    return Queue(name, queue_arguments={"x-queue-type": "quorum"}, **options)


def ids_for(options: dict[str, Any] | None = None, **alias: Any) -> list[str]:
    """Return the ids of what is said of an alias, each with a text and a hint."""
    setting = {"BACKEND": BACKEND, "OPTIONS": options or {}} | alias
    with override_settings(TASKS={"default": setting}):
        found = list(task_backends["default"].check())
    for message in found:
        assert message.msg
        assert message.hint
    return [str(message.id) for message in found]


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    """An app at `checked.app` that only these tests see."""
    app = Celery("checked", set_as_current=False, broker="memory://", backend="cache+memory://")
    module = types.ModuleType("checked")
    module.app = app
    monkeypatch.setitem(sys.modules, "checked", module)
    # Of the tasks of other tests some have a priority, and not every broker here has an order.
    known = set(twin.registered())
    monkeypatch.setattr(
        priority_checks,
        "registered",
        lambda: {name: each for name, each in twin.registered().items() if name not in known or each is tasks.add},
    )
    # Every app has the plain tasks of other tests.
    others, is_plain = set(the_app().tasks), priority_checks._is_plain
    monkeypatch.setattr(priority_checks, "_is_plain", lambda name, task: name not in others and is_plain(name, task))
    with apps_kept():
        yield app
    app.close()


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a check that connects."""  # contract 48

    def refuse(*args: Any, **kwargs: Any) -> None:
        pytest.fail("a check connected")

    monkeypatch.setattr(socket.socket, "connect", refuse)


# --- each message


@pytest.mark.parametrize("options", [{"RESULT": "x"}, {"TIMEOUT": "5"}, {"RESULTS": "mysql://x"}, {"KEY_PREFIX": 3}])
def test_options_that_cannot_be_used_are_e001(options: dict[str, Any]) -> None:
    assert ids_for(options) == ["tasks_celery.E001"]


@pytest.mark.parametrize("path", ["no.such.app", "nodots", "tests.settings.TASKS", ":", ".app"])
def test_an_app_that_is_none_is_e002(path: str) -> None:
    assert ids_for({"APP": path}) == ["tasks_celery.E002"]


@pytest.mark.parametrize("source", ["raise ValueError('broken')", "def (", "import no_such_module"], ids=str)
def test_an_app_whose_module_breaks_is_e002_and_no_exception(
    source: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_app.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    assert ids_for({"APP": "broken_app.app"}) == ["tasks_celery.E002"]


def test_an_app_beside_the_settings_that_breaks_is_said_and_no_exception(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "breaking").mkdir()
    (tmp_path / "breaking" / "__init__.py").touch()
    (tmp_path / "breaking" / "celery.py").write_text("raise ValueError('broken')")
    monkeypatch.syspath_prepend(tmp_path)
    with override_settings(TASKS={"default": {"BACKEND": BACKEND}}, SETTINGS_MODULE="breaking.settings"):
        assert [message.id for message in task_backends["default"].check()] == ["tasks_celery.E002"]


def test_a_clash_of_names_is_e003_each_time_it_is_looked_for(project: Celery, registry: None) -> None:
    task(name="shop.checked")(tasks.add.func)
    _ = project.tasks
    project._tasks.pop("shop.checked")
    a_foreign_task(project, "shop.checked")
    for _ in range(2):
        assert ids_for({"APP": "checked.app"}) == ["tasks_celery.E003"]


@pytest.mark.parametrize("url", ["redis://host:no-port/0", "redis://host/0?socket_timeout=abc"])
def test_a_store_whose_url_cannot_be_read_is_e004(url: str) -> None:
    assert ids_for({"RESULTS": url}) == ["tasks_celery.E004"]


def test_a_store_without_its_client_is_e004(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tasks_celery.stores.redis", raising=False)
    monkeypatch.setitem(sys.modules, "redis", None)
    assert ids_for({"RESULTS": "redis://host-without-client/0"}) == ["tasks_celery.E004"]


def test_records_in_memory_with_a_separate_worker_are_e005(project: Celery) -> None:
    project.conf.broker_url = "redis://host/0"
    assert ids_for({"APP": "checked.app", "RESULTS": "memory://"}) == ["tasks_celery.E005"]


def test_records_in_memory_are_right_where_tasks_run_in_the_same_process(project: Celery) -> None:
    project.conf.update(broker_url="redis://host/0", task_always_eager=True)
    assert ids_for({"APP": "checked.app", "RESULTS": "memory://"}) == []


def test_queues_that_celery_does_not_know_are_e006(project: Celery) -> None:
    from kombu import Queue

    project.conf.update(task_create_missing_queues=False, task_queues=[Queue("default")])
    assert ids_for({"APP": "checked.app"}, QUEUES=["default", "reports"]) == ["tasks_celery.E006"]


def test_queues_that_celery_makes_itself_are_right(project: Celery) -> None:
    assert ids_for({"APP": "checked.app"}, QUEUES=["default", "reports"]) == []


@pytest.mark.parametrize("backend", [None, "rpc://", "django-db", "db+sqlite:///x"])
def test_no_place_for_records_is_w001(project: Celery, backend: str | None) -> None:
    project.conf.update(result_backend=backend, broker_url="amqp://")
    assert ids_for({"APP": "checked.app"}) == ["tasks_celery.W001"]


def test_an_app_that_is_not_installed_is_w002() -> None:
    from django.conf import settings

    installed = [name for name in settings.INSTALLED_APPS if not name.startswith("tasks_celery")]
    with override_settings(INSTALLED_APPS=[name for name in installed if name != "example.reports"]):
        assert ids_for() == ["tasks_celery.W002"]


def test_a_priority_that_the_broker_has_no_order_for_is_w003(project: Celery, registry: None) -> None:
    (message,) = said_of_a_priority(project, broker_url="sqs://")
    assert message.id == "tasks_celery.W003"
    assert "tests.shop.tasks.add has the priority 7" in message.msg
    assert "Redis or RabbitMQ" in message.hint


def test_on_rabbitmq_w003_says_what_to_set_and_for_which_queues(project: Celery, registry: None) -> None:
    (message,) = said_of_a_priority(project, broker_url="amqp://", task_queues=[Queue("reports", max_priority=10)])
    assert message.id == "tasks_celery.W003"
    assert "CELERY_TASK_QUEUE_MAX_PRIORITY = 10" in message.hint
    assert "(default)" in message.hint
    assert "406" in message.hint


def test_of_a_quorum_queue_w003_says_that_it_has_none(project: Celery, registry: None) -> None:
    queues = [quorum("reports"), Queue("default", max_priority=10)]
    (message,) = said_of_a_priority(project, broker_url="amqp://", task_queues=queues)
    assert message.id == "tasks_celery.W003"
    assert "'reports' is a quorum queue" in message.hint


def test_a_priority_that_the_broker_has_an_order_for_is_right(project: Celery, registry: None) -> None:
    assert said_of_a_priority(project, broker_url="amqp://", task_queue_max_priority=10) == []
    assert said_of_a_priority(project, broker_url="redis://") == []


def test_the_priority_of_a_task_of_another_alias_is_that_ones_matter(project: Celery, registry: None) -> None:
    checked = {"BACKEND": BACKEND, "OPTIONS": MEMORY | {"APP": "checked.app"}}
    with override_settings(TASKS={"default": checked, "other": {"BACKEND": BACKEND}}):
        task(name="shop.asking", priority=7, backend="other")(tasks.add.func)
        project.conf.update(task_always_eager=True, broker_url="sqs://")
        assert task_backends["default"].check() == []


def said_of_a_priority(project: Celery, **changes: Any) -> list[Any]:
    """Return what is said of a project with a task that has a priority, once its app is configured so."""
    setting = {"BACKEND": BACKEND, "QUEUES": ["default", "reports"], "OPTIONS": MEMORY | {"APP": "checked.app"}}
    with override_settings(TASKS={"default": setting}):
        project.conf.broker_url = "memory://"
        task(name="shop.asking", priority=7)(tasks.add.func)
        project.conf.update(task_always_eager=True, **changes)
        return list(task_backends["default"].check())


@pytest.mark.parametrize(
    ("changes", "middle"),
    [
        ({"broker_url": "redis://"}, 5),
        ({"broker_url": "redis://", "task_default_queue": "plain"}, 5),
        ({"broker_url": "amqp://", "task_queue_max_priority": 4, "task_default_queue": "reports"}, 2),
    ],
    ids=str,
)
def test_plain_tasks_beside_djangos_without_a_default_priority_are_w004(
    project: Celery, changes: dict[str, Any], middle: int
) -> None:
    a_foreign_task(project, "legacy.clean_up")
    project.conf.update(task_always_eager=True, **changes)
    (message,) = said_of_two_queues()
    assert message.id == "tasks_celery.W004"
    assert "legacy.clean_up" in message.msg
    assert "others" not in message.msg
    assert f"CELERY_TASK_DEFAULT_PRIORITY = {middle}" in message.hint
    project.conf.task_default_priority = middle
    assert said_of_two_queues() == []


@pytest.mark.parametrize(
    "changes",
    [
        {"broker_url": "redis://", "task_default_priority": 0},
        {"broker_url": "amqp://", "task_default_queue": "reports"},
        {"broker_url": "amqp://", "task_queue_max_priority": 4},
        {"broker_url": "sqs://"},
        {"broker_url": "memory://"},
    ],
    ids=str,
)
def test_plain_tasks_that_no_order_puts_elsewhere_are_right(project: Celery, changes: dict[str, Any]) -> None:
    a_foreign_task(project, "legacy.clean_up")
    project.conf.update(task_always_eager=True, **changes)
    assert said_of_two_queues() == []


def test_a_plain_task_with_a_priority_of_its_own_and_those_of_celery_are_right(project: Celery) -> None:
    project.conf.update(task_always_eager=True, broker_url="redis://")
    a_foreign_task(project, "legacy.clean_up").priority = 3
    assert any(name.startswith("celery.") for name in project.tasks)
    assert said_of_two_queues() == []


@pytest.mark.parametrize(
    "changes",
    [
        {"task_queues": [quorum("reports")], "task_queue_max_priority": 10},
        {"task_queues": [quorum("reports", max_priority=10)]},
        {"task_queues": {"reports": {"queue_arguments": {"x-queue-type": "quorum", "x-max-priority": 10}}}},
        {"task_default_queue": "default", "task_default_queue_type": "quorum", "task_queue_max_priority": 10},
        {"task_create_missing_queue_type": "quorum", "task_queue_max_priority": 10},
    ],
    ids=str,
)
def test_a_quorum_queue_with_a_largest_priority_is_e010(project: Celery, changes: dict[str, Any]) -> None:
    project.conf.update(task_always_eager=True, broker_url="amqp://", **changes)
    (message,) = said_of_two_queues()
    assert message.id == "tasks_celery.E010"


@pytest.mark.parametrize(
    "changes",
    [
        {"broker_url": "amqp://", "task_queues": [quorum("reports")]},
        {"broker_url": "amqp://", "task_queue_max_priority": 10},
        {"broker_url": "redis://", "task_default_queue_type": "quorum", "task_queue_max_priority": 10},
        {
            "broker_url": "amqp://",
            "task_queues": [quorum("reports"), Queue("x", max_priority=9)],
        },
    ],
    ids=str,
)
def test_a_quorum_queue_without_a_largest_priority_is_right(project: Celery, changes: dict[str, Any]) -> None:
    project.conf.update(task_always_eager=True, **changes)
    assert said_of_two_queues() == []


def said_of_two_queues() -> list[Any]:
    setting = {"BACKEND": BACKEND, "QUEUES": ["default", "reports"], "OPTIONS": MEMORY | {"APP": "checked.app"}}
    with override_settings(TASKS={"default": setting}):
        return list(task_backends["default"].check())


def plain() -> None: ...


@pytest.mark.filterwarnings("ignore::Warning")  # Celery 5.7 has one of its own
def test_a_celery_task_that_a_django_task_hides_is_e007(
    project: Celery,
    registry: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project.set_current()
    task(name="tests.checks.test_checks.twice")(plain)
    _ = project.tasks
    hidden = shared_task(name="tests.checks.test_checks.twice")(plain)
    monkeypatch.setattr(sys.modules[__name__], "twice", hidden, raising=False)
    (message,) = checks.check_project()
    assert message.id == "tasks_celery.E007"
    assert "tests.checks.test_checks.twice" in message.msg
    assert "from tasks_celery" in message.hint  # Django's own decorator takes no name


@pytest.mark.filterwarnings("ignore::Warning")
def test_a_celery_task_that_is_adopted_is_hidden_by_nothing(
    project: Celery,
    registry: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project.set_current()
    celerys = shared_task(name="tests.checks.test_checks.adopted")(plain)
    monkeypatch.setattr(sys.modules[__name__], "adopted", celerys, raising=False)
    adopt(celerys)
    _ = project.tasks
    assert checks.check_project() == []


@pytest.mark.filterwarnings("ignore::Warning")
def test_a_celery_task_in_another_module_that_a_django_task_hides_is_e007(
    project: Celery,
    registry: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project.set_current()
    task(name="tests.checks.test_checks.moved")(plain)
    _ = project.tasks
    legacy = types.ModuleType("legacy_tasks")
    legacy.moved = shared_task(name="tests.checks.test_checks.moved")(plain)
    monkeypatch.setitem(sys.modules, "legacy_tasks", legacy)
    assert [message.id for message in checks.check_project()] == ["tasks_celery.E007"]


# --- nothing else


def test_a_good_configuration_is_silent() -> None:  # contract 48
    assert ids_for() == []
    assert checks.check_project() == []


@pytest.mark.parametrize("url", ["redis://203.0.113.1:1/0", "rediss://203.0.113.1:1/0", "unix:///nowhere.sock"])
def test_a_place_that_nobody_answers_at_is_not_asked(project: Celery, url: str) -> None:  # contract 48
    project.conf.broker_url = "redis://203.0.113.1:1/0"
    assert ids_for({"APP": "checked.app", "RESULTS": url}) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"broker_url": ["redis://one/0", "redis://two/0"]},
        {"broker_url": None, "result_backend": None},
        {"broker_url": "nonsense"},
        {"result_backend": "nonsense://x"},
        {"task_queues": ["text"]},
        {"result_expires": "soon"},
    ],
    ids=str,
)
def test_no_configuration_of_celery_makes_a_check_raise(project: Celery, changes: dict[str, Any]) -> None:
    project.conf.update(changes)
    for _ in range(2):
        ids_for({"APP": "checked.app", "RESULTS": "memory://"})
        ids_for({"APP": "checked.app"})


def test_a_check_makes_no_app_current(project: Celery) -> None:  # contract 53
    before = _state._tls.current_app, _state.default_app
    ids_for()
    checks.check_project()
    assert (_state._tls.current_app, _state.default_app) == before


def test_an_error_about_the_options_hides_what_follows_from_it() -> None:
    assert ids_for({"TIMEOUT": 0, "APP": "no.such.app", "RESULTS": "redis://h:p/0"}) == ["tasks_celery.E001"]


def test_the_project_check_is_registered() -> None:
    assert checks.check_project in django_checks.registry.registry.get_checks()


def test_manage_py_check_says_it() -> None:
    broken = {"default": {"BACKEND": BACKEND, "OPTIONS": {"RESULT": "x"}}}
    with (
        override_settings(TASKS=broken, ROOT_URLCONF="tests.urls"),
        pytest.raises(SystemCheckError, match=r"tasks_celery\.E001"),
    ):
        call_command("check")


def test_manage_py_check_says_it_though_the_urls_import_tasks(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "checked_urls.py").write_text(
        "from tasks_celery import task\n\n@task\ndef one(): ...\n\nurlpatterns = []\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    broken = {"default": {"BACKEND": BACKEND, "OPTIONS": {"RESULT": "x"}}}
    with (
        override_settings(TASKS=broken, ROOT_URLCONF="checked_urls"),
        pytest.raises(SystemCheckError, match=r"tasks_celery\.E001"),
    ):
        call_command("check")


def test_manage_py_check_is_silent_for_a_good_configuration() -> None:
    with configured(the_app()):
        call_command("check")
