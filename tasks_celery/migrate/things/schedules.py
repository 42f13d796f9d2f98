"""What the settings have beat send: whether an entry becomes ``@schedule`` above its task, and why not.

An entry goes from one file to another: `scheduled_in` is asked first, of the settings, and what it says is found twice, at the entry
that goes away and at the task that is given it. Neither moves without the other.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tasks_celery.migrate.finding import Anchor, Finding, Verdict
from tasks_celery.migrate.source import Names, Place, Task
from tasks_celery.migrate.source.plain import NOT_PLAIN
from tasks_celery.migrate.things.imports import local_name
from tasks_celery.migrate.things.task_options import literal
from tasks_celery.migrate.things.ticks import when_of

#: Beat's schedulers whose rows `@schedule` writes.
OF_ROWS = frozenset(
    {
        "django",
        "django_celery_beat.schedulers:DatabaseScheduler",
        "django_celery_beat.schedulers.DatabaseScheduler",
        "tasks_celery.beat.scheduler:DatabaseScheduler",
        "tasks_celery.beat.scheduler.DatabaseScheduler",
    }
)
_STAYS = "Beat goes on sending it, for a task that moves keeps its name"
NO_ROWS = f"{_STAYS}; @schedule is for beats of django-celery-beat, and beat_scheduler names none."
NOT_INSTALLED = f"{_STAYS}; with tasks_celery.beat in INSTALLED_APPS of this file it moves to the task, as @schedule."
#: A row outlives its entry, and `sync_schedules` does not touch what is not its own (`tasks_celery.beat.sync.plans`).
ROW = (
    "Beat made a row of this name, which goes on ticking: remove it with unschedule_task(apps, …) in a migration, else "
    "sync_schedules refuses the name."
)
TASK_STAYS = "Beat goes on sending it: its task stays Celery's, or is none of this project's."
NOT_NOW = f"{_STAYS}; its task stands in what is not rewritten now, where @schedule would have to be written."
#: Those of an entry's options that django-celery-beat takes, by our name for them.
_OPTIONS = {"queue": "queue", "expire_seconds": "expires"}


@dataclass(slots=True)
class Entry:
    """One entry of the settings: what `@schedule` is to say, or why it is not said."""

    anchor: Anchor
    name: str
    task: Task | None = None
    #: What of `tasks_celery.beat` says when, and its arguments.
    when: tuple[str, str] = ("", "")
    words: dict[str, str] = field(default_factory=dict)
    left: str = ""
    verdict: Verdict = Verdict.PERSON


def scheduled_in(names: Names) -> dict[str, list[dict[str, Any]]]:
    """Return what a file of settings schedules of each task that is a Django task, or becomes one: as JSON can hold it."""
    found: dict[str, list[dict[str, Any]]] = {}
    for each in entries(names):
        if each.task is not None and not each.left:
            found.setdefault(each.task.origin, []).append({"when": list(each.when), "words": each.words})
    return found


def find(names: Names) -> Iterator[Finding]:
    """Yield each entry of the settings, each task that is given one, and each ``add_periodic_task``."""
    for each in entries(names):
        if not each.left and (each.task is None or each.task.origin not in names.project.scheduled):
            each.left, each.verdict = NOT_NOW, Verdict.STAYS
        yield _of_entry(names, each)
    for task in names.project.tasks.values():
        if task.path == names.path and task.origin in names.project.scheduled:
            yield _of_task(names, task)
    if "add_periodic_task" in names.text:
        yield from _added(names)


def _of_entry(names: Names, entry: Entry) -> Finding:
    moves = not entry.left
    return Finding(
        path=names.path,
        anchor=entry.anchor,
        kind="schedule",
        name=entry.name,
        verdict=Verdict.MOVES if moves else entry.verdict,
        reason=entry.left or ROW,
        fixer="schedule" if moves else "",
        facts={"entry": True, **_needs(entry.task)} if moves else {},
    )


def _of_task(names: Names, task: Task) -> Finding:
    scheduled = names.project.scheduled[task.origin]
    local = {
        name: local_name(names, f"tasks_celery.beat.{name}")
        for name in ("schedule", *(each["when"][0] for each in scheduled))
    }
    return Finding(
        path=names.path,
        anchor=task.anchor,
        kind="schedule",
        name=task.origin,
        verdict=Verdict.MOVES,
        fixer="schedule",
        facts={
            "decorators": [_decorator(local, each["when"], each["words"]) for each in scheduled],
            "imports": [[name, "" if known == name else known] for name, known in sorted(local.items())],
            **_needs(task),
        },
    )


def _needs(task: Task | None) -> dict[str, Any]:
    return {} if task is None or task.is_django else {"needs": ["task"]}


def _decorator(local: Mapping[str, str], when: tuple[str, str], words: Mapping[str, str]) -> str:
    given = [f"{local[when[0]]}({when[1]})", *(f"{name}={value}" for name, value in words.items())]
    return f"{local['schedule']}({', '.join(given)})"


def entries(names: Names) -> list[Entry]:
    """Return the entries that a file sets for beat, from top to bottom."""
    places = names.project.settings_at.get("beat_schedule", ())
    here = [each for each in places if each.path == names.path]
    if not here:
        return []
    lines = {each.line: each.written for each in here}
    found: list[Entry] = []
    for place in names.places():
        node = place.node
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.lineno in lines and node.value is not None:
            found += _in_value(names, place, node.value, of_many=len(places) > 1)
            lines.pop(node.lineno)
    found += [Entry(Anchor(line, 0), written, left=_COMPUTED) for line, written in lines.items()]
    return found


_COMPUTED = f"{_STAYS}; which entries there are is computed, so @schedule has to be written by hand."
_OF_MANY = f"{_STAYS}; several places set beat_schedule, so which entries hold where has to be known before @schedule is written."
_CHANGED = f"{_STAYS}; the entries are used or changed further down, so @schedule has to be written by hand."


def _in_value(names: Names, place: Place, value: ast.expr, *, of_many: bool) -> Iterator[Entry]:
    if not isinstance(value, ast.Dict) or any(not isinstance(literal(key), str) for key in value.keys):
        yield Entry(names.anchor(place.node), "beat_schedule", left=_COMPUTED)
        return
    for key, node in zip(value.keys, value.values, strict=True):
        assert key is not None  # noqa: S101  for who reads the types
        found = Entry(names.anchor(key), str(literal(key)))
        _judge(names, Place(node, (value, place.node, *place.parents)), found)
        if not found.left and of_many:
            found.left = _OF_MANY
        if not found.left and _is_used(names, place):
            found.left = _CHANGED
        yield found


def _is_used(names: Names, place: Place) -> bool:
    """Whether the name that the entries are assigned to is said again in its file."""
    node = place.node
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    if len(targets) != 1 or not isinstance(targets[0], ast.Name):
        return len(targets) != 1
    said = [each for each in ast.walk(names.tree) if isinstance(each, ast.Name) and each.id == targets[0].id]
    return len(said) > 1


def _judge(names: Names, place: Place, entry: Entry) -> None:
    """Say of an entry what `@schedule` is to say, or why it is left."""
    if names.project.settings.get("beat_scheduler") not in OF_ROWS:
        entry.left, entry.verdict = NO_ROWS, Verdict.STAYS
        return
    given = place.node
    if not isinstance(given, ast.Dict) or any(not isinstance(literal(key), str) for key in given.keys):
        entry.left = _COMPUTED
        return
    values = {str(literal(key)): value for key, value in zip(given.keys, given.values, strict=True)}
    entry.task = _task_of(names, values.get("task"))
    if entry.task is None:
        entry.left, entry.verdict = TASK_STAYS, Verdict.STAYS
    elif not _is_installed(names):
        entry.left, entry.verdict = NOT_INSTALLED, Verdict.STAYS
    else:
        _judge_values(names, place, entry, values)


def _task_of(names: Names, value: ast.expr | None) -> Task | None:
    """Return the task of a name where it is a Django task by its decorator, or becomes one."""
    name = literal(value)
    task = names.project.tasks.get(names.project.by_name.get(name, "")) if isinstance(name, str) else None
    if task is None or task.made_by == "tasks_celery.adopt":
        return None
    return task if task.is_django or task.origin in names.project.moving else None


def _is_installed(names: Names) -> bool:
    return any(isinstance(each, ast.Constant) and each.value == "tasks_celery.beat" for each in ast.walk(names.tree))


def _judge_values(names: Names, place: Place, entry: Entry, values: Mapping[str, ast.expr]) -> None:
    left: list[str] = []
    when = when_of(names, values["schedule"], place) if "schedule" in values else None
    if when is None:
        left.append("when it is due cannot be said alike")
    else:
        entry.when = when
    entry.words["name"] = (
        ast.unparse(ast.Constant(entry.name)).replace("'", '"') if "'" not in entry.name else repr(entry.name)
    )
    if not 0 < len(entry.name) <= 200 or entry.name != entry.name.strip() or not entry.name.isprintable():
        left.append("its name is none that a row can have")
    for name in ("args", "kwargs"):
        if name in values and literal(values[name]) not in ((), [], {}, None):
            entry.words[name] = ast.unparse(values[name])
            if literal(values[name]) is NOT_PLAIN or not names.is_json(values[name], place):
                left.append(f"its {name} are not written as JSON")
    left += _judge_options(entry, values.get("options"))
    left += [
        f"it has {name}"
        for name in sorted(values.keys() - {"task", "schedule", "args", "kwargs", "options", "relative"})
    ]
    if "relative" in values and literal(values["relative"]) is not False:
        left.append("it is relative")
    if left:
        entry.left = f"{_STAYS}; {', '.join(left)}, so @schedule has to be written by hand."


def _judge_options(entry: Entry, value: ast.expr | None) -> Iterator[str]:
    if value is None or literal(value) in ({}, None):
        return
    given = literal(value)
    if not isinstance(given, dict):
        yield "its options are computed"
        return
    for name, each in given.items():
        if name == "expires":
            yield "its option expires is one that django-celery-beat leaves out today"
        elif name not in _OPTIONS or each is None:
            yield f"its option {name} has no counterpart"
        else:
            entry.words[_OPTIONS[name]] = repr(each) if not isinstance(each, str) else f'"{each}"'


def _added(names: Names) -> Iterator[Finding]:
    for place in names.places():
        node = place.node
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "add_periodic_task"
        ):
            yield Finding(
                path=names.path,
                anchor=names.anchor(node),
                kind="schedule",
                name="add_periodic_task",
                verdict=Verdict.PERSON,
                reason=(
                    "It runs as beat starts, and goes on working: a signature is sent by its task's name. To have it in the "
                    "admin and sent once by several beats, write @schedule(…) above the task and take this call out."
                ),
            )
