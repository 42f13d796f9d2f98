"""Which tasks a project has: what is decorated as one, made into one by a call, or a class of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from tasks_celery.migrate.finding import Anchor
from tasks_celery.migrate.source.summary import Made, Summary

if TYPE_CHECKING:
    from tasks_celery.migrate.source.project import Project, Task

APPS = frozenset({"celery.Celery", "celery.app.Celery", "celery.app.base.Celery"})
CURRENT = frozenset({"celery.current_app", "celery._state.current_app", "celery.app.current_app"})
CLASSES = frozenset(
    {"celery.Task", "celery.app.task.Task", "celery.app.base.Task", "celery.task.Task", "celery.task.base.Task"}
)
#: What makes a function a task, by where it is defined.
MAKERS = {
    "celery.shared_task": "celery.shared_task",
    "celery.app.shared_task": "celery.shared_task",
    "celery.task": "celery.task",
    "celery.task.task": "celery.task",
    "celery.task.base.task": "celery.task",
    "celery.task.periodic_task": "celery.task",
    "celery.decorators.task": "celery.task",
    "celery.decorators.periodic_task": "celery.task",
    "django.tasks.task": "django.tasks.task",
    "django.tasks.base.task": "django.tasks.task",
    "django_tasks.task": "django_tasks.task",
    "django_tasks.base.task": "django_tasks.task",
    "tasks_celery.task": "tasks_celery.task",
    "tasks_celery.task.task": "tasks_celery.task",
    "tasks_celery.adopt": "tasks_celery.adopt",
    "tasks_celery.adopt.adopt": "tasks_celery.adopt",
}


def tasks_in(project: Project) -> Iterator[Task]:
    """Yield the tasks of a project, by module."""
    for summary in project.modules.values():
        yield from _decorated(project, summary)
        yield from _called(project, summary)
        yield from _classes(project, summary)


def maker(project: Project, origin: str | None) -> str | None:
    """Return what a decorator or a callee makes of a function, by its origin: as `Task.made_by`; None for no task."""
    if origin is None:
        return None
    if origin in MAKERS:
        return MAKERS[origin]
    app, _, attribute = origin.rpartition(".")
    return "celery.Celery.task" if attribute == "task" and is_app(project, app) else None


class Maker(NamedTuple):
    """What makes a function a task: as `Task.made_by`, and the options that it has been given already."""

    made_by: str
    options: Mapping[str, str] = {}
    #: Whether it can be given more of them, and makes a decorator then; else it takes the function alone.
    takes_options: bool = True
    #: Whether it is a decorator that a call has made.
    is_made: bool = False


def making(project: Project, origin: str | None, depth: int = 0) -> Maker | None:
    """Return what makes a task of a function, by its origin: also ``shared_task(acks_late=True)`` and a partial, under their names."""
    made_by = maker(project, origin)
    if made_by is not None:
        return Maker(made_by)
    summary, name = _definition(project, origin or "")
    made = summary.made.get(name) if summary else None
    if summary is None or made is None or depth > 5:
        return None
    by = project.resolve(summary.module, made.by)
    is_partial = by == "functools.partial"
    within = making(project, project.resolve(summary.module, made.of) if is_partial and made.of else by, depth + 1)
    if within is None or not (is_partial or (within.takes_options and not made.of)):
        return None
    return Maker(within.made_by, {**within.options, **made.options}, is_partial and within.takes_options, is_made=True)


def is_app(project: Project, origin: str | None) -> bool:
    """Return whether something is a Celery app: one that is made at the top of a module, or the current one."""
    if origin is None or origin in CURRENT:
        return origin is not None
    summary, name = _definition(project, origin)
    made = summary.made.get(name) if summary else None
    return made is not None and summary is not None and _makes_app(project, summary, made.by)


def _makes_app(project: Project, summary: Summary, callee: str, depth: int = 0) -> bool:
    """Return whether calling something gives an app: the class, one of its own, or a function that returns one."""
    origin = project.resolve(summary.module, callee) or project.imported(summary, callee)
    if _is_a(project, origin, APPS):
        return True
    defined, name = _definition(project, origin or "")
    returned = defined.returns.get(name) if defined else None
    return (
        defined is not None and returned is not None and depth < 5 and _makes_app(project, defined, returned, depth + 1)
    )


def _definition(project: Project, origin: str) -> tuple[Summary | None, str]:
    module, _, name = origin.rpartition(".")
    return project.modules.get(module), name


def is_task_class(project: Project, origin: str | None) -> bool:
    """Return whether something is Celery's class of tasks, or a class of the project that has it among its bases."""
    return _is_a(project, origin, CLASSES)


def _is_a(project: Project, origin: str | None, classes: frozenset[str], depth: int = 0) -> bool:
    if origin is None or origin in classes or depth > 20:
        return origin is not None and depth <= 20
    module, _, name = origin.rpartition(".")
    if classes is CLASSES and name == "Task" and is_app(project, module):
        return True
    summary = project.modules.get(module)
    if summary is None or name not in summary.classes:
        return False
    return any(_is_a(project, project.resolve(module, each), classes, depth + 1) for each in summary.classes[name][0])


def _decorated(project: Project, summary: Summary) -> Iterator[Task]:
    for name, decorators in summary.decorated.items():
        for made in decorators:
            by = making(project, project.resolve(summary.module, made.by))
            if by is not None and (by.takes_options or not made.options):
                yield _task(summary, name, by, made)
                break


def _called(project: Project, summary: Summary) -> Iterator[Task]:
    for name, made in summary.made.items():
        origin = project.resolve(summary.module, made.by)
        by = making(project, origin)
        if by is not None and made.of:
            yield _task(summary, name, by, made)
        elif (origin or "").endswith(".register_task") and is_app(
            project, (origin or "").removesuffix(".register_task")
        ):
            yield _task(summary, name, Maker("celery.Task"), made)


def _classes(project: Project, summary: Summary) -> Iterator[Task]:
    from tasks_celery.migrate.source.project import Task

    for name, (_, body) in summary.classes.items():
        if "run" in body and body.get("abstract") != "True" and is_task_class(project, f"{summary.module}.{name}"):
            options = {key: value for key, value in body.items() if value != "def" and not key.startswith("_")}
            yield Task(f"{summary.module}.{name}", summary.path, Anchor(*summary.places[name]), "celery.Task", options)


def _task(summary: Summary, name: str, by: Maker, made: Made) -> Task:
    from tasks_celery.migrate.source.project import Task

    origin = f"{summary.module}.{name}"
    usual = origin.removeprefix(f"{summary.root}.") if summary.root else origin
    # Celery names a method's task as a function's, by its module.
    usual = f"{usual.removesuffix(f'.{name}')}.{name.rpartition('.')[2]}"
    options = {**by.options, **made.options}
    hidden = by.is_made and "**" not in options
    if hidden:
        options["**"] = made.by
    return Task(origin, summary.path, Anchor(*summary.places[name]), by.made_by, options, usual, has_all_options=hidden)
