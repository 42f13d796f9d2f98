"""What becomes of the options of a Celery task's decorator, one by one. Pure: a text and the project's settings in, what to change out."""

from __future__ import annotations

import ast
import fnmatch
import json
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from tasks_celery.migrate.source import Names, Place
from tasks_celery.migrate.source.plain import NOT_PLAIN, is_plain, plain
from tasks_celery.task_options import OURS, TaskOptions

#: What both decorators know under the same name, and mean the same by.
KEPT = frozenset(each.name for each in fields(TaskOptions)) - (frozenset(OURS) - {"name"})
#: Celery's own queue, where the settings name none (celery/app/defaults.py).
CELERYS_QUEUE = "celery"
_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
#: Those that say what a Django task does in any case, by the value that says so.
_IMPLIED: Mapping[str, object] = {
    "bind": False,
    "serializer": "json",
    "typing": True,
    "pydantic": False,
    "shared": True,
}
_WHY = {
    "base": "its option base= gives it a class of its own",
    "serializer": "its option serializer= is another than JSON",
    "pydantic": "its option pydantic= has its arguments made into models",
    "typing": "its option typing=False has its arguments unchecked",
    "throws": "its option throws= has expected errors logged in another way",
    "priority": "its option priority= is a number of the broker's, and Django's go from -100 to 100",
    "track_started": "its option track_started= is about Celery's own result",
}


@dataclass(slots=True)
class Changes:
    """What to do to the keywords of a decorator: `rename` and `drop` by their names, `add` with the text of their values.

    `left` are the clauses that say why the decorator cannot be changed; where there are any, nothing is.
    """

    rename: dict[str, str] = field(default_factory=dict)
    drop: list[str] = field(default_factory=list)
    add: dict[str, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)


def changes_of(names: Names, place: Place, decorator: ast.expr, wire: str) -> Changes:
    """Return what becomes of a decorator at a place, for a task of that name on the wire."""
    changes = Changes()
    given = decorator if isinstance(decorator, ast.Call) else None
    if given is not None and (given.args or any(each.arg is None for each in given.keywords)):
        changes.left.append("its decorator takes arguments that are not written out (*, ** or by position)")
        return changes
    words = {str(each.arg): each.value for each in given.keywords} if given is not None else {}
    for name, value in words.items():
        _judge(changes, names, place, words, name, value)
    _judge_limits(changes, words)
    if "queue" not in words:
        _judge_route(changes, names, _text_of(words.get("name")) or wire)
    if "serializer" not in words:
        _judge_serializer(changes, names)
    return changes


#: What keeps each task of a project, and `assume_json` takes away.
COMPUTED_SERIALIZER = "the project's task_serializer is computed (--assume-json says that it is JSON)"


def _judge_serializer(changes: Changes, names: Names) -> None:
    serializer = names.project.settings.get("task_serializer", "json")
    if serializer is NOT_PLAIN and not names.project.assume_json:
        changes.left.append(COMPUTED_SERIALIZER)
    elif serializer not in ("json", NOT_PLAIN):
        changes.left.append("the project's task_serializer is not JSON, which is all that a Django task is sent as")


def literal(node: ast.expr | None) -> Any:
    """Return the value that is written, sums and products of numbers included; `NOT_PLAIN` for all else."""
    if node is None:
        return NOT_PLAIN
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        left, right = literal(node.left), literal(node.right)
        numbers = all(isinstance(each, int | float) for each in (left, right))
        return _ARITHMETIC[type(node.op)](left, right) if numbers and right != 0 else NOT_PLAIN
    value = plain(node)
    return value if is_plain(value) else NOT_PLAIN


def _judge(
    changes: Changes, names: Names, place: Place, words: Mapping[str, ast.expr], name: str, value: ast.expr
) -> None:
    written = literal(value)
    if name in _IMPLIED and written == _IMPLIED[name]:
        changes.drop.append(name)
    elif name == "bind" and written is True:
        changes.rename["bind"] = "takes_context"
    elif name == "queue":
        changes.rename["queue"] = "queue_name"
        if not _is_queue(names, place, value):
            changes.left.append("its queue= is not known to be the name of one")
    elif name == "retry_kwargs":
        _judge_retry_kwargs(changes, names, words, value)
    elif name not in KEPT:
        changes.left.append(_WHY.get(name, f"its option {name}= has no counterpart"))
    elif why := _refused(names, place, name, value):
        changes.left.append(why)


