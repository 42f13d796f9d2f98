"""What a project sets of Celery's settings: in its modules of settings, and on its apps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasks_celery.migrate.source.keys import NAMES, OLD, USE_TZ, key_of
from tasks_celery.migrate.source.plain import NOT_PLAIN
from tasks_celery.migrate.source.summary import Set, Summary
from tasks_celery.migrate.source.tasks import is_app

if TYPE_CHECKING:
    from tasks_celery.migrate.source.project import Project, Setting


def settings_in(project: Project) -> tuple[dict[str, list[Setting]], dict[str, Any]]:
    """Return every place where a setting is set, by Celery's names, and what each says in all."""
    from tasks_celery.migrate.source.project import Setting

    namespaces = _namespaces(project)
    configs = _configs(project)
    at: dict[str, list[Setting]] = {}
    for summary in project.modules.values():
        for found in summary.settings:
            name = _name(project, summary, found, namespaces, configs)
            if name is not None:
                at.setdefault(name, []).append(Setting(name, found.value, summary.path, found.line, found.written))
    return at, {name: _agreed([each.value for each in places]) for name, places in at.items()} | _zones(project)


def _zones(project: Project) -> dict[str, bool]:
    """Return that USE_TZ is off, where any place may say so; it is no setting of Celery's, and has no places."""
    written = [each for summary in project.modules.values() for each in summary.settings if each.written == USE_TZ]
    return {USE_TZ: False} if any(each.value is not True for each in written) else {}


def _agreed(values: list[Any]) -> Any:
    return values[0] if all(each == values[0] for each in values) else NOT_PLAIN


def _namespaces(project: Project) -> frozenset[str]:
    """Return the prefixes of the project's settings; where no app says so, Django's usual one, and Celery 3's without."""
    said = {namespace for each in project.modules.values() for namespace, _ in each.configured}
    return frozenset(said - {"*"}) or frozenset({"CELERY", ""})


def _configs(project: Project) -> frozenset[str]:
    """Return the modules that apps are configured from by name: theirs have Celery's names as they are."""
    found = set()
    for summary in project.modules.values():
        for _, given in summary.configured:
            found.add(given)
            found.add(project.resolve(summary.module, given) or given)
    return frozenset(found)


def _name(
    project: Project, summary: Summary, found: Set, namespaces: frozenset[str], configs: frozenset[str]
) -> str | None:
    if found.on:
        origin = project.resolve(summary.module, found.on) or project.imported(summary, found.on)
        name = found.written if found.written in NAMES else OLD.get(found.written)
        return name if is_app(project, origin) else None
    if found.written.islower():
        return found.written if summary.module in configs else None
    return key_of(found.written, namespaces)
