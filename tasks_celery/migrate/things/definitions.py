"""The functions that Celery's decorators make tasks of: what would change with each, or what keeps it as it is. Pure."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from tasks_celery.migrate.source import Names, Place, Project, Task, Use
from tasks_celery.migrate.source.summary import dotted
from tasks_celery.migrate.source.tasks import APPS, is_app, maker
from tasks_celery.migrate.things.bound import Bound, bound_of
from tasks_celery.migrate.things.decorators import keeps_function
from tasks_celery.migrate.things.task_options import Changes, changes_of
from tasks_celery.migrate.things.written import written_from

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef

#: What a Django task has not, and the fixer on-commit changes with the decorator wherever it is called.
ON_COMMIT = frozenset({"delay_on_commit", "apply_async_on_commit"})
#: What a Django task of ours answers, of all that is asked of a Celery task.
ANSWERED = frozenset(
    {"()", "delay", "apply_async", "apply", "s", "si", "signature"}
    | {
        "enqueue",
        "aenqueue",
        "enqueue_many",
        "aenqueue_many",
        "using",
        "get_result",
        "aget_result",
        "call",
        "acall",
        "func",
        "module_path",
        "celery",
    }
)


@dataclass(slots=True)
class Definition:
    """A function that a decorator makes a Celery task of: what to change, or the clauses that say why it is left."""

    place: Place
    origin: str
    index: int = 0
    changes: Changes = field(default_factory=Changes)
    bound: Bound | None = None
    left: list[str] = field(default_factory=list)


def moving_in(names: Names) -> set[str]:
    """Return the origins of the tasks of a file that become Django tasks by their decorators."""
    return {each.origin for each in definitions(names) if not each.left}


def definitions(names: Names) -> list[Definition]:
    """Return the tasks that the functions at the top level of a file are made of, from top to bottom."""
    by_anchor = {each.anchor: each for each in tasks_of(names) if not each.is_django}
    if not by_anchor:
        return []
    common = _of_the_file(names)
    found = []
    for place in names.places():
        if isinstance(place.node, ast.FunctionDef | ast.AsyncFunctionDef) and place.node.decorator_list:
            task = by_anchor.get(names.anchor(place.node))
            if task is not None:
                found.append(_define(names, place, task, common))
    return found


def tasks_of(names: Names) -> list[Task]:
    """Return the tasks that a file defines, in whatever way."""
    return [each for each in names.project.tasks.values() if each.path == names.path]


def _define(names: Names, place: Place, task: Task, common: list[str]) -> Definition:
    found = Definition(place, task.origin, left=list(common))
    function, decorators = _function(place), decorators_of(place)
    makers = [index for index, each in enumerate(decorators) if makes_task(names, each, place)]
    found.left += _of_the_function(names, place, task)
    if len(makers) != 1:
        found.left.append("more than one decorator makes a task of it" if makers else _why_not_celerys(task))
        return found
    found.index = makers[0]
    found.left += _of_other_decorators(names, place, found.index)
    found.changes = changes_of(names, place, decorators[found.index], task.name or task.origin)
    found.left += found.changes.left
    if "bind" in found.changes.rename:
        found.bound = bound_of(names, place)
        found.left += found.bound.left
    if isinstance(function, ast.FunctionDef):
        found.left += _of_what_it_returns(names, place)
    found.left += _of_uses(names, task, is_bound=found.bound is not None)
    return found


def _why_not_celerys(task: Task) -> str:
    if task.has_all_options:
        return f"a call makes its decorator ({task.options['**']}): write Celery's own with those options above it to move it"
    return "its decorator is not Celery's own"


def _function(place: Place) -> Function:
    assert isinstance(place.node, ast.FunctionDef | ast.AsyncFunctionDef)  # noqa: S101  for who reads the types
    return place.node


def decorators_of(place: Place) -> list[ast.expr]:
    return _function(place).decorator_list


def called(decorator: ast.expr) -> ast.expr:
    return decorator.func if isinstance(decorator, ast.Call) else decorator


def makes_task(names: Names, decorator: ast.expr, place: Place) -> bool:
    """Return whether a decorator makes a Celery task."""
    return (maker(names.project, names.origin(called(decorator), place)) or "").startswith("celery.")


def _of_the_file(names: Names) -> list[str]:
    """Return what keeps all tasks of a file as they are."""
    left = []
    if any(_makes_app(names, each) for each in names.tree.body):
        left.append("it stands beside the Celery app, which is imported before Django's settings can be read")
    if any(_is_main(each) for each in names.tree.body):
        left.append("its file is also run by itself, where Celery calls the task by another name")
    if names.project.settings.get("task_cls") is not None or _has_task_class(names):
        left.append("task_cls gives all tasks a class of the project's own")
    return left


def _has_task_class(names: Names) -> bool:
    """Whether ``app.Task = …`` stands anywhere in the project."""
    return any(
        name.endswith(".Task") and is_app(names.project, names.project.resolve(module, name.removesuffix(".Task")))
        for module, name in names.project.assigned
    )


def _makes_app(names: Names, statement: ast.stmt) -> bool:
    value = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None
    if not isinstance(value, ast.Call):
        return False
    return names.origin(value.func, Place(value, (statement, names.tree))) in APPS


def _is_main(statement: ast.stmt) -> bool:
    match statement:
        case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
            return True
    return False


def _of_the_function(names: Names, place: Place, task: Task) -> Iterator[str]:
    function = _function(place)
    around = place.parents[0]
    if isinstance(around, ast.ClassDef):
        yield "it is a method, and Django's tasks are functions of a module"
    elif any(isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) for each in place.parents):
        yield "it is defined inside a function, and Django's tasks are functions of a module"
    elif not isinstance(around, ast.Module):
        yield "it is defined under a condition"
    elif names.project.resolve(names.module, function.name) != task.origin:
        yield "its name is bound more than once, or may be replaced from elsewhere"
    if isinstance(function, ast.AsyncFunctionDef):
        yield "it is a coroutine function, which Celery never awaits and Django would"
    if any(isinstance(each, ast.Yield | ast.YieldFrom) for each in _own_nodes(function)):
        yield "it is a generator function, which a worker never goes through"


def _own_nodes(function: Function) -> Iterator[ast.AST]:
    """Yield the nodes of a function's body that are not those of a function within."""
    todo: list[ast.AST] = list(function.body)
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            todo += ast.iter_child_nodes(node)


