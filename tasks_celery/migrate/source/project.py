"""A whole project: what its modules bind, linked; the Celery tasks in it, and every use of them."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tasks_celery.migrate.finding import Anchor
from tasks_celery.migrate.source.linking import Links
from tasks_celery.migrate.source.modules import is_package, module_names, other_names, roots_of
from tasks_celery.migrate.source.summary import Summary, absolute, summarise


@dataclass(frozen=True, slots=True)
class Task:
    """A Celery task of the project. `origin` is where it is defined, dotted: ``shop.tasks.add``.

    `made_by` is what made it: ``celery.shared_task``, ``celery.Celery.task``, ``celery.task``, ``celery.Task`` for a class of
    its own, ``tasks_celery.adopt``, or ``django.tasks.task``, ``django_tasks.task``, ``tasks_celery.task`` where it has
    moved already. `options` are the keyword arguments of its decorator as source text, ``**`` those that are spread into it,
    or the decorator's name where a call has made that: ``@retried`` after ``retried = shared_task(acks_late=True)``.
    """

    origin: str
    path: str
    anchor: Anchor
    made_by: str
    options: Mapping[str, str] = field(default_factory=dict)
    #: What Celery names it by its module, where its options say nothing.
    usual_name: str = ""
    #: Whether `options` has also those that a call made its decorator with, all of them: its ``**`` hides none.
    has_all_options: bool = False

    @property
    def name(self) -> str | None:
        """The name it has on the wire: its option, else its origin; None where that cannot be read."""
        usual = self.usual_name or self.origin
        if "name" in self.options:
            try:
                said = ast.literal_eval(self.options["name"])
            except (ValueError, SyntaxError):
                return None
            return said if isinstance(said, str) else usual if said is None else None
        return None if "**" in self.options and not self.has_all_options else usual

    @property
    def is_django(self) -> bool:
        """Whether it is a Django task already: moved, or adopted."""
        return self.made_by in DJANGO


DJANGO = frozenset({"django.tasks.task", "django_tasks.task", "tasks_celery.task", "tasks_celery.adopt"})


@dataclass(frozen=True, slots=True)
class Use:
    """One place where a task is used. `how` is what is done with it: the attributes after it, dotted ("delay", "apply_async",
    "s", "run", …), "()" for a direct call, "" where it is passed on as a value, "patch:delay" where a test patches it
    ("patch:" the task itself), "name" where its name on the wire stands in a text, "adopt" where it is given to that.

    `on_commit` tells that the call is what ``transaction.on_commit`` calls.
    """

    task: str
    path: str
    anchor: Anchor
    how: str
    on_commit: bool = False


@dataclass(frozen=True, slots=True)
class Setting:
    """One place where a setting of Celery is set. `name` is Celery's, `written` what stands there; `value` as `Project.settings`."""

    name: str
    value: Any
    path: str
    line: int
    written: str


