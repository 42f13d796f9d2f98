"""Child process of the benchmarks. Enqueues with one of the other backends of Django's tasks, in an environment of its own."""

from __future__ import annotations

import os
import sys
from typing import Any

from benchmarks.harness import each, serve


def databases(engine: str) -> dict[str, Any]:
    place = {"NAME": os.environ["BENCH_SQLITE"]}
    if engine == "postgresql":
        place = {"NAME": "postgres", "USER": "postgres", "HOST": os.environ["BENCH_POSTGRES"]}
    return {"default": {"ENGINE": f"django.db.backends.{engine}", **place}}


def of_django_tasks_db(engine: str) -> dict[str, Any]:
    return {
        "TASKS": {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}},
        "INSTALLED_APPS": ["django_tasks_db"],
        "DATABASES": databases(engine),
    }


def of_django_tasks_rq() -> dict[str, Any]:
    return {
        "TASKS": {"default": {"BACKEND": "django_tasks_rq.RQBackend", "QUEUES": ["default"]}},
        "INSTALLED_APPS": ["django_rq"],
        "RQ_QUEUES": {"default": {"URL": os.environ["BENCH_REDIS"]}},
    }


def of_huey() -> dict[str, Any]:
    return {
        "TASKS": {"default": {"BACKEND": "huey.contrib.djhuey.tasks_backend.HueyBackend"}},
        "INSTALLED_APPS": ["huey.contrib.djhuey"],
        "HUEY": {"name": "peer", "connection": {"url": os.environ["BENCH_REDIS"]}, "immediate": False},
    }


def of_celery(backend: str) -> dict[str, Any]:
    from celery import Celery

    url = os.environ["BENCH_REDIS"].replace("unix:", "redis+socket:")
    Celery("peer", broker=url, backend=url).set_default()
    return {"TASKS": {"default": {"BACKEND": backend}}, "INSTALLED_APPS": [backend.partition(".")[0]]}


SETTINGS = {
    "django-tasks-db.sqlite": lambda: of_django_tasks_db("sqlite3"),
    "django-tasks-db.postgresql": lambda: of_django_tasks_db("postgresql"),
    "django-tasks-rq": of_django_tasks_rq,
    "huey": of_huey,
    "django-tasks-celery": lambda: of_celery("django_tasks_celery.CeleryBackend"),
    "django-tasks-fennel": lambda: of_celery("django_tasks_fennel.CeleryBackend"),
}


def main(name: str) -> None:
    """Serve the calls of one peer: how often to enqueue is asked, how long it took is told."""
    import django
    from django.conf import settings
    from django.core.management import call_command

    wanted = SETTINGS[name]()
    settings.configure(SECRET_KEY="for benchmarks only", USE_TZ=True, **wanted)
    django.setup()
    if "DATABASES" in wanted:
        call_command("migrate", verbosity=0)
    from benchmarks.peer_tasks import add

    serve({"enqueue": each(lambda: add.enqueue(1, b=2))})


if __name__ == "__main__":
    main(sys.argv[1])