def _refused(names: Names, place: Place, name: str, value: ast.expr) -> str | None:
    """Return why a value cannot be that of our option of the same name; what only running it would tell is believed."""
    written = literal(value)
    if written is NOT_PLAIN:
        if name == "name":
            return "its name= is computed"
        if isinstance(value, ast.Set | ast.SetComp | ast.Dict):
            return f"its option {name}= has to be a tuple"
        is_time = isinstance(value, ast.Call) and names.origin(value.func, place) == "datetime.timedelta"
        return (
            f"its option {name}= is not known to be a number of seconds" if name == "expires" and not is_time else None
        )
    try:
        TaskOptions(**{name: written})
    except (TypeError, ValueError):
        return f"@task does not take this value of {name}="
    return None


def _judge_limits(changes: Changes, words: Mapping[str, ast.expr]) -> None:
    soft, hard = literal(words.get("soft_time_limit")), literal(words.get("time_limit"))
    if isinstance(soft, int | float) and isinstance(hard, int | float) and soft > hard:
        changes.left.append("its soft_time_limit is above its time_limit")


def _is_queue(names: Names, place: Place, value: ast.expr) -> bool:
    if isinstance(literal(value), str):
        return True
    found = names.origin(value, place) if isinstance(value, ast.Attribute) else None
    return bool(found and found.startswith("django.conf.settings."))


def _judge_retry_kwargs(changes: Changes, names: Names, words: Mapping[str, ast.expr], value: ast.expr) -> None:
    """Celery gives them to `retry` for what `autoretry_for` names, and for nothing else (celery/app/autoretry.py)."""
    named = {"max_retries": "max_retries", "countdown": "default_retry_delay"}
    items = dict(zip(value.keys, value.values, strict=True)) if isinstance(value, ast.Dict) else {None: value}
    given = {literal(key): each for key, each in items.items()}
    taken = [named[key] for key in given if key in named]
    same = (
        bool(given)
        and set(given) <= set(named)
        and not set(taken) & set(words)
        and "autoretry_for" in words
        and not ("countdown" in given and "retry_backoff" in words)
        # Given as None it is not "without end" but the default.
        and literal(given.get("max_retries")) is not None
    )
    if not same:
        changes.left.append("its retry_kwargs= are not the same as max_retries= and default_retry_delay=")
        return
    changes.drop.append("retry_kwargs")
    changes.add |= {named[key]: ast.get_source_segment(names.text, each) or "" for key, each in given.items()}


def _judge_route(changes: Changes, names: Names, wire: str) -> None:
    settings = names.project.settings
    queue = route_of(settings.get("task_routes"), wire)
    if queue is None:
        queue = settings.get("task_default_queue", CELERYS_QUEUE)
    if not isinstance(queue, str):
        changes.left.append("which queue it goes to is computed, so queue_name= has to be written by hand")
    elif queue != "default":
        changes.add["queue_name"] = json.dumps(queue, ensure_ascii=False)


def route_of(routes: Any, wire: str) -> Any:
    """Return the queue that the setting task_routes names for a task; None for none, `NOT_PLAIN` where it does not say.

    As celery/app/routes.py has it: of one dict the very name goes before the patterns, of several the first that has it.
    """
    if not routes:
        return None
    for each in routes if isinstance(routes, list | tuple) else [routes]:
        found = _in_map(each, wire)
        if found is not None:
            return found
    return None


def _in_map(each: Any, wire: str) -> Any:
    pairs = list(each.items()) if isinstance(each, dict) else each
    if not isinstance(pairs, list | tuple) or not all(_is_route(pair) for pair in pairs):
        return NOT_PLAIN
    known = {name: route for name, route in pairs if "*" not in name}
    if wire in known:
        return _queue_in(known[wire])
    return next((_queue_in(route) for name, route in pairs if "*" in name and fnmatch.fnmatchcase(wire, name)), None)


def _is_route(pair: object) -> bool:
    return isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str)


def _queue_in(route: Any) -> Any:
    if isinstance(route, dict):
        return route["queue"] if set(route) == {"queue"} else NOT_PLAIN
    return route if isinstance(route, str) else NOT_PLAIN


def _text_of(node: ast.expr | None) -> str | None:
    value = literal(node)
    return value if isinstance(value, str) else None
