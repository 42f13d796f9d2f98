"""Both. Holds compose.yaml and the Dockerfile against the example they run, since no Docker engine tries them here."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from celery import VERSION
from celery.bin.celery import celery

ROOT = Path(__file__).resolve().parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
OURS = ("migrate", "web", "worker", "beat")
ONE_SHOT = ("migrate",)  # nobody asks for its health: the others wait for its end

Service = dict[str, Any]


# --- what is in the files -----------------------------------------------------------------------------------------


def settings_variables() -> set[str]:
    """Return the names that the example's settings read from the environment."""
    tree = ast.parse((ROOT / "example" / "settings.py").read_text())
    firsts = [node.args[0] for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
    names = [first.value for first in firsts if isinstance(first, ast.Constant)]
    return {name for name in names if isinstance(name, str) and re.fullmatch(r"[A-Z][A-Z_]+", name)}


def by_default(value: str) -> str:
    """Return a compose value as it is where the caller's environment sets nothing."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)


def environment(service: Service) -> dict[str, str]:
    """Return a service's variables with their defaults."""
    return {name: by_default(value) for name, value in service.get("environment", {}).items()}


def option(command: list[str], name: str) -> str | None:
    """Return the word after an option."""
    return command[command.index(name) + 1] if name in command else None


def health_command(service: Service) -> list[str]:
    """Return a health check as words."""
    test: list[str] = service.get("healthcheck", {}).get("test", [])
    return shlex.split(test[1]) if test[:1] == ["CMD-SHELL"] else test[1:]


def instructions(dockerfile: str) -> list[list[str]]:
    """Return the Dockerfile's instructions as words, continued lines joined, comments left out."""
    text = re.sub(r"(?m)^#.*\n", "", dockerfile).replace("\\\n", " ")
    return [shlex.split(line) for line in text.splitlines() if line.strip()]


# --- what is wrong with them --------------------------------------------------------------------------------------


def compose_problems(compose: dict[str, Any]) -> list[str]:
    """Return a sentence for each way in which the file and the example disagree."""
    services = compose["services"]
    found = [f"{name} is missing" for name in ("redis", *OURS) if name not in services]
    for name in OURS:
        if name in services:
            found += [f"{name}: {problem}" for problem in service_problems(services[name], compose)]
    for name, service in services.items():
        if name not in ONE_SHOT and not health_command(service):
            found.append(f"{name}: no health check")
    return found + web_problems(services.get("web", {})) + redis_problems(services)


def service_problems(service: Service, compose: dict[str, Any]) -> list[str]:
    """Hold one of the example's services to its settings, commands and volumes."""
    variables = environment(service)
    found = [f"{name} is no variable of the settings" for name in variables.keys() - settings_variables()]
    mounts = dict(reversed(mount.split(":")[:2]) for mount in service.get("volumes", []))
    if mounts.get(variables.get("VAR_DIR", "")) != "var" or "var" not in compose["volumes"]:
        found.append(f"VAR_DIR is {variables.get('VAR_DIR')}, and the volume var is not there")
    found += command_problems(service["command"])
    if health := health_command(service):
        found += command_problems(health)
    found += [f"depends on {name}, which is no service" for name in waits_for(service) - compose["services"].keys()]
    if "beat" in service["command"] or "worker" in service["command"] or "daphne" in service["command"]:
        wanted = {"redis": "service_healthy", "migrate": "service_completed_successfully"}
        states = {name: wait["condition"] for name, wait in service.get("depends_on", {}).items()}
        found += [f"does not wait for {name}" for name in wanted if states.get(name) != wanted[name]]
    return found


def waits_for(service: Service) -> set[str]:
    """Return the services one waits for."""
    return set(service.get("depends_on", {}))


def command_problems(command: list[str]) -> list[str]:
    """Return what of a command does not exist: its program, its module, its application."""
    program = Path(sys.executable).parent / command[0]
    found = [] if program.exists() else [f"there is no program {command[0]} in the environment"]
    if command[0] == "daphne":
        found += application_problems(command[-1])
    if command[0] == "celery" and option(command, "-A") != "example":
        found.append(f"the Celery app is example, not {option(command, '-A')}")
    if command[0] == "celery":
        found += application_problems(f"{option(command, '-A')}.celery:app")
        unknown = {word for word in command[4:] if word.startswith("-")} - celery_options(command[3])
        found += [f"celery {command[3]} has no option {word}" for word in unknown]
    if module := option(command, "-m"):
        found += [] if module_path(module).exists() else [f"there is no module {module}"]
    if code := option(command, "-c"):
        ast.parse(code)
    return found


def celery_options(verb: str) -> set[str]:
    """Return the options of a verb of the celery command."""
    return {word for parameter in celery.commands[verb].params for word in parameter.opts}


def application_problems(path: str) -> list[str]:
    """Return a sentence if no module assigns the name that ``module:name`` says."""
    module, _, name = path.partition(":")
    if not module_path(module).exists():
        return [f"there is no module {module}"]
    tree = ast.parse(module_path(module).read_text())
    targets = [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
    assigned = {target.id for target in targets if isinstance(target, ast.Name)}
    return [] if name in assigned else [f"{module} has no {name}"]


def module_path(module: str) -> Path:
    """Return the file of a module of the example."""
    return ROOT / (module.replace(".", "/") + ".py")


def web_problems(web: Service) -> list[str]:
    """Hold the port that daphne listens on to the published and the checked one, and the check to the site."""
    port = option(web.get("command", []), "--port")
    published = [mapping.split(":")[-1] for mapping in web.get("ports", [])]
    found = [] if published == [port] else [f"web: listens on {port}, and {published} is published"]
    if option(web.get("command", []), "--bind") != "0.0.0.0":
        found.append("web: listens inside its container only")
    addresses = re.findall(r"https?://[^\"']+", " ".join(health_command(web)))
    for address in map(urlsplit, addresses):
        if str(address.port) != port:
            found.append(f"web: listens on {port}, and {address.port} is checked")
        if f'path("{address.path.lstrip("/")}"' not in (ROOT / "example" / "urls.py").read_text():
            found.append(f"web: {address.path} is checked, which is no address of the example")
        if address.hostname not in environment(web).get("ALLOWED_HOSTS", "").split(","):
            found.append(f"web: {address.hostname} is checked and not in ALLOWED_HOSTS")
    return found if addresses else [*found, "web: the health check asks for no address"]


def redis_problems(services: dict[str, Service]) -> list[str]:
    """Hold REDIS_URL to the service that it names, and the data to a volume."""
    urls = {environment(services[name]).get("REDIS_URL", "") for name in OURS if name in services}
    found = [] if len(urls) == 1 else [f"web, worker and beat have not one REDIS_URL but {sorted(urls)}"]
    wrong = [url for url in map(urlsplit, urls) if url.hostname not in services or url.port != 6379]
    return found + [f"REDIS_URL {url.geturl()} is no service" for url in wrong]


def dockerfile_problems(dockerfile: str) -> list[str]:
    """Return a sentence for each way in which the Dockerfile and the project disagree."""
    steps = instructions(dockerfile)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    copied = {source for step in steps if step[0] == "COPY" for source in step[1:-1]}
    found = [f"COPY {source}: there is no such path" for source in copied if not (ROOT / source).exists()]
    found += [f"{path} is not copied" for path in needed_paths(project) - copied]
    found += [f"{path} is kept out by .dockerignore" for path in copied - let_in()]
    for step in steps:
        groups = {step[at + 1] for at, word in enumerate(step) if word == "--group"}
        found += [f"there is no dependency group {name}" for name in groups - project["dependency-groups"].keys()]
    syncs = [step for step in steps if "sync" in step]
    found += [] if all("django60" in step for step in syncs) else ["the environment is not that of Django 6.0"]
    found += [] if ["FROM", "python:3.12-slim"] in steps else ["Django 6.0 needs Python 3.12"]
    directory = COMPOSE["services"]["web"]["environment"]["VAR_DIR"]
    if not any(step[0] == "RUN" and directory in step for step in steps):
        found.append(f"VAR_DIR {directory} is not made for the user app")
    if re.search(r"https?://|--(extra-)?index", dockerfile):
        found.append("it names a host")
    return found


def needed_paths(project: dict[str, Any]) -> set[str]:
    """Return what an installation of the project and the example read."""
    build = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    metadata = [project["project"]["readme"], *project["project"]["license-files"]]
    return {"pyproject.toml", "uv.lock", "example", *build, *metadata}


def let_in() -> set[str]:
    """Return the paths that .dockerignore, which keeps out everything, lets in."""
    return {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}


# --- the files agree with the example -----------------------------------------------------------------------------


@pytest.mark.skipif(VERSION < (5, 7), reason="the image runs the newest Celery; beat's remote control came with 5.7")
def test_compose_agrees_with_the_example() -> None:
    assert compose_problems(COMPOSE) == []


def test_the_dockerfile_agrees_with_the_project() -> None:
    assert dockerfile_problems(DOCKERFILE) == []


def test_the_images_default_command_is_that_of_web() -> None:
    (command,) = re.findall(r"(?m)^CMD (.*)", DOCKERFILE)
    assert yaml.safe_load(command) == COMPOSE["services"]["web"]["command"]


@pytest.mark.parametrize("name", OURS)
def test_the_settings_load_with_a_services_variables(name: str, tmp_path: Path) -> None:
    variables = environment(COMPOSE["services"][name]) | {"VAR_DIR": str(tmp_path / "var")}
    code = (
        "from example import settings as s; "
        "print(s.DEBUG, s.VAR_DIR, s.CELERY_BROKER_URL, s.SESSION_COOKIE_SECURE, s.SERVE_STATIC, s.DEMO_SIGN_IN)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": os.environ["PATH"], **variables},
        cwd=ROOT,
        text=True,
        check=True,
        stdout=subprocess.PIPE,
    )
    assert told.stdout.split() == ["False", str(tmp_path / "var"), "redis://redis:6379/0", "False", "True", "True"]


def test_a_worker_has_time_to_finish_its_task() -> None:
    settings = (ROOT / "example" / "settings.py").read_text()
    limit = re.findall(r"CELERY_TASK_TIME_LIMIT = (\d+)", settings)
    assert int(COMPOSE["services"]["worker"]["stop_grace_period"].removesuffix("s")) > int(limit[0])


def test_the_site_is_open_to_this_machine_only() -> None:
    assert all(mapping.startswith("127.0.0.1:") for mapping in COMPOSE["services"]["web"]["ports"])


# --- and a file that did not would be found -----------------------------------------------------------------------


def change(path: str, value: object) -> Callable[[dict[str, Any]], None]:
    """Return a change of one place in the file, written ``web.environment.DEBUG``; None takes it out."""

    def apply(compose: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        place: Any = compose["services"]
        for parent in parents:
            place = place[parent]
        place.pop(last) if value is None else place.update({last: value})

    return apply


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        (change("beat", None), "beat is missing"),
        (change("web.environment.ALOWED_HOSTS", "a"), "web: ALOWED_HOSTS is no variable of the settings"),
        (change("worker.environment.VAR_DIR", "/var/lib/other"), "worker: VAR_DIR is /var/lib/other"),
        (change("worker.environment.REDIS_URL", "redis://cache:6379/0"), "REDIS_URL redis://cache:6379/0 is no"),
        (change("web.volumes", []), "web: VAR_DIR is /var/lib/example, and the volume var is not there"),
        (change("web.command", ["gunicorn", "example.wsgi"]), "web: there is no program gunicorn"),
        (change("web.command", ["daphne", "example.asgi:app"]), "web: example.asgi has no app"),
        (change("web.command", ["daphne", "example.other:app"]), "web: there is no module example.other"),
        (change("worker.command", ["celery", "-A", "sample", "worker"]), "worker: the Celery app is example"),
        (change("beat.command", ["celery", "-A", "example", "beat", "-Z"]), "beat: celery beat has no option -Z"),
        (change("migrate.command", ["python", "-m", "manage", "migrate"]), "migrate: there is no module manage"),
        (change("web.ports", ["8000:80"]), "web: listens on 8000, and ['80'] is published"),
        (
            change("web.healthcheck.test", ["CMD", "python", "-c", 'get("http://127.0.0.1:80/healthz/")']),
            "web: listens on 8000, and 80 is checked",
        ),
        (
            change("web.healthcheck.test", ["CMD", "python", "-c", 'get("http://127.0.0.1:8000/health/")']),
            "web: /health/ is checked, which is no address",
        ),
        (change("web.environment.ALLOWED_HOSTS", "localhost"), "web: 127.0.0.1 is checked and not in ALLOWED"),
        (change("worker.healthcheck", None), "worker: no health check"),
        (change("beat.healthcheck", {"disable": True}), "beat: no health check"),
        (change("redis.healthcheck", None), "redis: no health check"),
        (change("beat.depends_on", {}), "beat: does not wait for migrate"),
    ],
)
def test_a_compose_file_that_disagrees_is_found(broken: Callable[[dict[str, Any]], None], problem: str) -> None:
    compose = deepcopy(COMPOSE)
    broken(compose)
    assert any(found.startswith(problem) for found in compose_problems(compose)), compose_problems(compose)


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("COPY example example", "COPY sample example", "COPY sample: there is no such path"),
        ("COPY README.md LICENSE", "COPY LICENSE", "README.md is not copied"),
        ("COPY README.md", "COPY Dockerfile README.md", "Dockerfile is kept out by .dockerignore"),
        ("--group beat", "--group beet", "there is no dependency group beet"),
        ("django60", "django52", "the environment is not that of Django 6.0"),
        ("python:3.12", "python:3.11", "Django 6.0 needs Python 3.12"),
        ("/var/lib/example", "/data", "VAR_DIR /var/lib/example is not made"),
        ("install --no-cache-dir", "install --index-url https://example.org", "it names a host"),
    ],
)
def test_a_dockerfile_that_disagrees_is_found(before: str, after: str, problem: str) -> None:
    found = dockerfile_problems(DOCKERFILE.replace(before, after))
    assert any(sentence.startswith(problem) for sentence in found), found
