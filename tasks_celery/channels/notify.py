"""Both. What a task announces when it is done: `notify` notes a rule, which `receivers` looks up.

Task objects are frozen and slotted, so a rule cannot rest on them: it rests in this module, under the
path of the task's function. That is the same for a task, for its variants made by `using()`, and for the
function alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from inspect import isclass, iscoroutinefunction, isfunction
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from tasks_celery.channels.audience import Audience, Tenant, refuse_wrong_audience, refuse_wrong_tenant
from tasks_celery.compat import Task, TaskResult, TaskResultStatus

if TYPE_CHECKING:
    Payload: TypeAlias = Callable[[TaskResult[Any, Any]], Mapping[str, Any] | None]

Decorated = TypeVar("Decorated", bound="Task[Any, Any] | Callable[..., Any]")

LONGEST_NAME = 100
_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")
#: What the connection itself says to a page, now or in a later release.
RESERVED_NAMES = frozenset(
    {"event", "ready", "reset", "status", "task.close", "task.control", "task.event", "task.ready", "task.reset"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What is announced about one task, to whom, and what the page may see of it."""

    event: str
    failed: str | None = None
    to: Audience | Callable[[TaskResult[Any, Any]], Audience] = None
    payload: Payload | None = None
    tenant: Tenant = None

    def event_for(self, status: TaskResultStatus) -> str | None:
        """Return the name of the event that announces `status`; None if nothing does."""
        match status:
            case TaskResultStatus.SUCCESSFUL:
                return self.event
            case TaskResultStatus.FAILED:
                return self.failed
            case _:
                return None


_rules: dict[str, tuple[Callable[..., Any], Rule]] = {}


def notify(
    event: str,
    *,
    failed: str | None = None,
    to: Audience | Callable[[TaskResult[Any, Any]], Audience] = None,
    payload: Payload | None = None,
    tenant: Tenant = None,
) -> Callable[[Decorated], Decorated]:
    """Announce the end of a task to the browser of whoever asked for it.

    Goes above ``@task``, or on the function below it, and gives back what it got. `event` is announced when
    the task succeeds, `failed` when it fails; without `failed`, a failure is not announced. `to` is a user, a
    primary key, a Django group, a list of these, a queryset of users, or a function of the task's result that returns
    one of them; by default it is who asked, and if nobody did, nobody is told. `payload` is a function of the task's
    result that returns a dict: what the page sees besides the task's id, name, status and times. `tenant` is a text or
    a function of the task's result: in which tenant they are told, where it is not that of who asked.

    Raise TypeError or ValueError where one of them cannot work, or where the function already has another rule.
    """
    _refuse_wrong_name("event", event)
    if failed is not None:
        _refuse_wrong_name("failed", failed)
    _refuse_wrong_payload(payload)
    refuse_wrong_audience(to)
    refuse_wrong_tenant(tenant)
    rule = Rule(event=event, failed=failed, to=to, payload=payload, tenant=tenant)

    def decorate(decorated: Decorated) -> Decorated:
        _add(_function_of(decorated), rule)
        return decorated

    return decorate


def rule_for(func: Callable[..., Any]) -> Rule | None:
    """Return what is announced about the task with this function; None if nothing is."""
    _, rule = _rules.get(_path_of(func), (None, None))
    return rule


def known_rules() -> list[Rule]:
    """Return the rules of every task that has been imported so far."""
    return [rule for _, rule in _rules.values()]


def event_names() -> list[str]:
    """Return the sorted names of all events that the tasks imported so far announce."""
    return sorted({name for rule in known_rules() for name in (rule.event, rule.failed) if name})


def _add(func: Callable[..., Any], rule: Rule) -> None:
    known_func, known = _rules.get(_path_of(func), (func, rule))
    # Another function of the same path is a module loaded anew: its rule takes the old one's place.
    if known_func is func and known != rule:
        raise ValueError(
            f"{_path_of(func)} already announces {_names(known)} and cannot announce {_names(rule)} too: a "
            f"function has one rule. Remove one of the two @notify."
        )
    _rules[_path_of(func)] = (func, rule)


def _function_of(decorated: object) -> Callable[..., Any]:
    if isinstance(decorated, Task):
        return decorated.func
    if isfunction(decorated):
        return decorated
    raise TypeError(
        f"@notify got {decorated!r}; it goes above @task of Django or of tasks_celery, or on the function below it."
    )


def _path_of(func: Callable[..., Any]) -> str:
    return f"{func.__module__}.{func.__qualname__}"


def _names(rule: Rule) -> str:
    names: Iterable[str] = filter(None, (rule.event, rule.failed))
    return " and ".join(map(repr, names))


def _refuse_wrong_name(parameter: str, name: object) -> None:
    if not isinstance(name, str):
        raise TypeError(f"notify({parameter}={name!r}): an event's name is a text such as 'report.ready'.")
    if name in RESERVED_NAMES:
        raise ValueError(
            f"notify({parameter}={name!r}): this name is kept for the connection itself. Choose another, "
            f"such as 'report.{name.rpartition('.')[2]}'."
        )
    if len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
        raise ValueError(
            f"notify({parameter}={name!r}): an event's name is made of lower-case letters, digits and underscores, "
            f"in parts with a dot between, and has at most {LONGEST_NAME} characters, such as 'report.ready'."
        )


def _refuse_wrong_payload(payload: object) -> None:
    if payload is not None and (not callable(payload) or isclass(payload) or iscoroutinefunction(payload)):
        raise TypeError(
            f"notify(payload={payload!r}): payload is a plain function (not async) that takes the task's result and "
            f"returns a dict, such as payload=lambda result: {{'report': result.kwargs['report_id']}}."
        )