@dataclass
class Project:
    """What was read of a project. Made by `of` from texts, and by `tasks_celery.migrate.source.reading.read` from a folder."""

    modules: dict[str, Summary] = field(default_factory=dict)
    #: The tasks by origin.
    tasks: dict[str, Task] = field(default_factory=dict)
    #: The uses of each task, by its origin.
    uses: dict[str, list[Use]] = field(default_factory=dict)
    #: What the settings say, by Celery's names (``task_default_queue``, ``task_routes``): values as literals say them, with
    #: `NOT_PLAIN` (`tasks_celery.migrate.source`) for what is none, as a whole or inside of a dict or list. `NOT_PLAIN` too
    #: where two places say different things. What is nowhere set is not in it. Of Django's it has ``USE_TZ``: False where any
    #: place may say so.
    settings: dict[str, Any] = field(default_factory=dict)
    #: Every place where each of them is set.
    settings_at: dict[str, list[Setting]] = field(default_factory=dict)
    #: The origins of the tasks whose decorators move in this run.
    moving: set[str] = field(default_factory=set)
    #: What the settings schedule of each task that moves, by its origin, as JSON can hold it.
    scheduled: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    #: Other names that a module answers to, with its own: ``mysite.shop.tasks`` and ``shop.tasks``.
    also: dict[str, str] = field(default_factory=dict)
    #: Take every argument for JSON, whatever `Names.is_json` can prove.
    assume_json: bool = False
    #: Take every id that a result is asked for by for one that is known: `get_result` raises for any other.
    assume_known_ids: bool = False
    #: The folder it was read from; of a project of texts these instead.
    root: str = ""
    texts: Mapping[str, str] = field(default_factory=dict)
    #: What was not read, with the reason.
    skipped: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, texts: Mapping[str, str]) -> Project:
        """Return the project of some texts, by path (``shop/tasks.py``)."""
        from tasks_celery.migrate.source.judging import moving_of, scheduled_of
        from tasks_celery.migrate.source.uses import uses_in

        names = module_names(texts)
        project = cls.linked(
            (summarise(names[path][0], path, text, is_package=is_package(path)) for path, text in texts.items()),
            names,
        )
        project.texts = texts
        for path, text in texts.items():
            project.add(uses_in(project, path, text))
        for path in project.defining:
            project.moving |= moving_of(project, path)
        for path in project.scheduling:
            project.scheduled.update(scheduled_of(project, path))
        return project

    @classmethod
    def linked(cls, summaries: Iterable[Summary], names: Mapping[str, list[str]]) -> Project:
        """Return the project of some files, with its tasks and settings, but without the tasks' uses."""
        from tasks_celery.migrate.source.settings import settings_in
        from tasks_celery.migrate.source.tasks import tasks_in

        project, roots = cls(also=other_names(names)), roots_of(names)
        for each in summaries:
            each.root = roots.get(each.module, "")
            project.modules[each.module] = each
        project.tasks = {task.origin: task for task in tasks_in(project)}
        project.settings_at, project.settings = settings_in(project)
        return project

    def add(self, uses: Iterable[Use]) -> None:
        """Take in the uses that were found in a file."""
        for each in uses:
            self.uses.setdefault(each.task, []).append(each)

    def data(self, path: str) -> bytes:
        """Return what is in a file of it; raises OSError."""
        return self.texts[path].encode() if path in self.texts else Path(self.root, path).read_bytes()

    @cached_property
    def links(self) -> Links:
        """The modules, to be followed from one to the next."""
        return Links(self.modules, self.also)

    @cached_property
    def by_path(self) -> dict[str, Summary]:
        """The modules by their paths."""
        return {each.path: each for each in self.modules.values()}

    @cached_property
    def by_name(self) -> dict[str, str]:
        """The origins of the tasks by the names that they have on the wire."""
        return {task.name: origin for origin, task in self.tasks.items() if task.name}

    @property
    def defining(self) -> list[str]:
        """The paths of the files that define tasks."""
        return sorted({task.path for task in self.tasks.values()})

    @property
    def scheduling(self) -> list[str]:
        """The paths of the files that set what beat sends."""
        return sorted({each.path for each in self.settings_at.get("beat_schedule", ())})

    @cached_property
    def importing(self) -> dict[str, set[str]]:
        """The modules that import each thing, anywhere in them, as ``shop.tasks:add``, and all of a module as ``shop.tasks:*``."""
        found: dict[str, set[str]] = {}
        for summary in self.modules.values():
            targets = {each for bound in summary.imports.values() for each in bound}
            targets |= {f"{star}:*" for star, _ in summary.stars}
            for each in targets:
                target = absolute(each, summary.module, is_package=summary.is_package)
                if target is not None:
                    found.setdefault(target, set()).add(summary.module)
        return found

    @cached_property
    def assigned(self) -> list[tuple[str, str]]:
        """The dotted names that are assigned to from elsewhere (``app.Task``), each with the module that does so."""
        return [(summary.module, name) for summary in self.modules.values() for name in summary.patched]

    @cached_property
    def odd_keys(self) -> bool:
        """Whether a model of the project has a primary key that is neither a number nor a text."""
        return any(each.odd_keys for each in self.modules.values())

    @cached_property
    def odd_fields(self) -> frozenset[str]:
        """The fields of the project's models that hold neither numbers nor texts."""
        return frozenset().union(*(each.odd_fields for each in self.modules.values()))

    def resolve(self, module: str, name: str) -> str | None:
        """Return where a dotted name of a module's top level is defined; None where that cannot be proven.

        ``resolve("shop.views", "tasks.add.delay")`` is ``"shop.tasks.add.delay"``: what follows a definition is kept.
        """
        return self.links.resolve(self.also.get(module, module), name)

    def origin(self, target: str) -> str | None:
        """Return where an absolute dotted name is defined, through re-exports; a foreign one (``celery.shared_task``) as it is."""
        return self.links.origin(target)

    def imported(self, summary: Summary, name: str) -> str | None:
        """Return where a dotted name leads to that is imported in a function of a module, and nowhere else to anything else."""
        first, _, rest = name.partition(".")
        targets = summary.imports.get(first, ())
        if len(targets) != 1 or first in summary.bindings:
            return None
        return self.links.imported(summary, targets[0], rest)

    def task_at(self, origin: str | None) -> tuple[Task, str] | None:
        """Return the task that an origin leads to or through, and what follows it: ``delay`` of ``shop.tasks.add.delay``."""
        parts = origin.split(".") if origin else []
        for size in range(len(parts), 0, -1):
            task = self.tasks.get(".".join(parts[:size]))
            if task is not None:
                return task, ".".join(parts[size:])
        return None
