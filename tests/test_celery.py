"""The Celery app of a project: named, found, or the ready one."""

from __future__ import annotations

import gc
import sys
import threading
import types
from collections.abc import Iterator

import pytest
from celery import Celery, _state
from django.test import override_settings

from tasks_celery import celery as our_celery
from tasks_celery.celery import find_app, ready_app
from tasks_celery.exceptions import OptionsError
from tests.shop.running import apps_kept


@pytest.fixture(scope="module", autouse=True)
def _no_garbage_of_others() -> None:
    """Let each of these tests look for the garbage of its own only."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _nobodys_apps(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let no app of other tests be found, and forget the apps of these."""
    others = set(_state._get_active_apps())
    with apps_kept():
        _state._tls.current_app = None
        _state.default_app = None
        monkeypatch.setattr(_state, "_get_active_apps", lambda: set(_state._apps) - (others - {ready_app()}))
        with override_settings(SETTINGS_MODULE="nowhere_to_be_found"):
            yield
        for app in set(_state._apps) - others:
            app.close()
            _state._deregister_app(app)
    gc.collect()


def a_module(monkeypatch: pytest.MonkeyPatch, name: str, **content: object) -> types.ModuleType:
    module = types.ModuleType(name)
    vars(module).update(content)
    monkeypatch.setitem(sys.modules, name, module)
    return module


def an_app(name: str = "proj", *, current: bool = True) -> Celery:
    return Celery(name, set_as_current=current, broker="memory://")


# --- refusals


@pytest.mark.parametrize(
    "path", ["nodots", "no.such.module", "tests.settings.no_such_app", "tests.settings:nothing", ":"]
)
def test_a_path_that_leads_nowhere_is_an_options_error_that_names_it(path: str) -> None:
    with pytest.raises(OptionsError, match=r"OPTIONS\['APP'\] is .*cannot be imported") as caught:
        find_app(path)
    assert repr(path) in str(caught.value)


def test_a_path_to_something_else_is_an_options_error_that_says_what_it_is() -> None:
    with pytest.raises(OptionsError, match="which is a dict and no Celery app"):
        find_app("tests.settings.TASKS")


def test_the_module_has_no_other_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = our_celery.nonsense


# --- the app that is named


@pytest.mark.parametrize("path", ["proj_celery.app", "proj_celery:app"])
def test_a_named_app_is_taken_whatever_else_there_is(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    named, _other = an_app("named", current=False), an_app("other")
    a_module(monkeypatch, "proj_celery", app=named)
    assert find_app(path) is named


# --- the app that is found


def test_the_projects_current_app_is_found() -> None:
    app = an_app()
    assert find_app() is app


def test_the_default_app_is_found() -> None:
    app = an_app(current=False)
    app.set_default()
    assert find_app() is app


def test_the_only_app_is_found_in_every_thread() -> None:
    app, found = an_app(), []
    thread = threading.Thread(target=lambda: found.append(find_app()))
    thread.start()
    thread.join()
    assert found == [app]


def test_of_several_apps_every_thread_finds_the_same() -> None:
    apps = [an_app("one"), an_app("two")]
    found: list[Celery] = []
    thread = threading.Thread(target=lambda: found.append(find_app()))
    thread.start()
    thread.join()
    assert found == [find_app()]
    assert found[0] in apps


def test_of_several_apps_the_one_beside_the_settings_is_the_projects(monkeypatch: pytest.MonkeyPatch) -> None:
    app = an_app()
    a_module(monkeypatch, "convention")
    a_module(monkeypatch, "convention.celery", app=app)
    _another = an_app("a library's")
    with override_settings(SETTINGS_MODULE="convention.settings"):
        assert find_app() is app


def test_the_app_beside_the_settings_is_found_while_a_test_overrides_others(monkeypatch: pytest.MonkeyPatch) -> None:
    # contract 52: overridden settings of Django do not say which module they came from.
    app = an_app()
    a_module(monkeypatch, "convention")
    a_module(monkeypatch, "convention.celery", app=app)
    _another = an_app("a library's")
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "convention.settings")
    with override_settings(SETTINGS_MODULE="convention.settings"), override_settings(TASKS={}):
        assert find_app() is app


def test_the_app_beside_the_settings_is_found_and_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path)) / "beside"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "celery.py").write_text("from celery import Celery\napp = Celery('beside', set_as_current=False)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with override_settings(SETTINGS_MODULE="beside.settings"):
        try:
            assert find_app().main == "beside"
        finally:
            for name in ("beside", "beside.celery"):
                sys.modules.pop(name, None)


@pytest.mark.parametrize("name", ["settings", "tests.settings", None])
def test_without_a_celery_module_beside_the_settings_the_ready_app_is_taken(name: str | None) -> None:
    with override_settings(SETTINGS_MODULE=name):
        assert find_app() is ready_app()


def test_a_celery_module_without_an_app_is_passed_by(monkeypatch: pytest.MonkeyPatch) -> None:
    a_module(monkeypatch, "convention")
    a_module(monkeypatch, "convention.celery", app="not an app")
    with override_settings(SETTINGS_MODULE="convention.settings"):
        assert find_app() is ready_app()


# --- the ready app


def test_the_ready_app_reads_djangos_settings() -> None:
    assert ready_app().conf.broker_url == "memory://"
    assert ready_app().conf.result_backend == "cache+memory://"
    assert our_celery.app is ready_app()


def test_looking_makes_no_app_current_and_none_the_default() -> None:  # contract 53
    find_app()
    assert (_state._tls.current_app, _state.default_app) == (None, None)


def test_an_app_that_celery_made_because_it_was_asked_too_early_is_passed_by() -> None:
    _state._get_current_app()
    assert find_app() is ready_app()
    app = an_app()
    assert find_app() is app


def test_a_project_app_made_after_the_first_look_is_found_by_the_next() -> None:
    assert find_app() is ready_app()
    app = an_app()
    assert find_app() is app