def _of_other_decorators(names: Names, place: Place, index: int) -> Iterator[str]:
    for number, each in enumerate(decorators_of(place)):
        shown = dotted(called(each)) or "a computed one"
        if number < index:
            yield f"the decorator above it ({shown}) would get a Django task"
        elif number > index and not keeps_function(names, each, place):
            yield f"the decorator below it ({shown}) is not known to give back a plain function"


def _of_what_it_returns(names: Names, place: Place) -> Iterator[str]:
    function = _function(place)
    own = {id(each) for each in _own_nodes(function) if isinstance(each, ast.Return)}
    for each in _within(place):
        value = each.node.value if isinstance(each.node, ast.Return) and id(each.node) in own else None
        if value is not None and not _is_retry(value) and not names.is_json(value, each):
            yield f"what it returns in line {value.lineno} is not known to be JSON"
            return


def _is_retry(value: ast.expr) -> bool:
    """Whether a value is that of a call which returns nothing, but raises."""
    return isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr == "retry"


def _within(place: Place) -> Iterator[Place]:
    stack = [place]
    while stack:
        found = stack.pop()
        yield found
        around = (found.node, *found.parents)
        stack += [Place(each, around) for each in reversed(list(ast.iter_child_nodes(found.node)))]


def _of_uses(names: Names, task: Task, *, is_bound: bool) -> Iterator[str]:
    """Yield each thing that is asked of a task and that a Django task does not answer, with its first place."""
    told: set[str] = set()
    for use in names.project.uses.get(task.origin, ()):
        why = _why_unanswered(names.project, use, is_bound=is_bound)
        if why and why not in told:
            told.add(why)
            yield f"{why} ({use.path}:{use.anchor.line})"


def _why_unanswered(project: Project, use: Use, *, is_bound: bool) -> str:  # noqa: PLR0911  a case for each
    how = use.how
    if how == "":
        return "it is passed on as a value"
    if how.startswith("patch:"):
        patched = how.removeprefix("patch:")
        return f"a test patches its {patched}, and a Django task is frozen" if patched else ""
    if how == "()" and is_bound:
        return "it is called directly, and would have to be given a context"
    if how == "name":
        # Of a text the quote comes first. A Django task has a name as well, but that of its function.
        is_read = written_from(project, use).startswith("name")
        return "it is asked for .name, which a Django task has another of" if is_read else ""
    if how == "adopt":
        return "it is given to adopt(), which takes no Django task"
    if how in ON_COMMIT:
        is_called = re.match(rf"{how}\s*\(", written_from(project, use))
        return "" if is_called else f"it is asked for .{how}, uncalled, which a Django task has not"
    return "" if how in ANSWERED else f"it is asked for .{how}, which a Django task has not"


def waiting_calls(project: Project, origin: str) -> list[Use]:
    """Return the calls of a task that have to be changed with its definition, for a Django task has no such attributes."""
    return [use for use in project.uses.get(origin, ()) if use.how in ON_COMMIT]
