"""Celery's settings, wherever they stand: in Django's settings, in their old names, on ``app.conf``; and what they mean for a move."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tasks_celery.migrate.finding import Anchor, Finding, Verdict
from tasks_celery.migrate.source import Names, Place
from tasks_celery.migrate.source.keys import key_of
from tasks_celery.migrate.source.plain import NOT_PLAIN
from tasks_celery.migrate.source.project import Setting

PICKLES = {"pickle", "application/x-python-serialize", "yaml", "application/x-yaml"}
_RECORDS = ("redis://", "rediss://", "unix://", "redis+socket://", "sentinel://")


class Advice(NamedTuple):
    """What a setting means where its value is one that `holds`."""

    setting: str
    holds: Callable[[Any], bool]
    verdict: Verdict
    reason: str


def _always(value: Any) -> bool:
    return True


def _pickles(value: Any) -> bool:
    given = value if isinstance(value, list | tuple | set) else [value]
    return any(isinstance(each, str) and each.lower() in PICKLES for each in given)


def _on(value: Any) -> bool:
    return value is not NOT_PLAIN and bool(value)


def _no_redis(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.startswith(_RECORDS))


_SERIALIZER = (
    "Whoever can write to the broker runs code in the worker, and Django's tasks take JSON only: "
    "pass what JSON can hold, and set it to json."
)
_ACCEPTED = "The worker loads code from whatever the broker gives it: send JSON first, and take this out once no older message is left."
#: The first that holds is told.
ADVICE = [
    Advice("task_serializer", _pickles, Verdict.UNSAFE, _SERIALIZER),
    Advice("result_serializer", _pickles, Verdict.UNSAFE, _SERIALIZER),
    Advice("event_serializer", _pickles, Verdict.UNSAFE, _SERIALIZER),
    Advice("accept_content", _pickles, Verdict.UNSAFE, _ACCEPTED),
    Advice("result_accept_content", _pickles, Verdict.UNSAFE, _ACCEPTED),
    Advice(
        "task_serializer",
        lambda value: value not in (NOT_PLAIN, "json"),
        Verdict.PERSON,
        "Django's tasks are sent as JSON only: the others go on with this, those that move need arguments that JSON can hold.",
    ),
    *(
        Advice(
            each,
            lambda value: value is NOT_PLAIN,
            Verdict.PERSON,
            "It is computed: see to it that it is json, which alone Django's tasks are sent as.",
        )
        for each in ("task_serializer", "accept_content")
    ),
    Advice(
        "task_always_eager",
        _on,
        Verdict.PERSON,
        "enqueue() runs the task at once too, but a task that fails gives a FAILED result and raises nothing: "
        "look at the tests that expect its exception.",
    ),
    Advice(
        "task_eager_propagates",
        _on,
        Verdict.PERSON,
        "enqueue() raises nothing of the task, with this too: tests that expect the exception read result.errors.",
    ),
    Advice("task_acks_late", _always, Verdict.STAYS, "It holds for Django's tasks too."),
    Advice(
        "task_ignore_result",
        _always,
        Verdict.STAYS,
        "It leaves out Celery's own result; a Django task has its record all the same.",
    ),
    Advice(
        "result_backend",
        _no_redis,
        Verdict.PERSON,
        "Celery's results stay in it, but the records of Django's tasks cannot be kept there: install tasks_celery.database, or "
        'set OPTIONS["RESULTS"] to a Redis.',
    ),
    Advice(
        "result_backend",
        _always,
        Verdict.STAYS,
        "Celery's results stay in it; OPTIONS[\"RESULTS\"] says where the records of Django's tasks are, by default here where it is a Redis.",
    ),
    Advice(
        "task_routes",
        lambda value: value is NOT_PLAIN,
        Verdict.PERSON,
        "Which queue a task goes to is computed: write queue_name=… to the tasks that move.",
    ),
    Advice("task_routes", _always, Verdict.STAYS, "A task that moves is given its route as queue_name."),
    Advice(
        "task_default_queue",
        _always,
        Verdict.STAYS,
        "Celery sends a task without a queue here, Django to “default”: tasks that move are given it as queue_name.",
    ),
    Advice("task_queues", _always, Verdict.STAYS, "Each of them belongs into QUEUES of TASKS."),
    Advice(
        "task_cls",
        _always,
        Verdict.PERSON,
        "A Django task does not get this base class: what it does belongs into a receiver of Django's task signals, or "
        "the tasks stay Celery's and are adopted.",
    ),
    Advice(
        "beat_scheduler",
        lambda value: isinstance(value, str) and value.startswith("django_celery_beat"),
        Verdict.STAYS,
        "Its rows go on: a task that moves keeps its name. `manage.py celery_report --schedules` lists the rows whose task is gone.",
    ),
    Advice("beat_scheduler", _always, Verdict.STAYS, "It goes on sending what it knows by name."),
    Advice("timezone", _always, Verdict.STAYS, "Schedules of Celery's are read in it, as before."),
    Advice(
        "broker_transport_options",
        _always,
        Verdict.STAYS,
        "A visibility_timeout in it holds for messages with an ETA; a Django task with run_after waits as a record, not in the broker.",
    ),
]
_ATOMIC_REQUESTS = (
    "Each view runs in a transaction, so what it sends may run before its rows are there: set ENQUEUE_ON_COMMIT in TASKS for what moves, "
    "and delay_on_commit() for what does not."
)


def find(names: Names) -> Iterator[Finding]:
    """Yield the Celery settings of a file, each with what is to be done about it."""
    if "ATOMIC_REQUESTS" in names.text:
        yield from (_atomic(names, place) for place in names.places() if _is_atomic_requests(place.node))
    for setting in settings_of(names):
        yield setting_finding(setting.name, setting.value, setting.path, setting.line)


def settings_of(names: Names) -> Iterator[Setting]:
    """Yield the places of a file where a setting of Celery's is set."""
    for places in names.project.settings_at.values():
        yield from (each for each in places if each.path == names.path)


