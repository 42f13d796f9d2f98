"""The README's blocks, put into a new project word for word: migrate, worker, daphne, a socket that hears the event.

Only two things are changed in them: the Redis address, for a private server, and on Django 5.2 the module that
`task` comes from, as the README says.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import django
import pytest
from markdown_it import MarkdownIt
from websockets.sync.client import connect

from example.servers import ROOT, Child, listen, plan_redis, redis_answers, stop, wait_until
from integration.conftest import require

README = (ROOT / "README.md").read_text()
# The settings, URLs and page that a project has before it reads our README.
SETTINGS = """
INSTALLED_APPS += ["reports"]
"""
URLS = """
from django.contrib.auth import get_user_model, login
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import path
from reports import views

def sign_in(request):
    user, _ = get_user_model().objects.get_or_create(username="ada")
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return HttpResponse("ok")

urlpatterns = [path("in/", sign_in), path("build/", views.build), path("page/", lambda r: render(r, "reports/page.html"))]
"""


def blocks(language: str) -> list[str]:
    return [token.content for token in MarkdownIt().parse(README) if token.type == "fence" and token.info == language]


def files() -> dict[str, str]:
    """The blocks that name a file in their first line, those of one file together."""
    named: dict[str, str] = {}
    for block in blocks("python") + blocks("html"):
        first, _, rest = block.partition("\n")
        name = re.fullmatch(r"# (\S+\.py)|<!-- (\S+\.html) -->", first)
        assert name, f"a block of the README does not say which file it is: {first}"
        path = name[1] or name[2]
        named[path] = named.get(path, "") + rest
    return named


def commands() -> list[str]:
    return [line for block in blocks("sh") for line in block.splitlines()]


@pytest.fixture(scope="module")
def redis_url(clean_environ: dict[str, str]) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        plan = plan_redis(clean_environ, Path(directory))
        require(plan.url and plan.command, "There is no Redis server here; install redis-server.")
        child = Child("redis", plan.command, env=clean_environ)
        try:
            wait_until(lambda: redis_answers(str(plan.url)), what="Redis", watch=[child])
            yield str(plan.url)
        finally:
            stop([child])


@pytest.fixture(scope="module")
def project(redis_url: str, clean_environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("readme")
    run(["-m", "django", "startproject", "proj", "."], root, clean_environ)
    run(["-m", "django", "startapp", "reports"], root, clean_environ)
    (root / "proj/settings.py").write_text((root / "proj/settings.py").read_text() + SETTINGS)
    (root / "proj/urls.py").write_text(URLS)
    for name, text in files().items():
        path = root / ("proj/settings.py" if name == "settings.py" else name)
        path.parent.mkdir(parents=True, exist_ok=True)
        old = path.read_text() if name == "settings.py" else ""
        path.write_text(old + here(text, redis_url))
    return root


def here(text: str, redis_url: str) -> str:
    if django.VERSION < (6, 0):
        text = text.replace("from django.tasks import", "from django_tasks import")
        text = text.replace('"tasks_celery", ', '"tasks_celery", "django_tasks", ')
    celery_url = redis_url.replace("unix:", "redis+socket:")
    text = re.sub(r'(CELERY_\w+ = )"redis://[^"]*"', rf'\1"{celery_url}"', text)
    return text.replace("redis://localhost:6379/0", redis_url)


def run(arguments: list[str], root: Path, env: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=root, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def env(clean_environ: dict[str, str], project: Path) -> dict[str, str]:
    return clean_environ | {
        "DJANGO_SETTINGS_MODULE": "proj.settings",
        "PYTHONPATH": str(project),
        "PYTHONUNBUFFERED": "1",
    }


def test_the_check_is_silent(project: Path, env: dict[str, str]) -> None:
    assert "python manage.py check" in commands()
    assert "System check identified no issues (0 silenced)" in run(["manage.py", "check"], project, env)


def test_every_python_block_can_be_imported(project: Path, env: dict[str, str]) -> None:
    modules = [
        name.removesuffix(".py").replace("/", ".") for name in files() if name.startswith("reports/") and ".py" in name
    ]
    script = "import django; django.setup(); import " + ", ".join(modules)
    run(["-c", script], project, env)


def test_what_is_asked_for_is_enqueued(project: Path, env: dict[str, str]) -> None:
    script = "import django; django.setup(); from reports.asking import ask; print(*[each.status for each in ask()])"
    assert "READY " * 4 + "READY\n" in run(["-c", script], project, env)


def test_a_press_of_the_button_is_answered_over_the_socket(project: Path, env: dict[str, str]) -> None:
    run(["manage.py", "migrate", "--verbosity", "0"], project, env)
    listener = listen()
    port = listener.getsockname()[1]
    assert {"celery -A tasks_celery worker", "daphne proj.asgi:application"} <= set(commands())
    # From the project's folder, as its owner would: Celery and daphne both look there first.
    worker = child("worker", project, env, "celery", "-A", "tasks_celery", "worker", "-c", "1", "-l", "INFO")
    web = child(
        "web", project, env, "daphne", "--fd", str(listener.fileno()), "proj.asgi:application", fd=listener.fileno()
    )
    listener.close()
    try:
        wait_until(worker.said_ready.is_set, what="worker", watch=[worker, web])
        cookie = sign_in(f"http://127.0.0.1:{port}")
        headers = {"Cookie": cookie}
        with connect(
            f"ws://127.0.0.1:{port}/ws/tasks/", additional_headers=headers, origin=f"http://127.0.0.1:{port}"
        ) as ws:  # type: ignore[arg-type]
            assert json.loads(ws.recv(timeout=60))["type"] == "task.ready"
            enqueued = json.loads(get(f"http://127.0.0.1:{port}/build/", cookie))
            assert enqueued["status"] == "READY"
            event = json.loads(ws.recv(timeout=60))
        assert (event["event"], event["data"]["id"], event["data"]["status"]) == (
            "report.ready",
            enqueued["id"],
            "SUCCESSFUL",
        )
        page = get(f"http://127.0.0.1:{port}/page/", cookie)
        assert "/static/tasks_celery/events.js" in page
    finally:
        stop([worker, web])


def child(name: str, root: Path, env: dict[str, str], *command: str, fd: int | None = None) -> Child:
    # `sh -c cd` because a Child starts in the checkout.
    script = 'cd "$0" && exec "$@"'
    full = ["sh", "-c", script, str(root), sys.executable, "-m", *command]
    return Child(name, full, env=env, ready_line=" ready.", pass_fds=[fd] if fd else [])


def sign_in(base: str) -> str:
    with urllib.request.urlopen(f"{base}/in/", timeout=60) as answer:
        return "; ".join(cookie.partition(";")[0] for cookie in answer.headers.get_all("Set-Cookie"))


def get(url: str, cookie: str) -> str:
    request = urllib.request.Request(url, headers={"Cookie": cookie})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return str(answer.read().decode())
