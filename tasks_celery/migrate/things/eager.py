"""What tests do with tasks: eager mode, ``.get()``, Celery's fixtures, and patches of ``.delay``."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tasks_celery.migrate.finding import Finding, Verdict
from tasks_celery.migrate.source import Names, Place, Use
from tasks_celery.migrate.source.summary import dotted
from tasks_celery.migrate.things.settings import celery_name

FIXTURES = {
    "celery_app",
    "celery_worker",
    "celery_session_app",
    "celery_session_worker",
    "celery_config",
    "celery_parameters",
    "celery_includes",
    "celery_enable_logging",
    "celery_worker_parameters",
    "depends_on_current_app",
}
_EAGER = {"task_always_eager", "task_eager_propagates"}
_SENDS = {"delay", "apply_async", "apply"}
_TEST_PATH = re.compile(r"(^|/)(tests?|testing)/|(^|/)(test_[^/]*|[^/]*_tests?|tests?|conftest)\.py$")

_MENTIONS = re.compile(r"celery_|CELERY_|\.apply\(")

_MODE = "Django's tasks follow it too, but one that fails gives a FAILED result and raises nothing: look at the tests that expect its exception."
_FIXTURE = "It goes on: the twins of Django's tasks are in that app and run on that worker, which has no mover: nothing with a run_after is sent there."
_GET = "A TaskResult does not wait: read return_value after result.refresh(), or leave .delay() here, which the task still answers."
_APPLY = "A Django task answers apply() too."
_PATCHED = (
    "A Django task is frozen, so nothing on it can be patched: patch the name of the task where it is used, or leave it Celery's "
    "and adopt() it."
)


def is_test(path: str) -> bool:
    """Tell whether a file is of the tests, by its path."""
    return _TEST_PATH.search(path) is not None


def find(names: Names) -> Iterator[Finding]:
    """Yield what tests of a file do with eager mode, results, fixtures and patches."""
    for use in _patches(names):
        yield Finding(
            path=names.path,
            anchor=use.anchor,
            kind="eager",
            name=f"patch of {use.task}.{use.how.removeprefix('patch:')}".rstrip("."),
            verdict=Verdict.PERSON,
            reason=_PATCHED,
            facts={"task": use.task},
        )
    if not _MENTIONS.search(names.text) and not _awaits(names.text):
        return
    for place in names.places():
        found = _at(names, place)
        if found:
            node, name, verdict, reason = found
            yield Finding(
                path=names.path,
                anchor=names.anchor(node),
                kind="eager",
                name=name,
                verdict=verdict,
                reason=reason,
            )


def _patches(names: Names) -> Iterator[Use]:
    if "patch" in names.text or "setattr" in names.text:
        for uses in names.project.uses.values():
            yield from (use for use in uses if use.path == names.path and use.how.startswith("patch:"))


def _awaits(text: str) -> bool:
    """Whether a text may ask what it sends for its result at once."""
    return ".get(" in text and any(each in text for each in _SENDS)


def _at(names: Names, place: Place) -> tuple[ast.AST, str, Verdict, str] | None:
    match place.node:
        case ast.Call():
            return _in_a_call(names, place.node, place)
        case ast.Assign(targets=[ast.Attribute(value=base) as target]) if not (dotted(base) or "").endswith(".conf"):
            return _mode(target, target.attr)
        case ast.FunctionDef() | ast.AsyncFunctionDef() if _may_have_fixtures(names, place.node):
            return _fixture(place.node)
    return None


def _in_a_call(names: Names, call: ast.Call, place: Place) -> tuple[ast.AST, str, Verdict, str] | None:
    match call.func:
        case ast.Attribute(attr="get", value=ast.Call(func=ast.Attribute(attr=sent) as inner)) if sent in _SENDS:
            task = _task(names, inner, place)
            return (call, f"{task}.{sent}().get", Verdict.PERSON, _GET) if task and is_test(names.path) else None
        case ast.Attribute(attr="apply") as func:
            task = _task(names, func, place)
            return (call, f"{task}.apply", Verdict.STAYS, _APPLY) if task and is_test(names.path) else None
    for word in call.keywords:
        if (dotted(call.func) or "").rpartition(".")[2] in {"override_settings", "settings", "modify_settings"}:
            found = _mode(word, word.arg or "")
            if found:
                return found
    return None


def _mode(node: ast.AST, name: str) -> tuple[ast.AST, str, Verdict, str] | None:
    setting = celery_name(name)
    return (node, setting, Verdict.PERSON, _MODE) if setting in _EAGER and setting else None


def _task(names: Names, sending: ast.Attribute, place: Place) -> str | None:
    """Return the task that a ``task.delay`` sends, None where it is not proven to be one."""
    origin = names.origin(sending.value, place)
    return origin if origin in names.project.tasks else None


def _may_have_fixtures(names: Names, node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return is_test(names.path) and (node.name.startswith("test") or bool(node.decorator_list))


def _fixture(node: ast.FunctionDef | ast.AsyncFunctionDef) -> tuple[ast.AST, str, Verdict, str] | None:
    asked = next((each.arg for each in node.args.args if each.arg in FIXTURES), None)
    return (node, asked, Verdict.STAYS, _FIXTURE) if asked else None
