"""What ``apply_async(…)`` asks for, and whether ``using(…).enqueue(…)`` can be asked the same."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from keyword import iskeyword
from typing import Any

from tasks_celery.migrate.finding import Verdict
from tasks_celery.migrate.source import Names, Place
from tasks_celery.migrate.things.arguments import wrong_in
from tasks_celery.migrate.things.spelling import Spelt, spelling
from tasks_celery.migrate.things.values import is_aware, is_dict, is_list, is_none, is_number, number


@dataclass(frozen=True, slots=True)
class Left:
    """A call that is not changed, and why."""

    reason: str
    verdict: Verdict = Verdict.PERSON


@dataclass(slots=True)
class Plan:
    """What becomes of the arguments of a call, each by its place in the call, from left to right.

    `args` and `kwargs` say where those are and how they are spread: "each" one by one, "star" with stars. `using` holds
    the new name of each option, and how its value is wrapped; what is in none of them is left out.
    """

    args: tuple[int, str] | None = None
    kwargs: tuple[int, str] | None = None
    using: list[tuple[int, str, str]] = field(default_factory=list)
    timedelta: Spelt = field(default_factory=lambda: Spelt("timedelta"))
    #: The arguments that the task is given, which have to be JSON.
    given: list[tuple[str, ast.expr]] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """Return the plan as JSON can hold it."""
        facts: dict[str, Any] = {"args": self.args and list(self.args), "kwargs": self.kwargs and list(self.kwargs)}
        facts |= {"using": [list(each) for each in self.using], "timedelta": self.timedelta.written}
        return facts | {"imports": [list(self.timedelta.needs)] if self.timedelta.needs else []}


_CANVAS = "{} belongs to Celery's canvas, which enqueue() knows nothing of: apply_async() goes on working with it."
_BROKER = "{} is a matter of Celery's and its broker's, which enqueue() knows nothing of: apply_async() goes on working with it."
_PERSON = {
    "priority": (
        "priority is the broker's number here, 0 to 9, on Redis 0 first and on RabbitMQ 9: using(priority=…) takes Django's, "
        "-100 to 100, the highest first, 0 for what other tasks have. Choose one."
    ),
    "task_id": "task_id is chosen here, and enqueue() chooses it itself: keep the .id that it returns instead.",
    "serializer": "serializer is chosen here, and a Django task is always sent as JSON: leave it out where the arguments are JSON.",
    "headers": "headers are sent here, which enqueue() does not: pass an argument, or see the context that tasks are enqueued in.",
    "shadow": "shadow gives the call another name in monitoring, which enqueue() cannot: leave it out where that is no matter.",
}
_STAYS = dict.fromkeys(("link", "link_error", "chord", "group_id", "group_index", "root_id", "parent_id"), _CANVAS)
_STAYS |= dict.fromkeys(
    [
        "producer",
        "connection",
        "publisher",
        "router",
        "exchange",
        "routing_key",
        "exchange_type",
        "delivery_mode",
        "retry",
        "retry_policy",
        "add_to_parent",
        "reply_to",
        "mandatory",
        "immediate",
        "stamped_headers",
        "argsrepr",
        "kwargsrepr",
        "replaced_task_nesting",
    ],
    _BROKER,
)


def left_for(option: str) -> Left:
    """Return why an option of ``apply_async`` keeps a call."""
    if option in _PERSON:
        return Left(_PERSON[option])
    if option in _STAYS:
        return Left(_STAYS[option].format(option), Verdict.STAYS)
    return Left(
        f"{option} is no option that enqueue() knows: apply_async() hands it to Celery as it is.", Verdict.STAYS
    )


def planned(names: Names, call: ast.Call, place: Place) -> Plan | Left:
    """Return what becomes of a call of ``apply_async``, or why it is left."""
    if any(isinstance(each, ast.Starred) for each in call.args) or any(each.arg is None for each in call.keywords):
        return Left("It is given options with stars, and which they are is not known: write them out.")
    if len(call.args) > 2:
        return left_for(("task_id", "producer", "link", "link_error", "shadow")[min(len(call.args) - 3, 4)])
    by_name: dict[str, ast.expr] = dict(zip(("args", "kwargs"), call.args, strict=False))
    by_name |= {str(each.arg): each.value for each in call.keywords}
    order = sorted(by_name, key=lambda name: (by_name[name].lineno, by_name[name].col_offset))
    plan, asks = Plan(), _Asks(names, place)
    if {"countdown", "eta"} <= {name for name, value in by_name.items() if not _is_nothing(name, value)}:
        return Left("It has both countdown and eta, of which Celery takes countdown: leave out the other.")
    for name in [each for each in order if each not in ("args", "kwargs")]:
        left = _add(plan, asks, name, by_name[name], order.index(name))
        if left is not None:
            return left
    return _spread(plan, asks, by_name, order)


def _spread(plan: Plan, asks: _Asks, by_name: dict[str, ast.expr], order: list[str]) -> Plan | Left:
    for name, how in (("args", asks.spread_args), ("kwargs", asks.spread_kwargs)):
        value = by_name.get(name)
        if value is None or is_none(value):
            continue
        spread = how(value)
        if isinstance(spread, Left):
            return spread
        where, given = (order.index(name), spread[0]), spread[1]
        plan.given += given
        if name == "args":
            plan.args = where
        else:
            plan.kwargs = where
    return plan


def _is_nothing(name: str, value: ast.expr) -> bool:
    return is_none(value) or (name == "countdown" and number(value) == 0)


def _add(plan: Plan, asks: _Asks, name: str, value: ast.expr, index: int) -> Left | None:
    if _is_nothing(name, value) and name in _USING:
        return None
    if name not in _USING:
        return left_for(name)
    new_name, check = _USING[name]
    left = check(asks, value)
    if left:
        return Left(left)
    plan.using.append((index, new_name, "seconds" if name == "countdown" else ""))
    if name == "countdown":
        plan.timedelta = spelling(asks.names, asks.place, "datetime", "timedelta")
    return None


@dataclass(frozen=True, slots=True)
class _Asks:
    """The questions about values at one place."""

    names: Names
    place: Place

    def countdown(self, value: ast.expr) -> str:
        if is_number(self.names, value, self.place):
            return ""
        return (
            "Whether its countdown is a number or None cannot be told here: where it always is a number, write "
            "using(run_after=timedelta(seconds=…))."
        )

    def eta(self, value: ast.expr) -> str:
        if is_aware(self.names, value, self.place):
            return ""
        return (
            "Whether its eta has a time zone cannot be told here: Celery takes a naive one for UTC, Django refuses it, or with "
            "USE_TZ=False takes it for local time. Where it is aware, write using(run_after=…)."
        )

    def expires(self, value: ast.expr) -> str:
        seconds = number(value)
        if (seconds is not None and seconds > 0) or is_aware(self.names, value, self.place):
            return ""
        return (
            "What its expires is cannot be told here: using(expires=…) takes a number of seconds above 0, a timedelta, or an "
            "aware datetime."
        )

    def queue(self, value: ast.expr) -> str:
        if _is_text(value) or (not isinstance(value, _CONTAINERS) and self.names.is_json(value, self.place)):
            return ""
        return "Whether its queue is a name or a kombu.Queue cannot be told here: where it is a name, write using(queue_name=…)."

    def limit(self, value: ast.expr) -> str:
        seconds = number(value)
        return (
            ""
            if seconds is not None and seconds > 0
            else "Its time limit is not written out, and has to be a number above 0."
        )

    def compression(self, value: ast.expr) -> str:
        return "" if _is_text(value) else "Its compression is not written out: using(compression=…) takes a name."

    def flag(self, value: ast.expr) -> str:
        written = isinstance(value, ast.Constant) and isinstance(value.value, bool)
        return "" if written else "Its ignore_result is not written out: using(ignore_result=…) takes True or False."

    def spread_args(self, value: ast.expr) -> tuple[str, list[tuple[str, ast.expr]]] | Left:
        if isinstance(value, ast.List | ast.Tuple):
            for each in value.elts:
                if isinstance(each, ast.Starred) and not is_list(self.names, each.value, self.place):
                    return Left("Its args have a star whose values are not known: write them out.")
            return "each", [
                (str(number), each) for number, each in enumerate(value.elts, 1) if not isinstance(each, ast.Starred)
            ]
        if is_list(self.names, value, self.place):
            return "star", []
        return Left(
            "Whether its args are a list of JSON values cannot be told here: where they are, write enqueue(*…)."
        )

    def spread_kwargs(self, value: ast.expr) -> tuple[str, list[tuple[str, ast.expr]]] | Left:
        if isinstance(value, ast.Dict) and _are_plain_keys(value.keys):
            pairs = zip(value.keys, value.values, strict=True)
            return "each", [(str(key.value), each) for key, each in pairs if isinstance(key, ast.Constant)]
        if is_dict(self.names, value, self.place) and not _has_self(value):
            return "star", []
        return Left(
            "Whether its kwargs are a dict of JSON values cannot be told here: where they are, write enqueue(**…)."
        )


_CONTAINERS = (ast.List, ast.Tuple, ast.Dict, ast.ListComp, ast.DictComp, ast.Set, ast.SetComp)
_USING: dict[str, tuple[str, Callable[[_Asks, ast.expr], str]]] = {
    "countdown": ("run_after", _Asks.countdown),
    "eta": ("run_after", _Asks.eta),
    "queue": ("queue_name", _Asks.queue),
    "expires": ("expires", _Asks.expires),
    "time_limit": ("time_limit", _Asks.limit),
    "soft_time_limit": ("soft_time_limit", _Asks.limit),
    "compression": ("compression", _Asks.compression),
    "ignore_result": ("ignore_result", _Asks.flag),
}


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _are_plain_keys(keys: list[ast.expr | None]) -> bool:
    written = [each.value for each in keys if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    usable = all(each.isidentifier() and not iskeyword(each) and each != "self" for each in written)
    return usable and len(set(written)) == len(keys)


def _has_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Dict) and any(
        isinstance(each, ast.Constant) and each.value == "self" for each in node.keys
    )


def not_json(names: Names, given: list[tuple[str, ast.expr]], place: Place) -> Iterator[str]:
    """Yield which of the arguments are not known to be JSON, by their names or their numbers."""
    for name, value in given:
        known = names.project.assume_json or names.is_json(value, place)
        # An annotation may say what is not so.
        if not known or wrong_in(value, place, names) is not None:
            yield name
