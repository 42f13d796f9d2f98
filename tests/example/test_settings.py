from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command

import example

FOLDER = Path(example.__file__).parent
VARIABLES = ("SECRET_KEY", "DEBUG", "ALLOWED_HOSTS", "REDIS_URL", "DIGEST_EVERY", "DEMO_SIGN_IN", "SECURE_COOKIES")


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Read the settings with these environment variables, and no others of theirs."""

    def read_settings(**variables: str) -> dict[str, Any]:
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)
        for name, value in {"VAR_DIR": str(tmp_path / "var"), **variables}.items():
            monkeypatch.setenv(name, value)
        return runpy.run_path(str(FOLDER / "settings.py"))

    return read_settings


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"DEBUG": "0"}, "SECRET_KEY is not set and DEBUG is off"),
        ({"DEBUG": "maybe"}, "DEBUG is 'maybe'; set it to 1 or 0"),
        ({"DIGEST_EVERY": "often"}, "DIGEST_EVERY is 'often'; set it to a number of seconds"),
        ({"DIGEST_EVERY": "-1"}, "DIGEST_EVERY is '-1'; set it to 0 or more seconds"),
        ({"DIGEST_EVERY": "nan"}, "DIGEST_EVERY is 'nan'; set it to 0 or more seconds"),
    ],
)
def test_a_wrong_variable_is_refused_with_what_to_do(read: Any, variables: dict[str, str], says: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        read(**variables)
    assert says in str(caught.value)


def test_without_variables_it_is_the_demo(read: Any, tmp_path: Path) -> None:
    settings = read()
    assert settings["DEBUG"] is settings["DEMO_SIGN_IN"] is True
    assert settings["SESSION_COOKIE_SECURE"] is False
    assert settings["CELERY_BROKER_URL"] == "redis://127.0.0.1:6379/0"
    assert settings["DIGEST_EVERY"] is None
    assert (tmp_path / "var").is_dir()


def test_without_debug_it_is_careful(read: Any) -> None:
    settings = read(DEBUG="0", SECRET_KEY="secret")
    assert settings["SESSION_COOKIE_SECURE"] is settings["CSRF_COOKIE_SECURE"] is True
    assert settings["DEMO_SIGN_IN"] is settings["SERVE_STATIC"] is False


def test_one_redis_address_serves_all_three(read: Any) -> None:
    settings = read(REDIS_URL="unix:///run/redis.sock")
    assert settings["CELERY_BROKER_URL"] == settings["CELERY_RESULT_BACKEND"] == "redis+socket:///run/redis.sock"
    (host,) = settings["CHANNEL_LAYERS"]["default"]["CONFIG"]["hosts"]
    assert host == {"address": "unix:///run/redis.sock", "socket_timeout": None, "max_connections": 5000}


@pytest.mark.django_db
def test_the_migrations_make_what_the_models_say() -> None:
    call_command("makemigrations", "reports", check=True, dry_run=True, verbosity=0)


def test_manage_py_runs_from_any_folder(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(FOLDER / "manage.py"), "check"],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "example.settings", "VAR_DIR": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