def setting_finding(setting: str, value: Any, path: str, line: int) -> Finding:
    """Return what is found in a setting that has a value somewhere."""
    verdict, reason = advice(setting, value)
    return Finding(
        path=path,
        anchor=Anchor(line, 0),
        kind="serializer" if verdict is Verdict.UNSAFE else "setting",
        name=setting,
        verdict=verdict,
        reason=reason,
    )


def celery_name(name: str) -> str | None:
    """Return Celery's own name of a Django setting, of today or of Celery 3 (``CELERY_ALWAYS_EAGER``); None for any other."""
    return key_of(name, ("CELERY", ""))


def advice(setting: str, value: Any) -> tuple[Verdict, str]:
    """Return what a setting of this value means for a move; `NOT_PLAIN` is a value too."""
    for each in ADVICE:
        if each.setting == setting and each.holds(value):
            return each.verdict, each.reason
    return Verdict.STAYS, ""


def _is_atomic_requests(node: ast.AST) -> bool:
    match node:
        case ast.Dict(keys=keys, values=values):
            return any(_is_true(key, value) for key, value in zip(keys, values, strict=True))
        case ast.Assign(targets=[ast.Subscript(slice=key)], value=value):
            return _is_true(key, value)
    return False


def _is_true(key: ast.expr | None, value: ast.expr) -> bool:
    named = isinstance(key, ast.Constant) and key.value == "ATOMIC_REQUESTS"
    return named and isinstance(value, ast.Constant) and value.value is True


def _atomic(names: Names, place: Place) -> Finding:
    return Finding(
        path=names.path,
        anchor=names.anchor(place.node),
        kind="setting",
        name="ATOMIC_REQUESTS",
        verdict=Verdict.UNSAFE,
        reason=_ATOMIC_REQUESTS,
    )
